//! Read halves that are to be shut in a moment.
//!
//! A program that shuts both halves and then closes would get a RST for whatever its peer still sends. Its read half
//! is kept open for a moment, so that the close, if that is what follows, can linger; if it does not follow, the read
//! half is shut, and whoever waits to read is woken with EOF.
//!
//! **Invariant:** each entry owns one descriptor of the drain thread's table.

use crate::sys::{self, socket, Fd};

/// How long a read half stays open. A thread blocked in recv(2) wakes that much later.
const DELAY_MS: u64 = 5;

#[derive(Clone, Copy)]
struct Entry {
    fd: Fd,
    inode: u64,
    at_ms: u64,
}

/// The few that wait.
pub(super) struct Shutting {
    entries: [Option<Entry>; 64],
}

impl Shutting {
    pub(super) const fn new() -> Shutting {
        Shutting { entries: [None; 64] }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(Option::is_none)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    /// Takes `fd` over and shuts its read half later; at once where there is no room.
    pub(super) fn add(&mut self, fd: Fd, now_ms: u64) {
        let place = self.entries.iter_mut().find(|entry| entry.is_none());
        match (place, sys::identity(fd)) {
            (Some(place), Ok(identity)) => {
                *place = Some(Entry { fd, inode: identity.inode, at_ms: now_ms + DELAY_MS });
            }
            _ => end(fd),
        }
    }

    /// The connection `fd` was closed before its read half was shut, which now is not to happen.
    pub(super) fn forget(&mut self, fd: Fd) {
        if self.is_empty() {
            return;
        }
        let Ok(identity) = sys::identity(fd) else {
            return;
        };
        for entry in &mut self.entries {
            if let Some(found) = entry.filter(|e| e.inode == identity.inode) {
                let _ = sys::close(found.fd);
                *entry = None;
            }
        }
    }

    /// Shuts what is due; how many those were.
    pub(super) fn shut_what_is_due(&mut self, now_ms: u64) -> usize {
        let mut count = 0;
        for entry in &mut self.entries {
            if let Some(due) = entry.filter(|e| e.at_ms <= now_ms) {
                end(due.fd);
                *entry = None;
                count += 1;
            }
        }
        count
    }

    /// When the next one is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.entries.iter().flatten().map(|e| e.at_ms).min()
    }
}

fn end(fd: Fd) {
    let _ = socket::shut_read(fd);
    let _ = sys::close(fd);
}
