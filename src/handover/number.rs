//! The channel's number in the program's table: who makes the channel, and whether the number still is ours.
//!
//! **Promises:** atomics only. What the kernel does comes in as functions, so that a model can take its part (`make loom`).
//!
//! **Invariants:** one thread at a time makes a channel. A number that was found not to be ours any more is never used again,
//! unless a channel is made anew that gets it.

use crate::sys::{self, Errno, Fd, Identity};
#[cfg(not(loom))]
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicI32, AtomicU64, Ordering};

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
    number: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

/// No channel yet. Not a function: loom's atomics are not made at compile time.
macro_rules! none {
    () => {
        Number { number: AtomicI32::new(NONE), device: AtomicU64::new(0), inode: AtomicU64::new(0) }
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
        Some(self.number.load(Ordering::Relaxed)).filter(|n| *n >= 0)
    }

    /// The number, where `identify` finds our socket behind it.
    pub fn checked(&self, identify: impl FnOnce(Fd) -> sys::Result<Identity>) -> Option<Fd> {
        let fd = self.number.load(Ordering::Acquire);
        if fd < 0 {
            return None;
        }
        let (device, inode) = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        match identify(fd) {
            Ok(identity) if identity == (Identity { device, inode }) => return Some(fd),
            Ok(_) | Err(Errno(libc::EBADF)) => {
                // Swept away, and maybe reused: never touch that number again.
                let _ = self.number.compare_exchange(fd, NONE, Ordering::AcqRel, Ordering::Relaxed);
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
            match self.number.compare_exchange(NONE, MAKING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return self.settle(make()),
                // Another thread, or the code that a signal handler of ours interrupted: wait a little, never for ever.
                #[cfg(not(loom))]
                Err(_) => core::hint::spin_loop(),
                #[cfg(loom)]
                Err(_) => loom::thread::yield_now(),
            }
        }
        Reserved::Refused
    }

    fn settle(&self, made: Option<(Fd, Identity)>) -> Reserved {
        let Some((fd, identity)) = made else {
            self.number.store(NONE, Ordering::Release);
            return Reserved::Refused;
        };
        self.device.store(identity.device, Ordering::Relaxed);
        self.inode.store(identity.inode, Ordering::Relaxed);
        self.number.store(fd, Ordering::Release);
        Reserved::Made
    }

    /// The channel has another number now, or none.
    pub fn change(&self, number: Option<Fd>) {
        self.number.store(number.unwrap_or(NONE), Ordering::Release);
    }
}

#[cfg(all(test, loom))]
#[path = "number_interleavings.rs"]
mod interleavings;
