//! A thread of another process that is made to stand still, while the rest of its process goes on (`ptrace(2)`).

use std::io;
use std::marker::PhantomData;
use std::ptr::null_mut;

use anyhow::{ensure, Context, Result};

/// It stands still until this is dropped, by the thread that stopped it.
#[derive(Debug)]
pub struct Stopped {
    thread: libc::pid_t,
    /// Only the thread that attached may detach.
    _here: PhantomData<*const ()>,
}

impl Stopped {
    /// Stops the thread with this number, and returns when it stands still.
    ///
    /// # Errors
    ///
    /// If we may not.
    pub fn new(thread: u32) -> Result<Self> {
        let thread = thread as libc::pid_t;
        // SAFETY: neither request passes memory.
        let failed = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, null_mut::<()>(), null_mut::<()>()) };
        ensure!(failed == 0, "ptrace thread {thread}: {}", io::Error::last_os_error());
        let stopped = Self { thread, _here: PhantomData };
        // SAFETY: as above; waitpid writes no status.
        let waited = unsafe {
            libc::ptrace(libc::PTRACE_INTERRUPT, thread, null_mut::<()>(), null_mut::<()>());
            libc::waitpid(thread, null_mut(), libc::__WALL)
        };
        ensure!(waited == thread, "wait for thread {thread}: {}", io::Error::last_os_error());
        Ok(stopped)
    }

    /// The drain thread of this process.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn drain_thread_of(pid: u32) -> Result<Self> {
        let thread =
            linger_testbed::anatomy::Anatomy::of(pid).drain_thread().context("stop the drain thread")?;
        Self::new(thread.tid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: no memory is passed. That it fails means that the thread is gone.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.thread, null_mut::<()>(), null_mut::<()>()) };
    }
}
