//! What a program started by us inherits as we found it, though Rust's runtime changed it before `main`.
//!
//! The runtime ignores SIGPIPE and opens /dev/null on whichever of descriptors 0, 1 and 2 is closed. A program
//! that replaces this process would inherit both, and a server under `linger run` must be the server it was.
//! So a constructor, which runs before the runtime, records how things were.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static PIPE_SIGNAL_IGNORED: AtomicBool = AtomicBool::new(false);

/// Of descriptors 0, 1 and 2.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

#[used]
#[link_section = ".init_array"]
static RECORD: extern "C" fn() = record;

extern "C" fn record() {
    // SAFETY: both calls only ask; sigaction fills in a structure for which all zeroes is a value.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action);
        PIPE_SIGNAL_IGNORED.store(asked == 0 && action.sa_sigaction == libc::SIG_IGN, Relaxed);
        for (number, closed) in (0..).zip(&CLOSED) {
            closed.store(libc::fcntl(number, libc::F_GETFD) < 0, Relaxed);
        }
    }
}

/// Puts everything back. Nothing may be printed afterwards: the numbers may be closed.
pub fn restore() {
    let action = if PIPE_SIGNAL_IGNORED.load(Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: SIG_IGN and SIG_DFL are no code of ours. The runtime opened /dev/null on these numbers, and nothing
    // here owns them.
    unsafe {
        libc::signal(libc::SIGPIPE, action);
        for (number, closed) in (0..).zip(&CLOSED) {
            if closed.load(Relaxed) {
                libc::close(number);
            }
        }
    }
}
