//! The drain threads' private descriptor tables.
//!
//! **Promises:** after [`make_private`] the thread's table holds what is listed below, and stderr only where
//! `LINGER_LOG=debug` asks for messages. Everything else of the program's is gone from it, so that the thread keeps no
//! file, pipe or terminal of the program open.
//!
//! **Invariant:** what stays has fixed low numbers, so that a further thread's table is a copy of the first few numbers of the
//! one that started it.
//!
//! Deliberately absent: a fallback that keeps connections under high numbers of the shared table. There the program
//! may sweep and reuse them, and the thread would drain a stranger's connection; without a table of its own it
//! refuses, and closes are drained inline.

use crate::handover;
use crate::log;
use crate::sys::{self, process, Errno, Fd};
use core::sync::atomic::{AtomicI32, Ordering};

// 0, 1 and 2, and whatever is not there of the others, are an empty epoll set: what is written to them reaches nobody.
/// The epoll set of the lingering connections.
pub(super) const EPOLL: Fd = 3;
/// The channel.
pub(super) const CHANNEL: Fd = 4;
/// An eventfd(2) in the epoll sets of all the drain threads: written to when they are to look around.
pub(super) const BELL: Fd = 5;
/// stderr, for messages.
const STDERR: Fd = 6;
/// /proc as it was before the program changed its root.
pub(super) const PROC: Fd = 7;
/// What a connection may get.
pub(super) const FIRST_FREE: Fd = 8;

/// Gives the calling thread its own table. `shared` is the channel's number in the program's; `own` becomes the one in the new
/// table, as soon as it is certain.
///
/// close_range(2) with CLOSE_RANGE_UNSHARE needs Linux 5.9 and no privilege; unshare(2) with CLONE_FILES is older, but
/// container filters tend to refuse it.
pub(super) fn make_private(shared: Fd, own: &AtomicI32) -> sys::Result<()> {
    // The copy ends with the channel: what is above it is never copied.
    let above = shared as u32 + 1;
    sys::close_range(above, u32::MAX, true).or_else(|_| sys::unshare_files())?;
    // From here on nothing can harm the program's table.
    handover::channel_at_last().filter(|fd| *fd == shared).ok_or(Errno(libc::EBADF))?;
    own.store(shared, Ordering::Relaxed);
    sweep(3, shared as u32 - 1);
    sweep(above, u32::MAX);
    arrange(own)
}

/// Gives the calling thread, which was started by a drain thread and still shares its table, one of its own: without the
/// connections, and with an epoll set of its own.
pub(super) fn make_sibling() -> sys::Result<()> {
    sys::close_range(FIRST_FREE as u32, u32::MAX, true).or_else(|_| sys::unshare_files())?;
    sweep(FIRST_FREE as u32, u32::MAX);
    settle(sys::epoll_create()?, EPOLL)
}

/// Closes the copies of the program's descriptors: one that stayed would keep a pipe or a file open behind its back.
fn sweep(first: u32, last: u32) {
    if first > last || sys::close_range(first, last, false).is_ok() {
        return;
    }
    let limit = u32::try_from(process::descriptor_limit()).unwrap_or(u32::MAX).min(1 << 20);
    for number in first..=last.min(limit) {
        let _ = sys::close(number as Fd);
    }
}

fn arrange(number: &AtomicI32) -> sys::Result<()> {
    let shared = number.load(Ordering::Relaxed);
    // Out of the way of the fixed numbers.
    let channel = sys::dup_at_least(shared, FIRST_FREE)?;
    number.store(channel, Ordering::Relaxed);
    if shared != channel {
        let _ = sys::close(shared);
    }
    let stderr = if log::wanted_from_thread() { sys::dup_at_least(2, FIRST_FREE).unwrap_or(-1) } else { -1 };
    let inert = sys::dup_at_least(sys::epoll_create()?, FIRST_FREE)?;
    sweep(0, FIRST_FREE as u32 - 1);
    for number in 0..FIRST_FREE {
        sys::dup_onto(inert, number)?;
    }
    let _ = sys::close(inert);
    settle(channel, CHANNEL)?;
    number.store(CHANNEL, Ordering::Relaxed);
    settle(sys::epoll_create()?, EPOLL)?;
    // Without it there is one drain thread, and one table: see `ring`.
    if let Ok(bell) = sys::event_counter() {
        settle(bell, BELL)?;
    }
    if stderr >= 0 {
        settle(stderr, STDERR)?;
        log::set_thread_stderr(STDERR);
    } else {
        log::set_thread_stderr(-1);
    }
    Ok(())
}

/// The number of /proc as it was, if it was kept here or by whoever started this thread.
pub(super) fn kept_proc() -> Option<Fd> {
    let inert = sys::identity(0);
    (sys::identity(PROC) != inert).then_some(PROC)
}

/// Moves `fd` to the number `to`.
pub(super) fn settle(fd: Fd, to: Fd) -> sys::Result<()> {
    if fd == to {
        return Ok(());
    }
    sys::dup_onto(fd, to)?;
    // The number is free, whatever close(2) says.
    let _ = sys::close(fd);
    Ok(())
}
