//! Whether the calling code runs in a signal handler.
//!
//! Creating a thread allocates, which is not safe there: the handler may have interrupted malloc(3). The kernel does not
//! tell, so two signs are put together:
//!
//! - While a handler runs its signal is blocked (sigaction(2)), unless it was installed with SA_NODEFER. So where no
//!   signal is blocked that has a handler, and no handler is of that kind, this is none.
//! - On x86-64 a handler returns to a place that the C library gave the kernel (`sa_restorer`), and that address is on the
//!   stack above it. MariaDB, PostgreSQL and the JVM block signals for good; for them this decides.
//!
//! **Promises:** system calls only; nothing is allocated, locked or changed; less than 1 KiB of stack.
//!
//! **Invariant:** doubt means "in a handler". A stale copy of the address on the stack costs one connection its drain, no
//! more.

use crate::sys::process::{self, Handler};

/// How far up the stack the return address is looked for. Handlers do not use more.
const STACK_BYTES: usize = 1 << 20;
/// Few at a time: a handler may run on an alternate stack of 2 KiB.
const WORDS: usize = 64;

/// Whether this may be a signal handler.
pub fn possible() -> bool {
    let Ok(blocked) = process::blocked_signals() else { return true };
    let suspects = || {
        (1..=64u32).filter_map(move |signal| {
            let handler = process::handler(signal)?;
            (handler.nested || blocked >> (signal - 1) & 1 == 1).then_some(handler)
        })
    };
    suspects().next().is_some() && on_the_stack(suspects)
}

/// Whether one of these handlers has a frame on the stack above us, or that cannot be told.
fn on_the_stack<I: Iterator<Item = Handler>>(suspects: impl Fn() -> I) -> bool {
    let mut places = [0usize; 4];
    for handler in suspects() {
        // All of them return to the same place, but for programs that install their own.
        if places.contains(&handler.returns_to) && handler.returns_to != 0 {
            continue;
        }
        match places.iter_mut().find(|place| **place == 0) {
            Some(place) if handler.returns_to != 0 => *place = handler.returns_to,
            _ => return true,
        }
    }
    let mut words = [0usize; WORDS];
    // Our own arrays hold the address: begin above both.
    let start = ((&raw const places) as usize + size_of_val(&places))
        .max((&raw const words) as usize + size_of_val(&words));
    let mut address = start;
    let end = start + STACK_BYTES;
    while address < end {
        let read = process::read_memory(address, &mut words).unwrap_or(0) / size_of::<usize>();
        if read == 0 {
            // The end of the stack; or, at once, a kernel that does not let us look.
            return address == start;
        }
        let found = |word: &usize| *word != 0 && places.contains(word);
        if words.iter().take(read).any(found) {
            return true;
        }
        address += read * size_of::<usize>();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    static SEEN: AtomicU8 = AtomicU8::new(9);

    extern "C" fn look(_: libc::c_int) {
        SEEN.store(u8::from(possible()), Ordering::SeqCst);
    }

    /// In one test, for dispositions belong to the whole process.
    #[test]
    fn a_handler_is_told_from_a_thread_that_blocks_signals() {
        for flags in [0, libc::SA_NODEFER] {
            // SAFETY: a handler that makes system calls only, for signals nothing else here uses.
            unsafe {
                let mut action: libc::sigaction = core::mem::zeroed();
                action.sa_sigaction = look as extern "C" fn(libc::c_int) as usize;
                action.sa_flags = flags;
                assert_eq!(libc::sigaction(libc::SIGUSR2, &action, core::ptr::null_mut()), 0);
                assert_eq!(libc::raise(libc::SIGUSR2), 0);
            }
            assert_eq!(SEEN.swap(9, Ordering::SeqCst), 1, "in the handler, flags {flags:#x}");
        }
        // SAFETY: as above.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = look as extern "C" fn(libc::c_int) as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR2, &action, core::ptr::null_mut()), 0);
        }
        assert!(!possible(), "nothing is blocked");
        let before = process::set_blocked_signals(1 << (libc::SIGUSR2 - 1)).unwrap();
        // A new thread: no handler has ever run on its stack. It inherits the mask.
        let in_thread = std::thread::spawn(possible).join().unwrap();
        process::set_blocked_signals(before).unwrap();
        if cfg!(target_arch = "x86_64") {
            assert!(!in_thread, "blocked, but not in the handler");
        }
    }
}
