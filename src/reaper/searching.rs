//! Connections that somebody else may hold: they are left untouched until a look through /proc says that nobody does.
//!
//! **Promises:** looking takes a tenth of the thread's time at most, but for a fifth of a second after a rest, and where more
//! connections come than share one look. Until it has been made their FIN waits, so it is made as soon as it may be, and who would
//! wait for long does not wait at all.
//!
//! **Invariant:** only a look after the caller's own close counts (see [`Found::NotYetClosed`]).

use super::lingering::Reaper;
use crate::closing;
use crate::config;
use crate::drain::Outcome;
use crate::handover::{Input, Origin, Request, Share, Suspicion};
use crate::holders::{self, Found, Search};
use crate::stats;
use crate::sys::memory::Region;
use crate::sys::{self, process, socket, Fd};
use crate::verdict::{self, Verdict};

/// Where there are more processes, a connection that others may hold is closed plainly.
const PROCESSES: usize = 32_768;

/// How much of its time the thread may spend on looking: a part of this many.
const SHARE: u64 = 10;
/// How many times more is owed for a look that was of no use.
const USELESS: u64 = 10;
/// Where the next look is further away the connection is closed plainly.
const LONG_MS: u64 = 1000;
/// What it may spend at once after a rest, in milliseconds.
const MOST_SAVED_MS: u64 = 200;

/// The time there is for looking through /proc: earned by waiting, spent by looking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// In milliseconds times [`SHARE`]; below 0 it is owed.
    saved: i64,
    counted_ms: u64,
}

impl Budget {
    pub(super) fn new(now_ms: u64) -> Budget {
        Budget { saved: (MOST_SAVED_MS * SHARE) as i64, counted_ms: now_ms }
    }

    /// When the next look may be made.
    pub(super) fn available_ms(&self) -> u64 {
        self.counted_ms.saturating_add(self.saved.min(0).unsigned_abs())
    }

    /// A look took so much of the thread's time, and ended at `now_ms`. One that could not wait owes no more than that, either.
    fn spend(&mut self, used_ms: u64, now_ms: u64) {
        let earned = now_ms.saturating_sub(self.counted_ms) as i64;
        let spent = (used_ms.max(1) * SHARE) as i64;
        let most = (MOST_SAVED_MS * SHARE) as i64;
        self.saved = self.saved.saturating_add(earned).clamp(0, most).saturating_sub(spent);
        self.counted_ms = now_ms;
    }
}

/// A connection that somebody else may hold.
#[derive(Clone, Copy)]
struct Suspect {
    fd: Fd,
    inode: u64,
    suspicion: Suspicion,
    request: Request,
    /// When waiting for those that are about to close ends.
    patience_ms: u64,
}

/// The connections whose holders are to be looked for, and what looking takes.
pub(super) struct Suspects {
    waiting: [Option<Suspect>; holders::BATCH],
    budget: Budget,
    /// Room for those that a look has been to; from the first look on.
    processes: Option<Region<u32>>,
}

impl Suspects {
    pub(super) fn new(now_ms: u64) -> Suspects {
        Suspects { waiting: [None; holders::BATCH], budget: Budget::new(now_ms), processes: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.iter().all(Option::is_none)
    }

    /// When the next look is due, if one is.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.budget.available_ms())
    }

    fn take_all(&mut self) -> impl Iterator<Item = Suspect> {
        core::mem::replace(&mut self.waiting, [None; holders::BATCH]).into_iter().flatten()
    }

    /// Looks for the holders of all of them; what was found, in their order.
    fn look(&mut self, proc: Option<Fd>) -> [Found; holders::BATCH] {
        let share = Share::Unknown;
        let nobody = Suspicion { origin: Origin::Accepted, number: -1, exiting: false, share };
        let empty = Search { inode: 0, suspicion: nobody, found: Found::Nobody };
        let mut searches = [empty; holders::BATCH];
        let mut count = 0;
        for (search, suspect) in searches.iter_mut().zip(self.waiting.iter().flatten()) {
            *search = Search { inode: suspect.inode, suspicion: suspect.suspicion, ..empty };
            count += 1;
        }
        if self.processes.is_none() {
            self.processes = Region::new(PROCESSES).ok();
        }
        let room = self.processes.as_deref_mut().unwrap_or(&mut []);
        holders::find(searches.get_mut(..count).unwrap_or(&mut []), proc, room);
        searches.map(|search| search.found)
    }
}

impl Reaper {
    pub(super) fn search_later(&mut self, fd: Fd, suspicion: Suspicion, request: Request) {
        let Ok(identity) = sys::identity(fd) else {
            return self.drop_as_shared(fd);
        };
        if self.suspects.budget.available_ms() > self.now + LONG_MS {
            return self.drop_as_shared(fd);
        }
        self.shutting.hold(fd);
        let patience_ms = self.now + holders::PATIENCE_MS;
        let suspect = Suspect { fd, inode: identity.inode, suspicion, request, patience_ms };
        if self.suspects.waiting.iter().all(Option::is_some) {
            self.search_now();
        }
        match self.suspects.waiting.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(suspect),
            None => self.drop_as_shared(fd),
        }
    }

    /// Looks for other holders of the connections that wait for that, unless the last look was too recent.
    pub(super) fn search(&mut self) {
        if self.suspects.due_ms().is_some_and(|due| due <= self.now) {
            self.search_now();
        }
    }

    fn search_now(&mut self) {
        // The processor's time, for a busy machine makes no look dearer.
        let before = process::used_ms();
        let found = self.suspects.look(self.proc);
        let used = process::used_ms().saturating_sub(before);
        self.now = process::now_ms();
        self.suspects.budget.spend(if holders::blind() { used * USELESS } else { used }, self.now);
        let next_ms = self.suspects.budget.available_ms().max(self.now);
        let mut again = [None; holders::BATCH];
        for ((suspect, found), place) in self.suspects.take_all().zip(found).zip(&mut again) {
            match found {
                Found::Nobody | Found::NobodyCan => self.linger_as_last_holder(suspect.fd, suspect.request),
                Found::NotYetClosed if next_ms < suspect.patience_ms => *place = Some(suspect),
                Found::NotYetClosed | Found::Somebody => self.drop_as_shared(suspect.fd),
            }
        }
        self.suspects.waiting = again;
    }

    /// The thread ends: whoever else may hold them.
    pub(super) fn drop_suspects(&mut self) {
        self.suspects.take_all().for_each(|suspect| self.drop_as_shared(suspect.fd));
    }

    /// Proven to be the last holder: what close(2) would have become in the caller, had that been known there.
    fn linger_as_last_holder(&mut self, fd: Fd, request: Request) {
        self.shutting.forget(fd);
        let observed = closing::observe(fd);
        match verdict::decide(&observed, config::when()) {
            Verdict::Close(_) => {
                let _ = sys::close(fd);
                stats::finish(Outcome::Closed, 0);
            }
            Verdict::Discard | Verdict::Linger => {
                if observed.linger_seconds.is_some() {
                    // Where that fails, the close at the end waits for the FIN to be acknowledged, which by then it mostly is.
                    let _ = socket::clear_linger(fd);
                }
                let _ = socket::shut_write(fd);
                self.linger(fd, request, Input::Unknown, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_is_free_after_a_rest_and_takes_a_tenth_of_the_time_in_the_long_run() {
        let mut budget = Budget::new(0);
        let (mut now, mut spent) = (0, 0);
        for look in 0..1000 {
            if look < 19 {
                assert!(budget.available_ms() <= now, "look {look} need not wait");
            }
            now = now.max(budget.available_ms());
            now += 10;
            budget.spend(10, now);
            spent += 10;
        }
        // The last look is not paid for yet.
        assert!((spent - MOST_SAVED_MS - 10) * SHARE <= now && now <= spent * SHARE, "{now} ms for {spent}");
        budget.spend(2 * MOST_SAVED_MS, now + 100_000);
        assert!(budget.available_ms() > now + 100_000, "no more is saved than that");
        for _ in 0..100 {
            budget.spend(10, now + 100_000);
        }
        assert_eq!(budget.available_ms(), now + 100_000 + 10 * SHARE, "many that could not wait");
    }
}
