//! The connections that linger, and what happens to them: the drain thread's state.
//!
//! **Invariants:** a connection in `order` is also in the epoll set, has a timer set and a `Drain`; one that is being
//! searched for holders is in `suspects` only. Every connection received is closed exactly once, by
//! [`Reaper::close`].

use super::collecting::Collecting;
use super::crowding::{Crowd, Crowding};
use super::peers::Peers;
use super::reports::Reports;
use super::searching::Suspects;
use super::shards::{self, Seat};
use super::shutting::Shutting;
use super::table::{self, BELL, CHANNEL, EPOLL};
use crate::config;
use crate::drain::{Deadline, Drain, Limits, Outcome, Step};
use crate::eviction::{Order, Standing};
use crate::handover::{Input, Request};
use crate::holders;
use crate::input;
use crate::leader;
use crate::publication::Publication;
use crate::stats;
use crate::sys::memory::Zeroed;
use crate::sys::socket;
use crate::sys::{self, process, Fd};
use crate::wheel::Wheel;
use core::sync::atomic::AtomicU32;

// SAFETY: integers only. The zero value is never used: `new` writes an entry before it is read.
unsafe impl Zeroed for Drain {}

const EVENTS: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
/// The most that is discarded of one connection before the others have their turn.
const TURN_BYTES: u64 = 4 << 20;
/// The most one recv(2) discards: it bounds how long the socket's lock is held.
const CALL_BYTES: u64 = 1 << 20;
/// A peer that sent so much is uploading: from then on the thread is woken once a `LOW_WATER`.
const UPLOAD_BYTES: u64 = 256 << 10;
const LOW_WATER: i32 = 1 << 20;
/// Deadlines handled in one turn; the rest have theirs right after it.
const TURN_DEADLINES: usize = 1024;
/// How often the thread looks where nothing wakes it.
const UNHEARD_MS: u64 = 50;
/// How often it looks though nothing happened: one whose channel was swept away hears nothing, not even that.
const NOTHING_MS: u64 = 60_000;
/// How often it looks whether the program still has a thread, once its first one has ended.
pub(super) const LEADERLESS_MS: u64 = 100;
/// A thread that is to end closes one by one for so long; what is left goes with its table. Whoever waits for the end
/// ([`crate::engine::retire`]) waits for longer.
const FAREWELL_MS: u64 = 30;
/// Places for the thread's own numbers, for a batch just received, and for what is being searched or shut.
const SPARE_PLACES: usize = 256;

/// What the receive queue of a connection ended with.
enum Read {
    /// The peer may send more.
    Open,
    /// More may be here, but the rate is used up until this time.
    Paused(u64),
    /// This is how it ended.
    Ended(Outcome),
}

/// The state of the thread.
pub(super) struct Reaper {
    pub(super) seat: Seat,
    limits: Limits,
    /// How many may linger, in all tables together.
    pub(super) max: usize,
    /// How many may linger here.
    pub(super) capacity: usize,
    pub(super) publication: Publication,
    crowding: Crowding,
    pub(super) reports: Reports,
    peers: Peers,
    wheel: Wheel,
    pub(super) order: Order,
    pub(super) collecting: Collecting,
    pub(super) suspects: Suspects,
    pub(super) shutting: Shutting,
    /// /proc as it was before the program changed its root.
    pub(super) proc: Option<Fd>,
    /// When it is looked again whether the program has a thread.
    pub(super) leader_look_ms: u64,
    pub(super) now: u64,
}

impl Reaper {
    /// Memory for `max` connections, or as many as the descriptor limit allows.
    pub(super) fn new(seat: Seat, limits: Limits, max: usize) -> sys::Result<Reaper> {
        let now = process::now_ms();
        // A limit that is raised later is made use of by further threads.
        let capacity = max.min(process::descriptor_limit().max(1024) as usize);
        let ids = capacity + SPARE_PLACES;
        let mut reaper = Reaper {
            seat,
            limits,
            max,
            capacity,
            publication: Publication::new(seat.index(), ids, now)?,
            crowding: Crowding::new(ids, config::max_per_peer())?,
            reports: Reports::new(ids),
            peers: Peers::new(ids)?,
            wheel: Wheel::new(ids, now)?,
            order: Order::new(ids)?,
            collecting: Collecting::new(),
            suspects: Suspects::new(now),
            shutting: Shutting::new(),
            proc: table::kept_proc(),
            leader_look_ms: 0,
            now,
        };
        sys::epoll_add(EPOLL, BELL, (libc::EPOLLIN | libc::EPOLLET) as u32)?;
        reaper.measure();
        if let Some(counters) = reaper.publication.counters().filter(|_| seat.is_first()) {
            stats::publish(counters);
        }
        Ok(reaper)
    }

    /// How many connections the arrays have places for.
    pub(super) fn places(&self) -> usize {
        self.publication.records.len() - SPARE_PLACES
    }

    /// Shuts the read halves whose moment has passed.
    pub(super) fn shut_what_is_due(&mut self) {
        self.shutting.shut_what_is_due(self.now, self.collecting.more);
    }

    /// Closes what it can in a moment: the thread is about to end, and its table with it.
    pub(super) fn close_all(&mut self) {
        let until = process::now_ms() + FAREWELL_MS;
        while let Some(id) = self.order.first().filter(|_| process::now_ms() < until) {
            let drain = self.publication.records.get(id as usize).copied();
            self.close(
                id as Fd,
                Outcome::Evicted,
                &drain.unwrap_or_else(|| Drain::new(self.now, Deadline::Default, 0, &self.limits)),
            );
        }
        self.drop_suspects();
        self.shutting.shut_all();
        (0..self.order.len()).for_each(|_| shards::leaves());
    }

    /// The half-close is done and nobody else holds it: discard what is here, and wait for the rest if there may be
    /// any.
    pub(super) fn linger(&mut self, fd: Fd, request: Request, input: Input, discarded: u64) {
        self.peers.note(fd);
        let mut drain = Drain::new(self.now, request.deadline, 0, &self.limits);
        if let Some(outcome) = drain.received(self.now, discarded, &self.limits) {
            return self.end(fd, outcome, &drain);
        }
        match self.swallow(fd, &mut drain, input) {
            Read::Ended(outcome) => self.end(fd, outcome, &drain),
            read => self.keep(fd, request, drain, read),
        }
    }

    fn keep(&mut self, fd: Fd, request: Request, drained: Drain, read: Read) {
        input::stop_signals(fd);
        let unacknowledged = socket::unacknowledged(fd).unwrap_or(socket::UNKNOWN);
        let mut drain = Drain::new(self.now, request.deadline, unacknowledged, &self.limits);
        let _ = drain.received(self.now, drained.discarded(), &self.limits);
        // Who is not admitted needs no way made for it.
        if fd as usize >= self.publication.records.len() || self.crowding.enter(fd) == Crowd::Full {
            return self.end(fd, Outcome::Evicted, &drain);
        }
        self.make_way();
        self.store(fd, drain);
        self.publication.use_place(fd);
        shards::joins();
        if sys::epoll_add(EPOLL, fd, wanted(&read)).is_err() {
            return self.close(fd, Outcome::Closed, &drain);
        }
        self.look(fd, unacknowledged, &read);
    }

    /// Discards what is here, within a turn's bounds.
    fn swallow(&mut self, fd: Fd, drain: &mut Drain, input: Input) -> Read {
        let mut turn = 0u64;
        while turn < TURN_BYTES {
            let allowed = match drain.allowance(self.now, &self.limits) {
                Ok(bytes) => bytes.min(CALL_BYTES),
                Err(until) => {
                    drain.paused(self.now);
                    return Read::Paused(until);
                }
            };
            match socket::discard(fd, allowed as usize) {
                Ok(0) if input == Input::Intact => return Read::Ended(Outcome::Fin),
                Ok(0) => return Read::Ended(input::end(fd)),
                Ok(bytes) => {
                    let before = drain.discarded();
                    turn += bytes as u64;
                    if let Some(outcome) = drain.received(self.now, bytes as u64, &self.limits) {
                        return Read::Ended(outcome);
                    }
                    if before < UPLOAD_BYTES && drain.discarded() >= UPLOAD_BYTES {
                        let _ = socket::set_receive_low_water(fd, LOW_WATER);
                    }
                }
                Err(e) if e.is(libc::EAGAIN) => break,
                Err(e) if e.is(libc::EINTR) => {}
                Err(_) => return Read::Ended(Outcome::Reset),
            }
        }
        Read::Open
    }

    /// Waits for events, at most `timeout_ms`, and handles them. Whether the channel had news.
    pub(super) fn handle_events(&mut self, timeout_ms: i32) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let waited = sys::epoll_wait(EPOLL, &mut events, timeout_ms);
        if waited.is_err_and(|e| !e.is(libc::EINTR)) {
            // It cannot be waited for: look at everything now and then, but never spin.
            let never = AtomicU32::new(0);
            process::futex_wait(&never, 0, UNHEARD_MS);
        }
        let count = waited.unwrap_or(0);
        self.now = process::now_ms();
        let mut arrived = false;
        for event in events.iter().take(count) {
            let fd = event.u64 as Fd;
            match fd {
                CHANNEL => arrived = true,
                BELL => {}
                _ => self.handle(fd, event.events),
            }
        }
        arrived
    }

    fn handle(&mut self, fd: Fd, events: u32) {
        let Some(mut drain) = self.publication.records.get(fd as usize).copied() else {
            return;
        };
        match self.swallow(fd, &mut drain, Input::Unknown) {
            Read::Ended(outcome) => self.close(fd, outcome, &drain),
            // Nothing can arrive any more: the rest is no burden.
            Read::Paused(_) if events & libc::EPOLLHUP as u32 != 0 => {
                let outcome = if reset(fd) { Outcome::Reset } else { Outcome::Fin };
                let rest = input::discard_what_is_here(fd);
                let _ = drain.received(self.now, rest, &self.limits);
                self.close(fd, outcome, &drain);
            }
            read => {
                if events & libc::EPOLLERR as u32 != 0 {
                    input::take_notices(fd);
                }
                self.store(fd, drain);
                if let Read::Paused(_) = read {
                    if sys::epoll_modify(EPOLL, fd, wanted(&read)).is_err() {
                        return self.close(fd, Outcome::Closed, &drain);
                    }
                    return self.look(fd, socket::unacknowledged(fd).unwrap_or(socket::UNKNOWN), &read);
                }
                self.order.touch(fd as u32, standing(&drain));
            }
        }
    }

    fn store(&mut self, fd: Fd, drain: Drain) {
        if let Some(place) = self.publication.records.get_mut(fd as usize) {
            *place = drain;
        }
    }

    /// Closes what has reached its deadline, and looks at the others that asked to be looked at.
    pub(super) fn fire_deadlines(&mut self) {
        for _ in 0..TURN_DEADLINES {
            let Some(id) = self.wheel.expire(self.now) else {
                break;
            };
            self.look_again(id as Fd);
        }
    }

    fn look_again(&mut self, fd: Fd) {
        let Some(mut drain) = self.publication.records.get(fd as usize).copied() else {
            return;
        };
        // Below the low-water mark bytes arrive without an event.
        let read = self.swallow(fd, &mut drain, Input::Unknown);
        if let Read::Ended(outcome) = read {
            return self.close(fd, outcome, &drain);
        }
        self.store(fd, drain);
        if self.limits.max_rate > 0 && sys::epoll_modify(EPOLL, fd, wanted(&read)).is_err() {
            return self.close(fd, Outcome::Closed, &drain);
        }
        self.look(fd, socket::unacknowledged(fd).unwrap_or(socket::UNKNOWN), &read);
    }

    fn look(&mut self, fd: Fd, unacknowledged: u32, read: &Read) {
        let Some(drain) = self.publication.records.get_mut(fd as usize) else {
            return;
        };
        let step = drain.look(self.now, unacknowledged, &self.limits);
        let drain = *drain;
        match (step, read) {
            (Step::Finish(outcome), _) => self.close(fd, outcome, &drain),
            (Step::Wait(at), read) => {
                let at = if let Read::Paused(until) = read { at.min(*until) } else { at };
                self.wheel.set(fd as u32, at);
                // A look is nothing the peer did: it goes on being quiet.
                self.order.classify(fd as u32, standing(&drain));
            }
        }
    }

    /// Closes the one whose closing loses least: acknowledged before not, and of these the one that has been quiet for longest.
    pub(super) fn evict(&mut self) {
        let acknowledged = self.order.quietest(Standing::Acknowledged);
        let sending = self.order.quietest(Standing::Sending);
        let quiet = |id: u32| self.publication.records.get(id as usize).map_or(0, |d| d.quiet_ms(self.now));
        let id = match (acknowledged, sending) {
            // What was acknowledged since the last look has lost nothing of its age by that.
            (Some(a), Some(s)) if quiet(s) >= quiet(a) && socket::unacknowledged(s as Fd) == Ok(0) => s,
            (Some(a), _) => a,
            (None, Some(s)) => s,
            (None, None) => return,
        };
        if let Some(drain) = self.publication.records.get(id as usize).copied() {
            self.close(id as Fd, Outcome::Evicted, &drain);
        }
    }

    /// The end of a connection that lingers.
    fn close(&mut self, fd: Fd, outcome: Outcome, drain: &Drain) {
        self.wheel.cancel(fd as u32);
        self.order.remove(fd as u32);
        // A holder that nobody knows of would keep the registration alive.
        let _ = sys::epoll_remove(EPOLL, fd);
        shards::leaves();
        self.crowding.leave(fd);
        if let Some(place) = self.publication.records.get_mut(fd as usize) {
            *place = Drain::VACANT;
        }
        self.end(fd, outcome, drain);
    }

    /// The end of any connection.
    fn end(&mut self, fd: Fd, outcome: Outcome, drain: &Drain) {
        let mut discarded = drain.discarded();
        if !matches!(outcome, Outcome::Fin | Outcome::Reset) {
            // So that the kernel itself sends FIN, not RST, where it can.
            discarded += input::discard_what_is_here(fd);
        }
        self.peers.report(fd, outcome, discarded, drain.age(self.now));
        let _ = sys::close(fd);
        stats::finish(outcome, discarded);
        self.reports.tell(fd, outcome);
    }

    /// Somebody else holds it, or nobody can tell.
    pub(super) fn drop_as_shared(&mut self, fd: Fd) {
        self.shutting.shut(fd);
        // Where nobody can tell this may be the last close after all, and the other connections must not wait for it.
        if holders::blind() && socket::linger_seconds(fd).is_ok_and(|seconds| seconds > Some(0)) {
            let _ = socket::clear_linger(fd);
        }
        let _ = sys::close(fd);
        stats::dropped_as_shared();
    }

    /// How long to sleep.
    pub(super) fn sleep_ms(&self) -> i32 {
        let now = process::now_ms();
        let search = self.suspects.due_ms();
        let deaf = self.deaf().then_some(now + UNHEARD_MS);
        let nothing = now + if leader::has_ended() { LEADERLESS_MS } else { NOTHING_MS };
        let times = self.wheel.next_ms().into_iter().chain(search).chain(self.shutting.next_ms()).chain(deaf);
        let at = times.fold(nothing, u64::min);
        i32::try_from(at.saturating_sub(now)).unwrap_or(i32::MAX)
    }
}

/// The events to wait for: none of its own accord while the rate is used up.
fn wanted(read: &Read) -> u32 {
    match read {
        Read::Paused(_) => 0,
        _ => EVENTS,
    }
}

/// Whether the connection is gone without a FIN.
fn reset(fd: Fd) -> bool {
    socket::socket_option(fd, libc::SO_ERROR).is_ok_and(|error| error != 0)
}

fn standing(drain: &Drain) -> Standing {
    if drain.acknowledged() {
        Standing::Acknowledged
    } else {
        Standing::Sending
    }
}
