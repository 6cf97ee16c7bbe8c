//! The drain thread's private descriptor table.
//!
//! **Promises:** after [`make_private`] the thread's table holds the channel, an epoll set, three inert numbers, and
//! stderr only where `LINGER_LOG=debug` asks for messages. Everything else of the program's is gone from it, so
//! that the thread keeps no file, pipe or terminal of the program open.
//!
//! Deliberately absent: a fallback that keeps connections under high numbers of the shared table. There the program
//! may sweep and reuse them, and the thread would drain a stranger's connection; without a table of its own it
//! refuses, and closes are drained inline.

use crate::handover;
use crate::log;
use crate::sys::{self, Errno, Fd};

/// The numbers that matter in the private table.
pub(super) struct Table {
    /// The channel.
    pub(super) channel: Fd,
    /// The epoll set of the lingering connections and the channel.
    pub(super) epoll: Fd,
}

/// Gives the calling thread its own table.
///
/// close_range(2) with CLOSE_RANGE_UNSHARE needs Linux 5.9 and no privilege; unshare(2) with CLONE_FILES is older, but
/// container filters tend to refuse it.
pub(super) fn make_private() -> sys::Result<Table> {
    let shared = handover::channel().ok_or(Errno(libc::EBADF))?;
    let keep = shared.max(2);
    sys::close_range(keep as u32 + 1, u32::MAX, true).or_else(|_| {
        sys::unshare_files()?;
        // Without close_range there is no sweep either: the copies stay until the process ends.
        let _ = sys::close_range(keep as u32 + 1, u32::MAX, false);
        Ok(())
    })?;
    // From here on nothing can harm the program's table.
    let channel = handover::channel().filter(|fd| *fd == shared).ok_or(Errno(libc::EBADF))?;
    arrange(channel)
}

fn arrange(channel: Fd) -> sys::Result<Table> {
    let stderr = if log::debugging() { sys::dup_at_least(2, 3).unwrap_or(-1) } else { -1 };
    let inert = sys::epoll_create()?;
    for number in (0..3).filter(|n| *n != channel && *n != inert) {
        sys::dup_onto(inert, number)?;
    }
    let epoll = sys::epoll_create()?;
    // Low numbers for what stays, so that one sweep removes the rest.
    let kept = [channel, epoll, stderr];
    let above = kept.into_iter().chain([inert, 2]).max().unwrap_or(2);
    let mut places = [-1; 3];
    for (place, fd) in places.iter_mut().zip(kept).filter(|(_, fd)| *fd >= 0) {
        *place = sys::dup_at_least(fd, above + 1)?;
    }
    let _ = sys::close_range(3, above as u32, false);
    let mut low = [-1; 3];
    for (to, from) in low.iter_mut().zip(places).filter(|(_, fd)| *fd >= 0) {
        *to = sys::dup_at_least(from, 3)?;
        let _ = sys::close(from);
    }
    let [channel, epoll, stderr] = low;
    log::set_thread_stderr(stderr);
    Ok(Table { channel, epoll })
}
