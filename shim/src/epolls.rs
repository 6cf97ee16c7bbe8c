//! The epoll sets of the program, by number: where a connection has to be removed from before it is handed over.
//!
//! Each connection remembers two sets, which is all that nearly any connection is ever in. For the others, and for sets
//! known by several numbers, every set there is gets asked.
//!
//! **Promises:** atomics and system calls; nothing waits.

use crate::fds::{self, Epolls, Facts, Role};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use engine::sys::{self, Fd};

static SETS: [AtomicI32; 128] = [const { AtomicI32::new(-1) }; 128];
/// There were more than fit.
static OVERFLOW: AtomicBool = AtomicBool::new(false);
/// Some set has, or had, two numbers: one that is not open any more need not be gone.
static DUPLICATED: AtomicBool = AtomicBool::new(false);

/// `epoll` was used as an epoll set.
pub(crate) fn seen(epoll: Fd) {
    if fds::facts(epoll).role() == Role::EpollSet {
        return;
    }
    fds::born(epoll, Role::EpollSet);
    for place in &SETS {
        let held = place.load(Ordering::Relaxed);
        // Free, or taken by a number that has become something else since.
        let reusable = held < 0 || held == epoll || fds::facts(held).role() != Role::EpollSet;
        if reusable && place.compare_exchange(held, epoll, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
    OVERFLOW.store(true, Ordering::Relaxed);
}

/// `new` is another number for the set `old`.
pub(crate) fn duplicated(new: Fd) {
    DUPLICATED.store(true, Ordering::Relaxed);
    seen(new);
}

/// Removes `fd` from every set the program registered it in: a registration belongs to the open file description
/// (epoll(7), "Questions and answers"), and would outlive the number while we hold a reference. False where that cannot
/// be told.
pub(crate) fn leave(fd: Fd, facts: Facts) -> bool {
    match facts.epolls() {
        Epolls::Inherited => false,
        Epolls::Many => leave_all(fd),
        Epolls::Known(sets) => sets.into_iter().flatten().all(|epoll| leave_one(fd, epoll)),
    }
}

fn leave_one(fd: Fd, epoll: Fd) -> bool {
    match sys::epoll_remove(epoll, fd) {
        // Not registered there any more: removed through another number, or by the program's own system call.
        Ok(()) => true,
        Err(e) if e.is(libc::ENOENT) => true,
        // The set is closed. With its last number it is gone, and its registrations with it.
        Err(e) if e.is(libc::EBADF) || e.is(libc::EINVAL) => {
            !DUPLICATED.load(Ordering::Relaxed) || leave_all(fd)
        }
        // It may still be registered.
        Err(_) => false,
    }
}

fn leave_all(fd: Fd) -> bool {
    for place in &SETS {
        let epoll = place.load(Ordering::Relaxed);
        if epoll >= 0 {
            let removed = sys::epoll_remove(epoll, fd);
            if removed.is_err_and(|e| ![libc::ENOENT, libc::EBADF, libc::EINVAL].contains(&e.0)) {
                return false;
            }
        }
    }
    !OVERFLOW.load(Ordering::Relaxed)
}
