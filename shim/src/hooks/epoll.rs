//! epoll_create(2) and epoll_ctl(2): which epoll sets there are, and which a connection is in.

use crate::{epolls, errno, fds};
use libc::{c_int, epoll_event};

// *Contract:* adds, changes or removes a registration.
// *Why hooked:* a registration belongs to the open file description and survives close(2) while the drain thread holds a
// reference; it must be removed first. Watched even where the gate is closed: a program that only links the library
// calls linger_close().
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int => hook_epoll_ctl {
        // SAFETY: the program passes what epoll_ctl(2) requires.
        watch(epoll, operation, fd, || unsafe { redhook::real!(epoll_ctl)(epoll, operation, fd, event) })
    }
}

/// Notes a registration made, or removed, by `real`.
///
/// A thread that waits on the set may get the event and close the number before the call that registers it returns. So the
/// set is noted before; one too many costs a refusal when the number is closed.
pub(super) fn watch(epoll: c_int, operation: c_int, fd: c_int, real: impl Fn() -> c_int) -> c_int {
    let new = operation == libc::EPOLL_CTL_ADD && fds::enter_epoll(fd, epoll);
    let result = real();
    match operation {
        libc::EPOLL_CTL_ADD if result == 0 => epolls::seen(epoll),
        libc::EPOLL_CTL_ADD if new && errno::now() != libc::EEXIST => fds::leave_epoll(fd, epoll),
        libc::EPOLL_CTL_DEL if result == 0 => fds::leave_epoll(fd, epoll),
        _ => {}
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

pub(super) fn created(epoll: c_int) -> c_int {
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
