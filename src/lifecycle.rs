//! The drain thread's life, as the threads of the program see it.
//!
//! **Promises:** one atomic word decides; nothing waits. Model-checked with loom (`make loom`).
//!
//! **Invariant:** whoever makes it so that no thread listens empties the channel afterwards, and whoever sends looks
//! afterwards whether a thread still listens, and empties it if not. So nothing stays in the channel for ever.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

const ABSENT: u32 = 0;
const STARTED: u32 = 1;
/// The system refused a thread; another try may be made after a while.
const REFUSED: u32 = 2;
/// It died of a defect of ours, or was retired: never again in this process.
const DISARMED: u32 = 3;

/// How long after a refusal the next try is made.
pub const RETRY_AFTER_MS: u64 = 1000;

/// What a thread that needs the drain thread finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// It is there, or on its way.
    Met,
    /// It may be started: [`Lifecycle::claim`].
    Start(Claim),
    /// It cannot be had now.
    Unmet,
}

/// The state in which a start was found to be possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim(u32);

/// See the module.
pub struct Lifecycle {
    state: AtomicU32,
    refused_at_ms: AtomicU64,
    wanted: AtomicBool,
}

impl Lifecycle {
    /// No thread yet.
    #[cfg(not(loom))]
    pub const fn new() -> Lifecycle {
        Lifecycle {
            state: AtomicU32::new(ABSENT),
            refused_at_ms: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
        }
    }

    /// No thread yet.
    #[cfg(loom)]
    pub fn new() -> Lifecycle {
        Lifecycle {
            state: AtomicU32::new(ABSENT),
            refused_at_ms: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
        }
    }

    /// Whether a thread is there, or can be.
    pub fn need(&self, now_ms: impl Fn() -> u64) -> Need {
        match self.state.load(Ordering::SeqCst) {
            STARTED => Need::Met,
            ABSENT => Need::Start(Claim(ABSENT)),
            REFUSED
                if now_ms() >= self.refused_at_ms.load(Ordering::Relaxed).saturating_add(RETRY_AFTER_MS) =>
            {
                Need::Start(Claim(REFUSED))
            }
            _ => Need::Unmet,
        }
    }

    /// Takes it upon the caller to start the thread: true for one of all those who try.
    pub fn claim(&self, claim: Claim) -> bool {
        self.state.compare_exchange(claim.0, STARTED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Whether a thread listens, or will.
    pub fn listening(&self) -> bool {
        self.state.load(Ordering::SeqCst) == STARTED
    }

    /// Whether there will be no thread any more.
    pub fn disarmed(&self) -> bool {
        self.state.load(Ordering::SeqCst) == DISARMED
    }

    /// Whether a thread listens, or will: started by `start` where there is none and it `may_start` here. Where the system
    /// refuses it, `refused` is told why, and sees to it that the channel is emptied.
    pub fn ensure<E>(
        &self,
        now_ms: impl Fn() -> u64,
        may_start: impl FnOnce() -> bool,
        start: impl FnOnce() -> Result<(), E>,
        refused: impl FnOnce(E),
    ) -> bool {
        let claim = match self.need(&now_ms) {
            Need::Met => return true,
            Need::Unmet => return false,
            Need::Start(claim) => claim,
        };
        if !may_start() {
            self.want();
            return false;
        }
        if !self.claim(claim) {
            return self.listening();
        }
        match start() {
            Ok(()) => true,
            Err(why) => {
                self.refuse(now_ms(), || refused(why));
                false
            }
        }
    }

    /// Has `send` put a connection into the channel, and `empty` take everything out of it where nobody listens any more.
    /// What `send` said: whether it is there.
    pub fn hand_over(&self, send: impl FnOnce() -> bool, empty: impl FnOnce()) -> bool {
        let sent = send();
        if sent && !self.listening() {
            empty();
        }
        sent
    }

    /// The thread could not be had: `empty` takes everything out of the channel.
    pub fn refuse(&self, now_ms: u64, empty: impl FnOnce()) {
        self.refused_at_ms.store(now_ms, Ordering::Relaxed);
        let _ = self.state.compare_exchange(STARTED, REFUSED, Ordering::SeqCst, Ordering::SeqCst);
        empty();
    }

    /// There will be no thread any more: `empty` takes everything out of the channel, where there is a channel to empty.
    /// Whether there was a thread.
    pub fn disarm(&self, empty: impl FnOnce()) -> bool {
        let was_there = self.state.swap(DISARMED, Ordering::SeqCst) == STARTED;
        empty();
        was_there
    }

    /// The channel is a new one, which the thread does not listen to.
    pub fn orphan(&self) {
        let _ = self.state.compare_exchange(STARTED, ABSENT, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// In a forked child: the thread is the parent's.
    pub fn reset(&self) {
        self.state.store(ABSENT, Ordering::SeqCst);
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// A thread is wanted, but cannot be started here.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Whether a thread was wanted, for one of all those who ask.
    pub fn take_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
impl Default for Lifecycle {
    fn default() -> Lifecycle {
        Lifecycle::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_claims_wins() {
        let life = Lifecycle::new();
        let (Need::Start(first), Need::Start(second)) = (life.need(|| 0), life.need(|| 0)) else { panic!() };
        assert!(life.claim(first));
        assert!(!life.claim(second));
        assert_eq!(life.need(|| 0), Need::Met);
    }

    #[test]
    fn a_refusal_is_final_for_a_while_only() {
        let life = Lifecycle::new();
        let Need::Start(claim) = life.need(|| 0) else { panic!() };
        assert!(life.claim(claim));
        life.refuse(5000, || ());
        assert_eq!(life.need(|| 5999), Need::Unmet);
        assert!(matches!(life.need(|| 6000), Need::Start(_)));
    }

    #[test]
    fn disarmed_is_for_ever_but_not_for_a_child() {
        let life = Lifecycle::new();
        assert!(!life.disarm(|| ()));
        life.refuse(0, || ());
        assert_eq!(life.need(|| u64::MAX), Need::Unmet);
        life.reset();
        assert!(matches!(life.need(|| 0), Need::Start(_)));
    }

    #[test]
    fn a_want_is_taken_once() {
        let life = Lifecycle::new();
        assert!(!life.take_wanted());
        life.want();
        assert!(life.take_wanted());
        assert!(!life.take_wanted());
    }
}

/// Every interleaving of the threads that send, start and fail.
#[cfg(all(test, loom))]
mod interleavings {
    use super::*;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    /// The kernel's queue, and how many connections left it.
    struct World {
        life: Lifecycle,
        queue: Mutex<u32>,
        handled: Mutex<u32>,
    }

    impl World {
        fn new() -> Arc<World> {
            Arc::new(World { life: Lifecycle::new(), queue: Mutex::new(0), handled: Mutex::new(0) })
        }

        fn empty(&self) {
            let taken = core::mem::take(&mut *self.queue.lock().unwrap());
            *self.handled.lock().unwrap() += taken;
        }

        /// A close, with the protocol of `engine::ready` and `engine::hand_over`. `starts` decides whether the system grants a
        /// thread.
        fn let_go(&self, starts: bool) {
            let start = || if starts { Ok(()) } else { Err(()) };
            let ready = self.life.ensure(|| 0, || true, start, |()| self.empty());
            let send = || {
                *self.queue.lock().unwrap() += 1;
                true
            };
            if !(ready && self.life.hand_over(send, || self.empty())) {
                *self.handled.lock().unwrap() += 1;
            }
        }

        fn nothing_is_stuck(&self, sent: u32) {
            if self.life.listening() {
                // The thread empties it.
                self.empty();
            }
            assert_eq!((*self.queue.lock().unwrap(), *self.handled.lock().unwrap()), (0, sent));
        }
    }

    #[test]
    fn nothing_is_stuck_when_the_thread_is_refused() {
        loom::model(|| {
            let world = World::new();
            let other = {
                let world = world.clone();
                thread::spawn(move || world.let_go(false))
            };
            world.let_go(false);
            other.join().unwrap();
            world.nothing_is_stuck(2);
        });
    }

    #[test]
    fn nothing_is_stuck_when_the_thread_dies() {
        loom::model(|| {
            let world = World::new();
            let sender = {
                let world = world.clone();
                thread::spawn(move || world.let_go(true))
            };
            let dying = {
                let world = world.clone();
                thread::spawn(move || {
                    world.life.disarm(|| world.empty());
                })
            };
            sender.join().unwrap();
            dying.join().unwrap();
            world.nothing_is_stuck(1);
        });
    }

    #[test]
    fn at_most_one_thread_is_started() {
        loom::model(|| {
            let world = World::new();
            let start =
                |world: &World| matches!(world.life.need(|| 0), Need::Start(c) if world.life.claim(c));
            let other = {
                let world = world.clone();
                thread::spawn(move || start(&world))
            };
            let here = start(&world);
            assert!(!(other.join().unwrap() && here));
        });
    }

    #[test]
    fn a_want_is_met_once() {
        loom::model(|| {
            let world = World::new();
            world.life.want();
            let other = {
                let world = world.clone();
                thread::spawn(move || world.life.take_wanted())
            };
            let here = world.life.take_wanted();
            assert!(other.join().unwrap() ^ here);
        });
    }
}
