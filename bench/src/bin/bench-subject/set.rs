//! An epoll set, through libc: what goes past libc, as a system call of one's own does, is invisible to what is
//! preloaded, and no server's way of doing it.

use std::io;
use std::os::fd::RawFd;

use anyhow::{Context, Result};

/// Events of one look.
const ROOM: usize = 512;

/// Numbers that are watched for input.
pub(crate) struct Set {
    number: RawFd,
    events: [libc::epoll_event; ROOM],
}

impl Set {
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: no memory is passed.
        let number = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if number < 0 {
            return Err(io::Error::last_os_error()).context("epoll_create1");
        }
        Ok(Self { number, events: [libc::epoll_event { events: 0, u64: 0 }; ROOM] })
    }

    pub(crate) fn add(&self, fd: RawFd) -> Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        // SAFETY: the event lives until the call returns.
        match unsafe { libc::epoll_ctl(self.number, libc::EPOLL_CTL_ADD, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()).context("epoll_ctl"),
        }
    }

    pub(crate) fn remove(&self, fd: RawFd) {
        // SAFETY: no event is needed.
        unsafe { libc::epoll_ctl(self.number, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
    }

    /// Waits for as long as it takes; the `n`th number is then [`Set::ready`].
    pub(crate) fn wait(&mut self) -> Result<usize> {
        loop {
            // SAFETY: there is room for so many events.
            let ready = unsafe { libc::epoll_wait(self.number, self.events.as_mut_ptr(), ROOM as i32, -1) };
            match usize::try_from(ready) {
                Ok(ready) => return Ok(ready),
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(io::Error::last_os_error()).context("epoll_wait"),
            }
        }
    }

    pub(crate) fn ready(&self, n: usize) -> RawFd {
        self.events[n].u64 as RawFd
    }
}
