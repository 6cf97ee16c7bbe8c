//! dup(2), dup2(2), dup3(2) and fcntl(2) with F_DUPFD: second numbers for one connection, and numbers that end because
//! another is put in their place.

use super::hook;
use crate::fds::{self, Role};
use crate::letting_go::{self, Next};
use crate::{epolls, errno, gate, real};
use engine::engine as core;
use engine::family;
use engine::handover;
use engine::sys::{self, process, Fd};
use libc::c_int;

// *Contract:* a new number for an open file description.
// *Why hooked:* a connection with two numbers is not over when one is closed.
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn dup(old: c_int) -> c_int => hook_dup {
        // SAFETY: the program passes what dup(2) requires.
        duplicate(old, || unsafe { redhook::real!(dup)(old) })
    }
}

// *Contract:* `new` refers to what `old` does; what it referred to before is closed in the same step.
// *Why hooked:* as dup, and because that is a close.
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn dup2(old: c_int, new: c_int) -> c_int => hook_dup2 {
        before_replacement(old, new);
        // SAFETY: the program passes what dup2(2) requires.
        noted_replacement(old, unsafe { redhook::real!(dup2)(old, new) })
    }
}

// As dup2, with flags, and EINVAL where both numbers are the same.
redhook::hook! {
    unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => hook_dup3 {
        if flags & !libc::O_CLOEXEC == 0 {
            before_replacement(old, new);
        }
        // SAFETY: the program passes what dup3(2) requires.
        noted_replacement(old, unsafe { redhook::real!(dup3)(old, new, flags) })
    }
}

hook! {
    /// *Contract:* many commands; F_DUPFD and F_DUPFD_CLOEXEC are like dup(2).
    /// *Why hooked:* for those two. *Passes through* everything else.
    /// *errno:* of the real call. *Signal safety:* async-signal-safe; F_SETLKW is a cancellation point.
    fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
        control(fd, command, || real::fcntl(fd, command, argument))
    }
}

hook! {
    /// As [`dup2`].
    fn __dup2(old: c_int, new: c_int) -> c_int {
        before_replacement(old, new);
        noted_replacement(old, real::__dup2(old, new))
    }
}

hook! {
    /// As [`fcntl`].
    fn __fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
        control(fd, command, || real::__fcntl(fd, command, argument))
    }
}

hook! {
    /// As [`fcntl`]: what programs with 64-bit file offsets call.
    fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
        control(fd, command, || real::fcntl64(fd, command, argument))
    }
}

pub(super) fn control(fd: Fd, command: c_int, real: impl Fn() -> c_int) -> c_int {
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
        return duplicate(fd, real);
    }
    real()
}

/// Has `real` make a duplicate of `old` under a number that was free.
pub(super) fn duplicate(old: Fd, real: impl Fn() -> c_int) -> c_int {
    fds::before_duplicate(old);
    noted(old, real())
}

fn noted(old: Fd, new: c_int) -> c_int {
    let worth_it = new >= 0 && !(fds::facts(old).none() && fds::facts(new).none());
    if worth_it && (!gate::is_open() || core::owned()) {
        if fds::facts(old).role() == Role::EpollSet {
            epolls::duplicated(new);
        } else {
            fds::duplicate(old, new);
            family::reference_made();
        }
    }
    new
}

pub(super) fn noted_replacement(old: Fd, new: c_int) -> c_int {
    if new == old {
        return new;
    }
    noted(old, new)
}

/// Before `new` is closed by putting `old` in its place. If that is going to fail, nothing happens.
pub(super) fn before_replacement(old: Fd, new: Fd) {
    let ours = handover::number() == Some(new);
    if old != new {
        fds::before_duplicate(old);
    }
    if old == new || (!ours && fds::facts(new).none()) {
        return;
    }
    // No system call where the gate is shut; what is known of `new` is replaced after the call.
    if !ours && !gate::is_open() {
        return;
    }
    let within_limit = u64::try_from(new).is_ok_and(|new| new < process::descriptor_limit());
    if !within_limit || sys::status_flags(old).is_err() {
        return;
    }
    if letting_go::before_end_of(new) == Next::NotYours {
        errno::kept(|| handover::vacate(new));
    }
}

pub(super) fn find() {
    redhook::real!(dup);
    redhook::real!(dup2);
    redhook::real!(dup3);
}
