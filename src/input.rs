//! The receiving side of a connection that is being let go of: what is discarded, and what its end means.
//!
//! **Promises:** nothing here waits; work is bounded whatever the peer sends.

use crate::drain::Outcome;
use crate::sys::socket::{self, TcpState};
use crate::sys::{self, Errno, Fd};

/// Discards what has arrived, so that the kernel itself sends FIN, not RST. Returns the bytes.
pub fn discard_what_is_here(fd: Fd) -> u64 {
    let mut total = 0;
    for _ in 0..16 {
        match socket::discard(fd, 1 << 20) {
            Ok(0) | Err(_) => break,
            Ok(n) => total += n as u64,
        }
    }
    total
}

/// What recv(2) means by 0: the peer's FIN, unless the program had shut the read half itself. Then nothing can be
/// read, and nothing is gained by waiting.
pub fn end(fd: Fd) -> Outcome {
    match socket::tcp_state(fd) {
        Ok(TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Established) => Outcome::Closed,
        _ => Outcome::Fin,
    }
}

/// Takes the notices off the error queue, such as MSG_ZEROCOPY's: they raise POLLERR without an error, again and
/// again until they are taken.
pub fn take_notices(fd: Fd) {
    for _ in 0..64 {
        match socket::discard_notice(fd) {
            Err(Errno(libc::EINTR)) | Ok(_) => {}
            Err(_) => break,
        }
    }
}

/// SIGIO for a number the program has closed would mislead it: O_ASYNC belongs to the open file description.
pub fn stop_signals(fd: Fd) {
    if let Ok(flags) = sys::status_flags(fd) {
        if flags & libc::O_ASYNC != 0 {
            let _ = sys::set_status_flags(fd, flags & !libc::O_ASYNC);
        }
    }
}
