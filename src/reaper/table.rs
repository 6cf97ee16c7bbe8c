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
use crate::sys::{self, process, Errno, Fd};

/// The numbers that matter in the private table.
pub(super) struct Table {
    /// The channel.
    pub(super) channel: Fd,
    /// The epoll set of the lingering connections and the channel.
    pub(super) epoll: Fd,
}

/// Gives the calling thread its own table. `shared` is the channel; on an error its number is as it was.
///
/// close_range(2) with CLOSE_RANGE_UNSHARE needs Linux 5.9 and no privilege; unshare(2) with CLONE_FILES is older, but
/// container filters tend to refuse it.
pub(super) fn make_private(shared: Fd) -> sys::Result<Table> {
    // The copy ends with the channel: what is above it is never copied.
    let above = shared as u32 + 1;
    sys::close_range(above, u32::MAX, true).or_else(|_| sys::unshare_files())?;
    // From here on nothing can harm the program's table.
    handover::channel().filter(|fd| *fd == shared).ok_or(Errno(libc::EBADF))?;
    sweep(3, shared as u32 - 1);
    sweep(above, u32::MAX);
    arrange(shared)
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

fn arrange(shared: Fd) -> sys::Result<Table> {
    let stderr = if log::wanted_from_thread() { sys::dup_at_least(2, 3).unwrap_or(-1) } else { -1 };
    let epoll = sys::epoll_create()?;
    let inert = sys::epoll_create()?;
    for number in (0..3).filter(|number| *number != inert) {
        sys::dup_onto(inert, number)?;
    }
    if inert > 2 {
        let _ = sys::close(inert);
    }
    // Low numbers for what stays: the connections' numbers index the thread's state.
    let epoll = if epoll > 2 { epoll } else { sys::dup_at_least(epoll, 3)? };
    let channel = sys::dup_at_least(shared, 3)?;
    let _ = sys::close(shared);
    log::set_thread_stderr(stderr);
    Ok(Table { channel, epoll })
}
