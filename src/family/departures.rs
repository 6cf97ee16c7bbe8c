//! Who has let go of which connection, for relatives that cannot look: notes in shared memory, in small rings by inode.
//!
//! **Promises:** nothing waits, and both calls look at one ring only. A note that is lost, because its ring is full of younger
//! ones or somebody died while writing, only costs its reader a doubt.
//!
//! **Invariant:** what is read was noted: a place has one writer at a time, and is read only as a whole.

#[cfg(not(loom))]
use core::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};

/// A power of two. Inodes are spread over the rings, so that some thousand departures are remembered: of a busy server with
/// as many children that each have a connection.
#[cfg(not(loom))]
const RINGS: usize = 1024;
#[cfg(loom)]
const RINGS: usize = 1;
#[cfg(not(loom))]
const NOTES: usize = 4;
#[cfg(loom)]
const NOTES: usize = 1;

/// In place of an inode while the rest is written.
const BEING_WRITTEN: u64 = u64::MAX;

/// Zero bytes are a valid one.
pub(super) struct Departures {
    rings: [Ring; RINGS],
}

struct Ring {
    next: AtomicU32,
    notes: [Note; NOTES],
}

struct Note {
    inode: AtomicU64,
    who: AtomicU64,
}

/// A process, and how many forks there had been in it (see `Share` in [`crate::handover`]).
fn who(process: i32, forks: u32) -> u64 {
    u64::from(process.unsigned_abs()) << 32 | u64::from(forks)
}

impl Departures {
    #[cfg(not(loom))]
    pub(super) const fn none() -> Departures {
        Departures { rings: [const { Ring::empty() }; RINGS] }
    }

    #[cfg(loom)]
    pub(super) fn none() -> Departures {
        Departures { rings: core::array::from_fn(|_| Ring::empty()) }
    }

    fn ring(&self, inode: u64) -> Option<&Ring> {
        // Multiplicative hashing by the golden ratio: inodes are given out in order, or by twos.
        self.rings.get((inode.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % RINGS)
    }

    /// `process` has let go of the socket `inode` for good. What is looked at afterwards is looked at later than that is said.
    pub(super) fn note(&self, inode: u64, process: i32, forks: u32) {
        let Some(ring) = self.ring(inode) else { return };
        let at = ring.next.fetch_add(1, Ordering::Relaxed) as usize % NOTES;
        let Some(note) = ring.notes.get(at) else { return };
        let older = note.inode.load(Ordering::SeqCst);
        let taken = older != BEING_WRITTEN
            && note.inode.compare_exchange(older, BEING_WRITTEN, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if taken {
            note.who.store(who(process, forks), Ordering::SeqCst);
            note.inode.store(inode, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
    }

    /// Whether that is noted.
    pub(super) fn noted(&self, inode: u64, process: i32, forks: u32) -> bool {
        fence(Ordering::SeqCst);
        let is_of = |note: &Note| note.inode.load(Ordering::SeqCst) == inode;
        let says_so = |note: &Note| {
            is_of(note) && note.who.load(Ordering::SeqCst) == who(process, forks) && is_of(note)
        };
        self.ring(inode).is_some_and(|ring| ring.notes.iter().any(says_so))
    }
}

impl Ring {
    #[cfg(not(loom))]
    const fn empty() -> Ring {
        let notes = [const { Note { inode: AtomicU64::new(0), who: AtomicU64::new(0) } }; NOTES];
        Ring { next: AtomicU32::new(0), notes }
    }

    #[cfg(loom)]
    fn empty() -> Ring {
        let note = |_| Note { inode: AtomicU64::new(0), who: AtomicU64::new(0) };
        Ring { next: AtomicU32::new(0), notes: core::array::from_fn(note) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_thousand_are_remembered_however_inodes_are_given_out() {
        for step in [1, 2, 1024] {
            let departures = Box::new(Departures::none());
            let inodes = || (1..=1000u64).map(|n| n * step);
            inodes().for_each(|inode| departures.note(inode, 42, 7));
            let remembered = inodes().filter(|inode| departures.noted(*inode, 42, 7)).count();
            assert!(remembered > 970, "{remembered} with every inode in {step}");
            assert!(!inodes().any(|inode| departures.noted(inode, 43, 7) || departures.noted(inode, 42, 9)));
        }
    }
}

/// Every interleaving of those who let go.
#[cfg(all(test, loom))]
mod interleavings {
    use super::*;
    use loom::sync::atomic::AtomicBool;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn nothing_is_read_that_was_not_noted() {
        loom::model(|| {
            let departures = Arc::new(Departures::none());
            let writers = [(7, 1, 3), (8, 2, 5)].map(|(inode, process, forks)| {
                let departures = departures.clone();
                thread::spawn(move || departures.note(inode, process, forks))
            });
            assert!(!departures.noted(7, 2, 5) && !departures.noted(8, 1, 3));
            for writer in writers {
                writer.join().unwrap();
            }
            assert!(!departures.noted(7, 2, 5) && !departures.noted(8, 1, 3));
        });
    }

    /// A parent that can look and an only child that cannot: each closes its copy; then the parent notes it and looks
    /// for the child's copy, and the child looks for the note.
    #[test]
    fn of_a_parent_and_its_child_one_is_the_last() {
        loom::model(|| {
            let departures = Arc::new(Departures::none());
            let open_in_child = Arc::new(AtomicBool::new(true));
            let parent = {
                let (departures, open_in_child) = (departures.clone(), open_in_child.clone());
                thread::spawn(move || {
                    departures.note(7, 1, 3);
                    !open_in_child.load(Ordering::SeqCst)
                })
            };
            open_in_child.store(false, Ordering::SeqCst);
            let child_is_the_last = departures.noted(7, 1, 3);
            let parent_is_the_last = parent.join().unwrap();
            assert!(child_is_the_last || parent_is_the_last);
        });
    }
}
