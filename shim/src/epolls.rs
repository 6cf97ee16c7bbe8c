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
        Epolls::Known(sets) => {
            let mut sets = sets.into_iter().flatten().peekable();
            // The number it was registered by may be another set's now, and the set live on under a number of its own.
            if sets.peek().is_some() && DUPLICATED.load(Ordering::Relaxed) {
                return leave_all(fd);
            }
            sets.all(|epoll| leave_one(fd, epoll))
        }
    }
}

/// True where it is not registered there any more: it was removed by the program's own system call, or the set is closed and gone
/// with its registrations. False where it may be.
fn leave_one(fd: Fd, epoll: Fd) -> bool {
    let removed = sys::epoll_remove(epoll, fd);
    removed.map_or_else(|e| [libc::ENOENT, libc::EBADF, libc::EINVAL].contains(&e.0), |()| true)
}

fn leave_all(fd: Fd) -> bool {
    let sets = SETS.iter().map(|place| place.load(Ordering::Relaxed)).filter(|epoll| *epoll >= 0);
    sets.fold(!OVERFLOW.load(Ordering::Relaxed), |all, epoll| leave_one(fd, epoll) && all)
}
