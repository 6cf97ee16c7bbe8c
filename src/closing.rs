//! What becomes of a connection when the program lets go of it: looked at, decided, and handed to the drain thread or
//! drained here.
//!
//! **Promises:** nothing here waits, but for [`drain_here`], and nothing allocates. On any doubt the caller is told to
//! close plainly.
//!
//! **Invariant:** nothing is discarded and nothing is shut on a connection that somebody else may hold.

use crate::blocking;
use crate::config;
use crate::drain::{Deadline, Outcome};
use crate::engine::{self, Caller};
use crate::handover::{Input, Request, Suspicion, Task};
use crate::holders::{self, Found, Search};
use crate::input;
use crate::log;
use crate::stats;
use crate::sys::socket::{self, TcpState};
use crate::sys::{self, process, Errno, Fd};
use crate::verdict::{self, Observed, Verdict};
use core::sync::atomic::AtomicU32;

/// Whether nobody else holds the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holding {
    /// Certain: the caller vouches, or the shim proved it.
    ///
    /// [`Input::Intact`] besides vouches for a connection of TCP: it is looked at by receiving from it.
    Exclusive(Input),
    /// Somebody may: look before touching it.
    Unproven(Suspicion),
}

/// What was done with a connection. In every case the caller's next step is to close its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// The drain thread has a reference and does the rest.
    HandedOver,
    /// Half-closed where that was ours to do, and what had arrived was discarded, without waiting.
    Drained(Outcome),
    /// Untouched.
    Plain,
}

/// What is to be seen of a connection, asked for in the order in which it decides, without changing it.
pub fn observe(fd: Fd) -> Observed {
    let mut observed = Observed { state: socket::tcp_state(fd).ok(), linger_seconds: None, unread: None };
    if matches!(verdict::by_state(observed.state), Some(Verdict::Close(_))) {
        return observed;
    }
    // Asked for each time: a program that sets it with a system call of its own goes past every hook.
    observed.linger_seconds = socket::linger_seconds(fd).unwrap_or(None);
    if config::when() == config::When::Unread {
        observed.unread = socket::unread(fd).ok();
    }
    observed
}

/// How much the caller itself discards of what has arrived, to see whether the FIN is behind it.
const LOOK_BYTES: usize = 64 << 10;
/// Of how many processes [`drain_here`] can look for holders.
const PROCESSES: usize = 4096;

/// [`observe`] for a TCP connection whose input is ours alone and was never shut: receiving from it says as much as
/// TCP_INFO, at half the cost. What was there is discarded, and counted.
fn observe_by_receiving(fd: Fd) -> (Observed, u32) {
    let mut discarded = 0u32;
    let state = loop {
        match socket::discard(fd, LOOK_BYTES) {
            // Nothing can arrive any more: SO_LINGER is between the program and the kernel.
            Ok(0) => {
                let state = Some(TcpState::CloseWait);
                return (Observed { state, linger_seconds: None, unread: Some(discarded) }, discarded);
            }
            Ok(bytes) => {
                let first = discarded == 0;
                discarded = discarded.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
                // A second look finds the FIN behind a rest that was left unread; a sender that goes on is the thread's.
                if !first || bytes >= LOOK_BYTES {
                    break TcpState::Established;
                }
            }
            Err(Errno(libc::EAGAIN)) => break TcpState::Established,
            Err(Errno(libc::EINTR)) => {}
            Err(Errno(libc::ENOTCONN | libc::ECONNRESET)) => break TcpState::Closed,
            Err(_) => return (observe(fd), discarded),
        }
    };
    let linger_seconds = match state {
        TcpState::Established => socket::linger_seconds(fd).unwrap_or(None),
        _ => None,
    };
    (Observed { state: Some(state), linger_seconds, unread: Some(discarded) }, discarded)
}

/// Lets go of the connection `fd`, whatever it is. `withdraw` removes it from the program's epoll sets; it is called only if
/// the connection is going to outlive its number, and answers false where that cannot be told.
pub fn let_go(
    fd: Fd,
    deadline: Deadline,
    holding: Holding,
    caller: Caller,
    withdraw: &dyn Fn() -> bool,
) -> Handled {
    let_go_reporting(fd, deadline, holding, caller, withdraw, None)
}

/// [`let_go`], and has the drain thread say how it ended on a copy of the socket `report`.
pub fn let_go_reporting(
    fd: Fd,
    deadline: Deadline,
    holding: Holding,
    caller: Caller,
    withdraw: &dyn Fn() -> bool,
    report: Option<Fd>,
) -> Handled {
    config::note_use();
    let (observed, discarded) = match holding {
        Holding::Exclusive(Input::Intact) => observe_by_receiving(fd),
        _ => (observe(fd), 0),
    };
    let verdict = verdict::decide(&observed, config::when());
    match (verdict, holding) {
        (Verdict::Close(_), _) => {
            stats::discard(discarded.into());
            Handled::Plain
        }
        // Discarding would rob whoever else holds it, so the drain thread looks first, whatever the verdict.
        // Where looking is of no use the last close is the drain thread's, and with SO_LINGER it would wait there.
        (_, Holding::Unproven(_)) if observed.linger_seconds.is_some() && holders::blind() => Handled::Plain,
        (_, Holding::Unproven(suspicion)) => search_later(fd, deadline, suspicion, caller, withdraw),
        (Verdict::Discard, Holding::Exclusive(input)) => {
            let rest = if input == Input::Intact { 0 } else { input::discard_what_is_here(fd) };
            end_inline(fd, Outcome::Fin, rest + u64::from(discarded))
        }
        (Verdict::Linger, Holding::Exclusive(input)) => {
            // With the option still set the last close waits, and that would not be the program's own.
            if observed.linger_seconds.is_some() && socket::clear_linger(fd).is_err() {
                stats::discard(discarded.into());
                return Handled::Plain;
            }
            let request = Request { deadline, task: Task::Drain { input, discarded }, report };
            half_close_and_hand_over(fd, request, discarded, caller, withdraw)
        }
    }
}

fn half_close_and_hand_over(
    fd: Fd,
    request: Request,
    discarded: u32,
    caller: Caller,
    withdraw: &dyn Fn() -> bool,
) -> Handled {
    let at_once = request.deadline == Deadline::Exactly(0);
    let possible = !at_once && engine::ready(caller) && withdraw();
    // FIN leaves now, no later than it would have with close(2).
    if socket::shut_write(fd).is_err() {
        stats::discard(discarded.into());
        return Handled::Plain;
    }
    if possible && engine::hand_over(fd, request) {
        return Handled::HandedOver;
    }
    if !at_once {
        stats::fallback();
    }
    end_inline(fd, Outcome::Closed, input::discard_what_is_here(fd) + u64::from(discarded))
}

fn end_inline(fd: Fd, outcome: Outcome, discarded: u64) -> Handled {
    stats::count(outcome, discarded);
    if log::debugging() {
        match socket::peer_address(fd) {
            Some(peer) => {
                log::debug(format_args!("{peer}: {} at once, {discarded} bytes discarded", outcome.name()))
            }
            None => log::debug(format_args!("{} at once, {discarded} bytes discarded", outcome.name())),
        }
    }
    Handled::Drained(outcome)
}

fn search_later(
    fd: Fd,
    deadline: Deadline,
    suspicion: Suspicion,
    caller: Caller,
    withdraw: &dyn Fn() -> bool,
) -> Handled {
    let request = Request { deadline, task: Task::Search(suspicion), report: None };
    if deadline != Deadline::Exactly(0)
        && engine::ready(caller)
        && withdraw()
        && engine::hand_over(fd, request)
    {
        Handled::HandedOver
    } else {
        Handled::Plain
    }
}

/// Shuts the read half of `fd` in a moment, unless its close comes first: then it lingers as if the read half had never been
/// shut. False where that cannot be had; nothing was done then.
pub fn shut_read_later(fd: Fd, caller: Caller) -> bool {
    let request = Request { deadline: Deadline::Default, task: Task::ShutRead, report: None };
    engine::ready(caller) && engine::hand_over(fd, request)
}

/// Lets go of `fd` in the calling thread, where there is no drain thread and the process is about to end. **Blocks** until
/// the connection has ended, or until `until_ms` of [`process::now_ms`]. Uses some 32 KiB of stack.
pub fn drain_here(fd: Fd, holding: Holding, until_ms: u64) {
    let alone = match holding {
        Holding::Unproven(suspicion) => nobody_else_holds(fd, suspicion, until_ms),
        Holding::Exclusive(_) => true,
    };
    if alone {
        let left = u32::try_from(until_ms.saturating_sub(process::now_ms())).unwrap_or(0);
        let _ = blocking::close(fd, Deadline::Exactly(left));
    }
}

fn nobody_else_holds(fd: Fd, suspicion: Suspicion, until_ms: u64) -> bool {
    let Ok(identity) = sys::identity(fd) else { return false };
    let mut search = Search { inode: identity.inode, suspicion, found: Found::Nobody };
    let patience_ms = until_ms.min(process::now_ms() + holders::PATIENCE_MS);
    let never = AtomicU32::new(0);
    loop {
        holders::find(core::slice::from_mut(&mut search), None, &mut [0; PROCESSES]);
        match search.found {
            Found::Nobody | Found::NobodyCan => return true,
            Found::NotYetClosed if process::now_ms() < patience_ms => process::futex_wait(&never, 0, 1),
            Found::NotYetClosed | Found::Somebody => return false,
        }
    }
}
