//! setsockopt(2), for SO_LINGER: who never set it need not be asked about it at every close.

use crate::fds;
use libc::{c_int, c_void, socklen_t};

// *Contract:* sets an option. *Why hooked:* SO_LINGER{1,0} asks for an abort, which is kept, and a time would make our own
// close block. It is inherited from the listener. *Passes through* everything; it only takes note.
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn setsockopt(
        fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t
    ) -> c_int => hook_setsockopt {
        noted(fd, level, name);
        // SAFETY: the program passes what setsockopt(2) requires.
        unsafe { redhook::real!(setsockopt)(fd, level, name, value, length) }
    }
}

/// Before the call: a connection accepted meanwhile must not be taken for one without it.
pub(super) fn noted(fd: c_int, level: c_int, name: c_int) {
    if level == libc::SOL_SOCKET && name == libc::SO_LINGER {
        fds::mark_linger_set(fd);
    }
}

pub(super) fn find() {
    redhook::real!(setsockopt);
}
