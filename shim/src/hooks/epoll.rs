//! epoll_create(2) and epoll_ctl(2): which epoll sets there are, and which a connection is in.

use crate::{epolls, fds};
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
    if result == 0 {
        match operation {
            libc::EPOLL_CTL_ADD => {
                epolls::seen(epoll);
                fds::enter_epoll(fd, epoll);
            }
            libc::EPOLL_CTL_DEL => fds::leave_epoll(fd, epoll),
            _ => {}
        }
    }
    result
}

// *Contract:* a new epoll set. *Why hooked:* a second number for it, made before it is first used, must be known too.
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn epoll_create(size: c_int) -> c_int => hook_epoll_create {
        // SAFETY: epoll_create(2) takes an integer.
        created(unsafe { redhook::real!(epoll_create)(size) })
    }
}

// As epoll_create, with flags.
redhook::hook! {
    unsafe fn epoll_create1(flags: c_int) -> c_int => hook_epoll_create1 {
        // SAFETY: epoll_create1(2) takes an integer.
        created(unsafe { redhook::real!(epoll_create1)(flags) })
    }
}

fn created(epoll: c_int) -> c_int {
    if epoll >= 0 {
        epolls::seen(epoll);
    }
    epoll
}

pub(super) fn find() {
    redhook::real!(epoll_create);
    redhook::real!(epoll_create1);
    redhook::real!(epoll_ctl);
}
