//! The channel's number in the program's table: who makes the channel, and whether the number still is ours.
//!
//! **Promises:** atomics only. What the kernel does comes in as functions, so that a model can take its part (`make loom`).
//!
//! **Invariants:** one thread at a time makes a channel. A number that was found not to be ours any more is never used again,
//! unless a channel is made anew that gets it; and such a one is not taken for the one that was lost.

use crate::sys::{self, Errno, Fd, Identity};
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

const NONE: Fd = -1;
/// Somebody is making it right now.
const MAKING: Fd = -2;
/// How often [`Number::reserve`] looks whether another thread has made the channel.
#[cfg(not(loom))]
const LOOKS: u32 = 20_000;
#[cfg(loom)]
const LOOKS: u32 = 3;

/// What [`Number::reserve`] found or did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserved {
    /// It was there.
    Kept,
    /// It was made now: no drain thread listens to it yet.
    Made,
    /// It cannot be had.
    Refused,
}

/// See the module.
pub struct Number {
    /// The low half: the number, or one of the above. The high half: how often it has changed.
    word: AtomicU64,
    device: AtomicU64,
    inode: AtomicU64,
}

const fn pack(fd: Fd, changes: u64) -> u64 {
    changes << 32 | fd as u32 as u64
}

const fn unpack(word: u64) -> Fd {
    word as u32 as Fd
}

/// No channel yet. Not a function: loom's atomics are not made at compile time.
macro_rules! none {
    () => {
        Number { word: AtomicU64::new(pack(NONE, 0)), device: AtomicU64::new(0), inode: AtomicU64::new(0) }
    };
}

impl Number {
    /// No channel yet.
    #[cfg(not(loom))]
    pub const fn new() -> Number {
        none!()
    }

    /// No channel yet.
    #[cfg(loom)]
    pub fn new() -> Number {
        none!()
    }

    /// The number, whether or not it still is ours.
    pub fn unchecked(&self) -> Option<Fd> {
        Some(unpack(self.word.load(Ordering::Relaxed))).filter(|fd| *fd >= 0)
    }

    /// The number, where `identify` finds our socket behind it.
    pub fn checked(&self, identify: impl FnOnce(Fd) -> sys::Result<Identity>) -> Option<Fd> {
        let word = self.word.load(Ordering::Acquire);
        let fd = unpack(word);
        if fd < 0 {
            return None;
        }
        let (device, inode) = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        match identify(fd) {
            Ok(identity) if identity == (Identity { device, inode }) => return Some(fd),
            Ok(_) | Err(Errno(libc::EBADF)) => {
                // Swept away, and maybe reused: never touch that number again.
                self.change_from(word, NONE);
            }
            // Not known now; it may be known again.
            Err(_) => {}
        }
        None
    }

    /// Sees to it that there is a channel: where there is none, one of all those who ask makes it.
    pub fn reserve(
        &self,
        identify: impl Fn(Fd) -> sys::Result<Identity>,
        make: impl FnOnce() -> Option<(Fd, Identity)>,
    ) -> Reserved {
        for _ in 0..LOOKS {
            if self.checked(&identify).is_some() {
                return Reserved::Kept;
            }
            if self.unchecked().is_some() {
                return Reserved::Refused;
            }
            let word = self.word.load(Ordering::Relaxed);
            if unpack(word) == NONE && self.change_from(word, MAKING) {
                return self.settle(make());
            }
            // Another thread, or the code that a signal handler of ours interrupted: wait a little, never for ever.
            #[cfg(not(loom))]
            core::hint::spin_loop();
            #[cfg(loom)]
            loom::thread::yield_now();
        }
        Reserved::Refused
    }

    fn settle(&self, made: Option<(Fd, Identity)>) -> Reserved {
        let Some((fd, identity)) = made else {
            self.change(None);
            return Reserved::Refused;
        };
        self.device.store(identity.device, Ordering::Relaxed);
        self.inode.store(identity.inode, Ordering::Relaxed);
        self.change(Some(fd));
        Reserved::Made
    }

    /// The channel has another number now, or none.
    pub fn change(&self, number: Option<Fd>) {
        let changed = |word: u64| Some(pack(number.unwrap_or(NONE), (word >> 32) + 1));
        let _ = self.word.fetch_update(Ordering::Release, Ordering::Relaxed, changed);
    }

    /// Whether it still was as it had been seen, and has changed.
    fn change_from(&self, seen: u64, to: Fd) -> bool {
        let changed = pack(to, (seen >> 32) + 1);
        self.word.compare_exchange(seen, changed, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, loom))]
#[path = "number_interleavings.rs"]
mod interleavings;
