//! Several drain threads, where one descriptor table is not enough.
//!
//! A table holds what RLIMIT_NOFILE allows, and more connections than that may linger. So a thread whose table is nearly
//! full recruits another, with a table of its own. One of them at a time receives from the channel; it passes that on when it
//! has no room. They share the count of lingering connections, which `LINGER_MAX` bounds.
//!
//! **Promises:** atomics only: nothing here waits or makes a system call.
//!
//! **Invariants:** a crew is all threads of one channel; a thread of a former crew, whose channel the program swept away,
//! passes nothing on. An eviction that is asked of a shard is made there, so that the limit holds.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How many threads there are at most: with the usual limit of 1024 descriptors some 60,000 connections.
#[cfg(not(loom))]
pub(super) const MOST: usize = 64;
/// As many as a model needs.
#[cfg(loom)]
const MOST: usize = 3;

/// What a shard tells the others of itself.
struct Desk {
    /// How many more connections it has room for.
    room: AtomicU32,
    /// How many of its connections may be evicted with least loss, and since when the first of them has been quiet.
    acknowledged: AtomicU32,
    quiet_since_ms: AtomicU64,
    /// Evictions the others ask for.
    evictions: AtomicU32,
    /// It could not get a table.
    failed: AtomicBool,
}

/// An empty desk. Not a function: loom's atomics are not made at compile time.
macro_rules! vacant_desk {
    () => {
        Desk {
            room: AtomicU32::new(0),
            acknowledged: AtomicU32::new(0),
            quiet_since_ms: AtomicU64::new(u64::MAX),
            evictions: AtomicU32::new(0),
            failed: AtomicBool::new(false),
        }
    };
}

#[cfg(not(loom))]
static DESKS: [Desk; MOST] = [const { vacant_desk!() }; MOST];
#[cfg(loom)]
loom::lazy_static! {
    static ref DESKS: [Desk; MOST] = core::array::from_fn(|_| vacant_desk!());
}

/// Declares statics; under loom they are made anew for each interleaving.
macro_rules! shared {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
        $(
            #[cfg(not(loom))]
            $(#[$doc])*
            static $name: $type = $value;
        )*
        #[cfg(loom)]
        loom::lazy_static! {
            $(static ref $name: $type = $value;)*
        }
    };
}

shared! {
    /// The crew of the present channel.
    CREW: AtomicU32 = AtomicU32::new(0);
    /// Seats taken in it, and threads that have not ended.
    TAKEN: AtomicU32 = AtomicU32::new(0);
    RUNNING: AtomicU32 = AtomicU32::new(0);
    /// The index of the one that receives.
    RECEIVER: AtomicU32 = AtomicU32::new(0);
    /// How many connections linger in all crews.
    LINGERING: AtomicU32 = AtomicU32::new(0);
}

/// A shard's place among the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seat {
    crew: u32,
    index: u32,
}

impl Seat {
    /// The first seat of a new crew. Called by whoever starts the first thread, before it does.
    pub(super) fn first() -> Seat {
        let crew = CREW.fetch_add(1, Ordering::SeqCst).wrapping_add(1) & 0xff_ffff;
        CREW.store(crew, Ordering::SeqCst);
        for desk in DESKS.iter() {
            desk.clear();
        }
        TAKEN.store(1, Ordering::SeqCst);
        RUNNING.store(1, Ordering::SeqCst);
        RECEIVER.store(0, Ordering::SeqCst);
        Seat { crew, index: 0 }
    }

    /// A seat for one more thread; `None` where all are taken.
    pub(super) fn next(self) -> Option<Seat> {
        let vacant = |taken: u32| (self.current() && (taken as usize) < MOST).then_some(taken + 1);
        let index = TAKEN.fetch_update(Ordering::SeqCst, Ordering::SeqCst, vacant).ok()?;
        RUNNING.fetch_add(1, Ordering::SeqCst);
        let seat = Seat { crew: self.crew, index };
        if let Some(desk) = seat.desk() {
            desk.clear();
        }
        Some(seat)
    }

    /// Nobody came to sit here.
    pub(super) fn give_back(self) {
        if self.current() {
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            let _ = TAKEN.compare_exchange(self.index + 1, self.index, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// For the one argument of a thread.
    pub(super) fn pack(self) -> usize {
        (self.crew << 8 | self.index) as usize
    }

    /// What [`Seat::pack`] packed.
    pub(super) fn unpack(packed: usize) -> Seat {
        Seat { crew: packed as u32 >> 8, index: packed as u32 & 0xff }
    }

    /// Its number, from 0 on.
    pub(super) fn index(self) -> u32 {
        self.index
    }

    /// Whether this is the first one of its crew.
    pub(super) fn is_first(self) -> bool {
        self.index == 0
    }

    fn desk(self) -> Option<&'static Desk> {
        DESKS.get(self.index as usize).filter(|_| self.current())
    }

    /// Whether its crew's channel is the present one.
    pub(super) fn current(self) -> bool {
        CREW.load(Ordering::SeqCst) == self.crew
    }

    /// Whether it is the one to receive.
    pub(super) fn receives(self) -> bool {
        self.current() && RECEIVER.load(Ordering::SeqCst) == self.index
    }

    /// From now on this one receives.
    pub(super) fn take_over(self) {
        if self.current() {
            RECEIVER.store(self.index, Ordering::SeqCst);
        }
    }

    /// The thread ends, or could not be had. Whether it was the last one of its crew.
    pub(super) fn leave(self) -> bool {
        let Some(desk) = self.desk() else { return false };
        desk.room.store(0, Ordering::SeqCst);
        desk.failed.store(true, Ordering::SeqCst);
        RUNNING.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Whether it left.
    pub(super) fn left(self) -> bool {
        self.desk().is_none_or(|desk| desk.failed.load(Ordering::SeqCst))
    }

    /// Says how things are here.
    pub(super) fn publish(self, room: usize, acknowledged: usize, quiet_since_ms: u64) {
        if let Some(desk) = self.desk() {
            desk.room.store(room as u32, Ordering::Relaxed);
            desk.acknowledged.store(acknowledged as u32, Ordering::Relaxed);
            desk.quiet_since_ms.store(quiet_since_ms, Ordering::Relaxed);
        }
    }

    fn others(self) -> impl Iterator<Item = (u32, &'static Desk)> {
        let taken = if self.current() { TAKEN.load(Ordering::SeqCst) } else { 0 };
        (0..taken).zip(DESKS.iter()).filter(move |(index, _)| *index != self.index)
    }

    /// Has another shard that has room for `worth` connections receive from now on; false where there is none.
    pub(super) fn pass_on(self, worth: usize) -> bool {
        let roomy = |(_, desk): &(u32, &Desk)| desk.room.load(Ordering::Relaxed) as usize >= worth;
        match self.others().find(roomy) {
            Some((index, _)) => {
                RECEIVER.compare_exchange(self.index, index, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            }
            None => false,
        }
    }

    /// Asks the shard whose quietest connection has been quiet for longest to evict one; false where that is no longer than since
    /// `own_ms`, or where none has one that was acknowledged.
    pub(super) fn ask_eviction(self, own_ms: u64) -> bool {
        let quiet = |(_, desk): &(u32, &Desk)| desk.quiet_since_ms.load(Ordering::Relaxed);
        let willing = self.others().filter(|(_, desk)| desk.acknowledged.load(Ordering::Relaxed) > 0);
        let Some((_, desk)) = willing.min_by_key(quiet).filter(|other| quiet(other) < own_ms) else {
            return false;
        };
        let one_less = |n: u32| n.checked_sub(1);
        let asked = desk.acknowledged.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if asked {
            desk.evictions.fetch_add(1, Ordering::SeqCst);
        }
        asked
    }

    /// How many evictions the others ask of this one; it makes them all.
    pub(super) fn take_evictions(self) -> u32 {
        match self.desk() {
            Some(desk) if desk.evictions.load(Ordering::Relaxed) > 0 => {
                desk.evictions.swap(0, Ordering::SeqCst)
            }
            _ => 0,
        }
    }
}

impl Desk {
    fn clear(&self) {
        self.room.store(0, Ordering::SeqCst);
        self.acknowledged.store(0, Ordering::SeqCst);
        self.quiet_since_ms.store(u64::MAX, Ordering::SeqCst);
        self.evictions.store(0, Ordering::SeqCst);
        self.failed.store(false, Ordering::SeqCst);
    }
}

/// How many connections linger, in all shards.
pub(super) fn lingering() -> usize {
    LINGERING.load(Ordering::Relaxed) as usize
}

/// One more lingers.
pub(super) fn joins() {
    LINGERING.fetch_add(1, Ordering::Relaxed);
}

/// One less lingers.
pub(super) fn leaves() {
    let _ = LINGERING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
}

/// In a forked child: all that was the parent's.
pub(super) fn forget() {
    CREW.fetch_add(1, Ordering::SeqCst);
    LINGERING.store(0, Ordering::SeqCst);
    for desk in DESKS.iter() {
        desk.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// One test: the statics are the process's.
    #[test]
    fn one_receives_and_passes_on_to_who_has_room() {
        let first = Seat::first();
        assert_eq!(Seat::unpack(first.pack()), first);
        assert!(first.receives() && first.is_first());
        assert!(!first.pass_on(1), "nobody else is there");

        let second = first.next().unwrap();
        assert!(!second.receives());
        second.publish(10, 3, 500);
        assert!(!first.pass_on(11), "too little room");
        assert!(first.pass_on(10));
        assert!(second.receives() && !first.receives());
        assert!(!first.pass_on(10), "not the receiver's to pass on any more");

        assert!(!first.ask_eviction(500), "its own has been quiet for as long");
        assert!(first.ask_eviction(501) && first.ask_eviction(u64::MAX) && first.ask_eviction(501));
        assert!(!first.ask_eviction(501), "no fourth was acknowledged");
        assert_eq!((second.take_evictions(), second.take_evictions()), (3, 0));

        first.take_over();
        assert!(first.receives());
        assert!(!second.leave(), "the first is still there");
        assert!(second.left() && !first.left());

        for _ in 2..MOST {
            first.next().unwrap().give_back();
            assert!(first.next().is_some());
        }
        assert_eq!(first.next(), None);

        let successor = Seat::first();
        assert!(!first.receives() && !first.pass_on(0) && first.next().is_none(), "of a former crew");
        assert!(successor.receives());
    }
}

#[cfg(all(test, loom))]
#[path = "shards_interleavings.rs"]
mod interleavings;
