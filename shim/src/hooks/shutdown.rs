//! shutdown(2) of both halves, which is irrevocable and makes whatever still arrives reset the connection.

use crate::fds::{self, Role};
use crate::{errno, gate};
use engine::closing;
use engine::engine::{self as core, Caller};
use engine::sys::{socket, Fd};
use engine::verdict;
use libc::c_int;

// *Contract:* SHUT_RDWR sends FIN, and wakes whoever waits to read, with EOF.
// *Why hooked:* followed by close(2) it loses what close(2) alone would now save. FIN leaves at once; the read half is shut
// a moment later by the drain thread, unless the close comes first and lingers.
// *Passes through when* it is SHUT_RD or SHUT_WR, or no accepted connection, or there is no drain thread.
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn shutdown(fd: c_int, how: c_int) -> c_int => hook_shutdown {
        // SAFETY: shutdown(2) takes two integers.
        shut(fd, how, |how| unsafe { redhook::real!(shutdown)(fd, how) })
    }
}

/// Shuts `fd` with the function `real`, both halves one after the other where that saves the response.
pub(super) fn shut(fd: Fd, how: c_int, real: impl Fn(c_int) -> c_int) -> c_int {
    if how != libc::SHUT_WR && fds::facts(fd).connection() {
        fds::mark_read_shut(fd);
    }
    if how != libc::SHUT_RDWR || !worth_it(fd) {
        return real(how);
    }
    let result = real(libc::SHUT_WR);
    if result == 0 && !errno::kept(|| closing::shut_read_later(fd, Caller::Hook)) {
        return real(libc::SHUT_RD);
    }
    result
}

fn worth_it(fd: Fd) -> bool {
    gate::is_open()
        && matches!(fds::facts(fd).role(), Role::Accepted | Role::Received)
        && core::owned()
        // Nobody can be sending to a connection that is over.
        && verdict::by_state(socket::tcp_state(fd).ok()).is_none()
}

pub(super) fn find() {
    redhook::real!(shutdown);
}
