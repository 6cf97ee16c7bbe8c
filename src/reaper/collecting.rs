//! Receiving from the channel, by one drain thread at a time.
//!
//! **Promises:** what is received has waited a tick at least, unless there is a hurry: by then most peers have sent their FIN,
//! and a connection whose FIN has come never enters the epoll set.
//!
//! **Invariant:** more is received only while there are free numbers for it; a descriptor for which there is none is lost.

use super::lingering::Reaper;
use super::shards;
use super::table::{CHANNEL, EPOLL};
use crate::drain::Outcome;
use crate::eviction::Standing;
use crate::handover::pace::{Ripe, Taken};
use crate::handover::{self, Received, Task};
use crate::holders;
use crate::stats;
use crate::sys::{self, passing, process, Fd};

/// Numbers the thread needs for itself, for one batch of messages and for looking through /proc.
const OWN_NUMBERS: u64 = 10;
/// A further thread is worth its while from so many free places on.
const WORTH: usize = 64;
/// A table with room for fewer is so small because descriptors are dear: no further thread for that.
const WORTHY_TABLE: usize = 128;
/// Nothing can be received any more where each of so many tries failed, for so long.
const FAILURES: u32 = 20;
const UNRECEIVED_MS: u64 = 500;
/// How long after a further thread was refused the next try is made.
const RECRUIT_AGAIN_MS: u64 = 1000;

/// What is known of the channel.
pub(super) struct Collecting {
    /// Whether the channel is in the epoll set.
    listening: bool,
    ripe: Ripe,
    /// Whether something that was sent before the last look may still be there.
    pub(super) more: bool,
    /// The seat of a thread that is being started.
    recruit: Option<shards::Seat>,
    recruit_after_ms: u64,
    /// How many tries to receive failed one after the other, and when the first of them did.
    failures: u32,
    failing_since_ms: u64,
    /// Receiving failed for so long that it will not be possible again.
    pub(super) broken: bool,
    /// The table is full, and nobody else has room: who comes now has another one evicted.
    stuck: bool,
}

impl Collecting {
    pub(super) const fn new() -> Collecting {
        Collecting {
            listening: false,
            ripe: Ripe::NONE,
            more: false,
            recruit: None,
            recruit_after_ms: 0,
            failures: 0,
            failing_since_ms: 0,
            broken: false,
            stuck: false,
        }
    }
}

impl Reaper {
    /// Whether this thread is the one that receives now; sees to it that the channel wakes it, or no longer does.
    pub(super) fn hear_or_not(&mut self) -> bool {
        // What waits in the channel of a former crew is nobody else's.
        let receives = self.seat.receives() || (!self.seat.current() && self.collecting.listening);
        // One that waits for a further thread must not be woken by what it has no room for.
        let wanted = receives && !(self.collecting.recruit.is_some() && self.free() == 0);
        if wanted != self.collecting.listening && (wanted || self.seat.current()) {
            // What waits there has waited for this thread.
            self.collecting.ripe = Ripe::ALL;
            let done = if wanted {
                sys::epoll_add(EPOLL, CHANNEL, libc::EPOLLIN as u32)
            } else {
                sys::epoll_remove(EPOLL, CHANNEL)
            };
            self.collecting.listening = wanted && done.is_ok();
        }
        receives
    }

    /// Whether it receives, but is not woken by what arrives.
    pub(super) fn deaf(&self) -> bool {
        self.seat.receives() && !self.collecting.listening
    }

    /// Whether its crew's channel is nobody's any more, and nothing is left to do.
    pub(super) fn is_former(&self) -> bool {
        !self.seat.current()
            && self.order.len() == 0
            && self.suspects.is_empty()
            && self.shutting.is_empty()
            && passing::look_at_payload(CHANNEL).is_err()
    }

    /// Receives what is ripe in the channel. Whether more may be waiting.
    pub(super) fn receive(&mut self) -> bool {
        let mut ripe = self.collecting.ripe;
        let more = ripe.collect(&handover::PACE, |most| self.receive_up_to(most));
        self.collecting.ripe = ripe;
        self.collecting.more = more;
        more
    }

    fn receive_up_to(&mut self, most: usize) -> Taken {
        self.now = process::now_ms();
        self.measure();
        let mut taken = Taken { count: 0, all: false };
        while taken.count < most && !taken.all {
            let batch = self.batch().min(most - taken.count);
            if batch == 0 {
                break;
            }
            match handover::receive(CHANNEL, batch, &mut |message| self.admit(message)) {
                Ok(count) => {
                    taken.count += count;
                    taken.all = count < batch;
                    self.collecting.failures = 0;
                }
                Err(e) if e.is(libc::EINTR) => {}
                Err(e) => {
                    taken.all = true;
                    self.note_failure(e.is(libc::EAGAIN));
                }
            }
        }
        taken
    }

    fn note_failure(&mut self, nothing_waits: bool) {
        let collecting = &mut self.collecting;
        if nothing_waits {
            collecting.failures = 0;
            return;
        }
        if collecting.failures == 0 {
            collecting.failing_since_ms = self.now;
        }
        collecting.failures += 1;
        let long = self.now >= collecting.failing_since_ms + UNRECEIVED_MS;
        collecting.broken = long && collecting.failures >= FAILURES;
    }

    /// How many connections the table has room for, as the descriptor limit is now.
    pub(super) fn measure(&mut self) {
        let limit = process::descriptor_limit();
        let spare = OWN_NUMBERS + (holders::BATCH as u64).min(limit / 4) + self.spare_batch(limit);
        self.capacity = (limit.saturating_sub(spare) as usize).min(self.places());
    }

    /// Received first, evicted then: a batch needs free numbers of its own.
    fn spare_batch(&self, limit: u64) -> u64 {
        (passing::BATCH as u64).min(limit / 8).max(1)
    }

    fn free(&self) -> usize {
        self.capacity.saturating_sub(self.order.len() + self.reports.len() + self.shutting.len())
    }

    /// How many messages may be received at once.
    fn batch(&self) -> usize {
        match self.free() {
            0 if self.collecting.stuck => self.spare_batch(self.capacity as u64) as usize,
            // First another thread is tried to have.
            0 => 0,
            // One that is to be reported brings two descriptors.
            free if self.reports.len() > 0 => free.div_ceil(2).min(passing::BATCH),
            free => free.min(passing::BATCH),
        }
    }

    fn admit(&mut self, message: Received) {
        let (fd, request) = match message {
            Received::Connection(fd, request) => (fd, request),
            Received::Lost(request) => {
                return match request.task {
                    Task::Drain { discarded, .. } => stats::finish(Outcome::Closed, discarded.into()),
                    Task::Search(_) => stats::finish(Outcome::Closed, 0),
                    Task::ShutRead => stats::cancel(),
                    Task::KeepProc => {}
                };
            }
            Received::Nudge => return,
        };
        if let Some(report) = request.report {
            self.reports.note(fd, report);
        }
        match request.task {
            Task::Drain { input, discarded } => {
                self.shutting.forget(fd);
                self.linger(fd, request, input, discarded.into());
            }
            Task::Search(suspicion) => self.search_later(fd, suspicion, request),
            Task::KeepProc => self.keep_proc(fd),
            Task::ShutRead => {
                self.shutting.add(fd, self.now);
                stats::cancel();
            }
        }
    }

    /// Evicts what the others ask for, says how much room is left, and has another thread receive when there is little.
    pub(super) fn make_room(&mut self) {
        for _ in 0..self.seat.take_evictions() {
            self.evict();
        }
        self.publication.lingering(self.order.len());
        self.seat.publish(self.free(), self.order.of(Standing::Acknowledged), self.quiet_since());
        if self.collecting.recruit.is_some_and(|seat| seat.left() || !self.seat.receives()) {
            self.collecting.recruit = None;
        }
        if self.crowded() && !self.pass_on() {
            self.collecting.stuck = self.collecting.recruit.is_none();
        } else {
            let alone = shards::lingering() >= self.max || !self.seat.current();
            self.collecting.stuck = self.free() == 0 && alone;
        }
    }

    /// Whether the next connections had better go to another table.
    fn crowded(&self) -> bool {
        let free = self.free();
        let allowed = self.max.saturating_sub(shards::lingering());
        (free == 0 || free < WORTH.min(self.capacity / 8))
            // What this table has no room for because it is being shut or reported needs no other.
            && allowed > free + self.shutting.len() + self.reports.len()
            && self.collecting.recruit.is_none()
            && self.seat.receives()
            // A read half that is about to be shut is known here only, and its close must come here, too.
            && (self.shutting.is_empty() || self.free() == 0)
    }

    /// Has another thread receive, now or as soon as it is there; false where that is not so.
    fn pass_on(&mut self) -> bool {
        if self.seat.pass_on(WORTH) {
            super::ring();
            return true;
        }
        if self.now < self.collecting.recruit_after_ms || self.capacity < WORTHY_TABLE {
            return false;
        }
        self.collecting.recruit_after_ms = self.now + RECRUIT_AGAIN_MS;
        if !super::ring() {
            return false;
        }
        let Some(seat) = self.seat.next() else { return false };
        match super::create_seated(seat) {
            Ok(()) => self.collecting.recruit = Some(seat),
            Err(_) => seat.give_back(),
        }
        self.collecting.recruit.is_some()
    }

    /// Since when the one that would be evicted here has been quiet; [`u64::MAX`] where none is acknowledged.
    fn quiet_since(&self) -> u64 {
        let quietest = self.order.quietest(Standing::Acknowledged);
        let drain = quietest.and_then(|id| self.publication.records.get(id as usize));
        drain.map_or(u64::MAX, |drain| self.now.saturating_sub(drain.quiet_ms(self.now).into()))
    }

    /// One more is about to linger, and no more than `max` may: another one goes first.
    pub(super) fn make_way(&mut self) {
        if shards::lingering() >= self.max {
            if self.seat.ask_eviction(self.quiet_since()) {
                super::ring();
            } else {
                self.evict();
            }
        }
        if self.free() == 0 {
            self.evict();
        }
    }

    /// /proc as it was before the program changed its root. The first one is kept: it is the outermost.
    pub(super) fn keep_proc(&mut self, fd: Fd) {
        if self.proc.is_some() || super::table::settle(fd, super::table::PROC).is_err() {
            let _ = sys::close(fd);
        } else {
            self.proc = Some(super::table::PROC);
        }
    }
}
