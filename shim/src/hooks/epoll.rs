//! epoll_ctl(2): which sets a connection is in.

use crate::fds;
use libc::{c_int, epoll_event};

// *Contract:* adds, changes or removes a registration.
// *Why hooked:* a registration belongs to the open file description and survives close(2) while the drain thread holds a
// reference; it must be removed first. Watched even where the gate is closed: a program that only links the library
// calls linger_close().
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int => hook_epoll_ctl {
        // SAFETY: the program passes what epoll_ctl(2) requires.
        unsafe { watch(epoll, operation, fd, event) }
    }
}

/// # Safety
/// As epoll_ctl(2).
unsafe fn watch(epoll: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int {
    // SAFETY: the program passes what epoll_ctl(2) requires.
    let result = unsafe { redhook::real!(epoll_ctl)(epoll, operation, fd, event) };
    if result == 0 && engine::engine::owned() {
        match operation {
            libc::EPOLL_CTL_ADD => fds::enter_epoll(fd, epoll),
            libc::EPOLL_CTL_DEL => fds::leave_epoll(fd, epoll),
            _ => {}
        }
    }
    result
}

pub(super) fn find() {
    redhook::real!(epoll_ctl);
}
