//! A lingering close in the calling thread, for callers that want to wait and to know how it ended.
//!
//! **Promises:** the same rules as the drain thread, from the same state machine; needs no thread, no memory and no
//! descriptor beyond the one it is given. `fd` is closed in every case but EBADF.

use crate::closing;
use crate::config;
use crate::drain::{Deadline, Drain, Outcome, Step};
use crate::input;
use crate::stats;
use crate::sys::{self, process, socket, Errno, Fd};
use crate::verdict::{self, Verdict};
use core::sync::atomic::AtomicU32;

/// Half-closes `fd`, drains it to its end and closes it; says how it ended. **Blocks** until then.
///
/// Errors: EBADF, and whatever close(2) reports for something that is not a connection.
pub fn close(fd: Fd, deadline: Deadline) -> sys::Result<Outcome> {
    config::note_use();
    let observed = closing::observe(fd);
    let verdict = verdict::decide(&observed, config::when());
    // With SO_LINGER still set close(2) would wait a second time.
    let plainly = matches!(verdict, Verdict::Close(_))
        || (observed.linger_seconds.is_some() && socket::clear_linger(fd).is_err());
    if plainly {
        sys::close(fd)?;
        return Ok(Outcome::Closed);
    }
    let (outcome, discarded) = match verdict {
        Verdict::Linger if socket::shut_write(fd).is_ok() => drain(fd, deadline),
        _ => (Outcome::Fin, input::discard_what_is_here(fd)),
    };
    stats::count(outcome, discarded);
    let _ = sys::close(fd);
    Ok(outcome)
}

fn drain(fd: Fd, deadline: Deadline) -> (Outcome, u64) {
    let limits = config::limits();
    let mut now = process::now_ms();
    let mut drain = Drain::new(now, deadline, socket::unacknowledged(fd).unwrap_or(socket::UNKNOWN), &limits);
    let outcome = loop {
        let allowed = drain.allowance(now, &limits);
        let read = match allowed {
            Ok(bytes) => socket::discard(fd, bytes.min(1 << 20) as usize),
            Err(_) => Err(Errno(libc::EAGAIN)),
        };
        now = process::now_ms();
        match read {
            Ok(0) => break input::end(fd),
            Ok(bytes) => {
                if let Some(outcome) = drain.received(now, bytes as u64, &limits) {
                    break outcome;
                }
            }
            Err(Errno(libc::EAGAIN | libc::EINTR)) => {}
            Err(_) => break Outcome::Reset,
        }
        match drain.look(now, socket::unacknowledged(fd).unwrap_or(socket::UNKNOWN), &limits) {
            Step::Finish(outcome) => break outcome,
            Step::Wait(at) => match allowed {
                Err(until) => {
                    drain.paused(now);
                    sleep(at.min(until).saturating_sub(now));
                }
                Ok(_) if read.is_err() => {
                    let _ = sys::wait_readable(fd, at.saturating_sub(now));
                    input::take_notices(fd);
                }
                Ok(_) => {}
            },
        }
    };
    let rest = if outcome == Outcome::Fin { 0 } else { input::discard_what_is_here(fd) };
    (outcome, drain.discarded() + rest)
}

fn sleep(ms: u64) {
    let never = AtomicU32::new(0);
    process::futex_wait(&never, 0, ms);
}
