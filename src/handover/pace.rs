//! When the drain thread looks into the channel: two words that senders leave it, what is ripe, and the order of a turn.
//!
//! The kernel wakes a thread that waits for events (epoll(7)) for as long as anything is in the channel. While closes keep
//! coming the thread sleeps for a tick between two looks instead, so that one wake-up serves many; these words end a tick early.
//!
//! **Promises:** nothing here waits or makes a system call: sleeping and waking come in as functions, so that a model can take
//! the kernel's part (`make loom`).
//!
//! **Invariants:** whoever sends counts afterwards, so that what is counted is in the channel. What a look leaves in the channel
//! is looked for again before the thread waits without limit, or wakes it.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

/// A queue of the default size holds 278 messages; from here on the drain thread is woken early.
#[cfg(not(loom))]
const HIGH_WATER: u32 = 128;
#[cfg(loom)]
const HIGH_WATER: u32 = 1;
/// Messages received in one turn.
#[cfg(not(loom))]
pub const COLLECT: usize = 1024;
#[cfg(loom)]
pub const COLLECT: usize = 2;

/// What senders tell the drain thread besides their messages.
pub struct Pace {
    /// Messages sent since the drain thread last looked.
    queued: AtomicU32,
    /// The drain thread sleeps on this word between two looks; 1 wakes it before its time.
    hurry: AtomicU32,
}

impl Pace {
    /// Nothing was sent yet.
    #[cfg(not(loom))]
    pub const fn new() -> Pace {
        Pace { queued: AtomicU32::new(0), hurry: AtomicU32::new(0) }
    }

    /// Nothing was sent yet.
    #[cfg(loom)]
    pub fn new() -> Pace {
        Pace { queued: AtomicU32::new(0), hurry: AtomicU32::new(0) }
    }

    /// A message was sent, or found no room. `wake` wakes who sleeps on the word.
    pub fn sent(&self, found_room: bool, wake: impl FnOnce(&AtomicU32)) {
        if self.queued.fetch_add(1, Ordering::Relaxed) == HIGH_WATER || !found_room {
            self.hurry(wake);
        }
    }

    /// Ends the tick. `wake` wakes who sleeps on the word.
    pub fn hurry(&self, wake: impl FnOnce(&AtomicU32)) {
        self.hurry.store(1, Ordering::SeqCst);
        wake(&self.hurry);
    }

    /// The drain thread sleeps for a tick. `sleep` returns at once where the word is not 0.
    pub fn tick(&self, sleep: impl FnOnce(&AtomicU32)) {
        sleep(&self.hurry);
    }

    /// The drain thread begins to look: how many messages were sent since it last did, and whether it was asked to hurry.
    fn begin(&self) -> (usize, bool) {
        (self.queued.swap(0, Ordering::Relaxed) as usize, self.hurry.swap(0, Ordering::Relaxed) != 0)
    }

    /// In a forked child: what was sent is the parent's.
    pub fn reset(&self) {
        self.queued.store(0, Ordering::Relaxed);
        self.hurry.store(0, Ordering::Relaxed);
    }
}

/// What one turn took out of the channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Messages.
    pub count: usize,
    /// Whether nothing was left.
    pub all: bool,
}

/// How many messages in the channel have waited a tick.
#[derive(Clone, Copy, Debug)]
pub struct Ripe(usize);

impl Ripe {
    /// No message.
    pub const NONE: Ripe = Ripe(0);
    /// As many as are received in one turn.
    pub const ALL: Ripe = Ripe(COLLECT);

    /// One look. `take` takes at most so many messages out of the channel. Whether more may be waiting.
    pub fn collect(&mut self, pace: &Pace, take: impl FnOnce(usize) -> Taken) -> bool {
        let (queued, hurry) = pace.begin();
        let uncounted = self.0 == 0 && queued == 0;
        let taken = take(if hurry || uncounted { COLLECT } else { self.0.min(COLLECT) });
        self.0 = if taken.all { 0 } else { (self.0 + queued).saturating_sub(taken.count) };
        taken.count > 0 || self.0 > 0
    }
}

/// What a drain thread does, in the order of [`live`].
pub trait Turns {
    /// Whether it is to end.
    fn ends(&self) -> bool;
    /// Sees to it that the channel wakes this thread where it is the one to receive. Whether it is.
    fn listen(&mut self) -> bool;
    /// Sleeps for a tick ([`Pace::tick`]).
    fn tick(&mut self);
    /// Receives what is ripe ([`Ripe::collect`]). Whether more may be waiting.
    fn collect(&mut self) -> bool;
    /// Does what else is due.
    fn work(&mut self);
    /// Waits for events and handles them; does not wait where `more` may be waiting. Whether the channel had news.
    fn wait(&mut self, more: bool) -> bool;
}

/// The life of a drain thread.
pub fn live(thread: &mut impl Turns) {
    let mut collecting = true;
    while !thread.ends() {
        let receives = thread.listen();
        if receives && collecting {
            thread.tick();
        }
        let more = receives && thread.collect();
        thread.work();
        let arrived = thread.wait(more);
        // After a sleep the first message only says that a close happened; more are on their way.
        collecting = more || arrived;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Looks once at a channel in which nothing is left afterwards, or something. How many messages the turn may take.
    fn look(ripe: &mut Ripe, pace: &Pace, taken: usize, all: bool) -> (usize, bool) {
        let mut most = usize::MAX;
        let more = ripe.collect(pace, |allowed| {
            most = allowed;
            Taken { count: taken, all }
        });
        (most, more)
    }

    #[test]
    fn what_was_sent_since_the_last_look_waits_a_tick() {
        let (pace, mut ripe) = (Pace::new(), Ripe::NONE);
        (0..3).for_each(|_| pace.sent(true, |_| panic!("no hurry")));
        assert_eq!(look(&mut ripe, &pace, 0, false), (0, true));
        pace.sent(true, |_| panic!("no hurry"));
        assert_eq!(look(&mut ripe, &pace, 3, false), (3, true), "the fourth has not waited yet");
        assert_eq!(look(&mut ripe, &pace, 1, false), (1, true));
        assert_eq!(look(&mut ripe, &pace, 0, true), (COLLECT, false), "of what nobody has counted, all");
    }

    #[test]
    fn who_hurries_has_all_received() {
        let (pace, mut ripe) = (Pace::new(), Ripe::NONE);
        pace.sent(true, |_| panic!("no hurry"));
        let mut woken = 0;
        pace.sent(false, |_| woken += 1);
        assert_eq!(look(&mut ripe, &pace, 1, true), (COLLECT, true));
        (0..=HIGH_WATER).for_each(|_| pace.sent(true, |_| woken += 1));
        assert_eq!(woken, 2);
        assert_eq!(look(&mut ripe, &pace, 5, true), (COLLECT, true));
    }
}

#[cfg(all(test, loom))]
#[path = "pace_interleavings.rs"]
mod interleavings;
