//! A lingering connection whose outcome somebody waits for.
//!
//! **Promises:** the outcome comes through a socket of the caller's own, so that any event loop and any async runtime can wait
//! for it as for every other descriptor. Nothing of the caller's runs in the drain thread.

use crate::close::{deadline, error};
use crate::closing::{self, Handled, Holding};
use crate::drain::Outcome;
use crate::engine::{self, Caller};
use crate::handover::Input;
use crate::sys::{self, passing, Errno};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A connection that has been let go of with [`close_reporting`].
///
/// Its descriptor ([`AsFd`]) becomes readable once the connection has ended; [`Lingering::outcome`] then says how. Dropping it
/// changes nothing for the connection.
///
/// It fits whatever waits for descriptors: poll(2), mio, or tokio's `AsyncFd` (the example `tokio_server`):
///
/// ```ignore
/// let report = linger::close_reporting(stream.into_std()?, None)?;
/// // SAFETY: a report owns its descriptor, and keeps it until it is dropped.
/// let lingering = unsafe { AsyncFd::register_with_interest(report, Interest::READABLE) }?;
/// let ended = |lingering: &Lingering| lingering.outcome()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
/// println!("{}", lingering.async_io(Interest::READABLE, ended).await?.name());
/// ```
#[derive(Debug)]
pub struct Lingering {
    report: OwnedFd,
}

/// Like [`close`](crate::close), and tells how the connection ended once it has. **Returns at once.**
///
/// # Errors
///
/// As for [`close`](crate::close), and EMFILE, ENFILE or ENOMEM where the descriptor for the report cannot be had. `socket` is let go
/// of in every case; in the latter it lingers as with [`close`](crate::close).
///
/// # Examples
///
/// ```
/// use std::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind(("127.0.0.1", 0))?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (connection, _) = listener.accept()?;
/// let lingering = linger::close_reporting(connection, None)?;
/// assert_eq!(lingering.outcome()?, None, "the client may still send");
/// drop(client);
/// assert_eq!(lingering.wait()?, linger::Outcome::Fin);
/// # Ok(())
/// # }
/// ```
pub fn close_reporting(
    socket: impl Into<OwnedFd>,
    timeout: impl Into<Option<Duration>>,
) -> io::Result<Lingering> {
    let deadline = deadline(timeout.into());
    let fd = socket.into().into_raw_fd();
    engine::enter();
    let pair = passing::pair();
    let theirs = pair.ok().map(|(_, theirs)| theirs);
    let holding = Holding::Exclusive(Input::Unknown);
    let withdraw = || engine::withdraw(fd);
    let handled = closing::let_go_reporting(fd, deadline, holding, Caller::Interface, &withdraw, theirs);
    engine::forget(fd);
    let closed = sys::close(fd);
    if let Some(theirs) = theirs {
        let outcome = match handled {
            Handled::HandedOver => None,
            Handled::Drained(outcome) => Some(outcome),
            Handled::Plain => Some(Outcome::Closed),
        };
        if let Some(outcome) = outcome {
            let _ = passing::send_byte(theirs, outcome as u8);
        }
        let _ = sys::close(theirs);
    }
    let (ours, _) = pair.map_err(error)?;
    // SAFETY: made just now, and nobody else's.
    let report = unsafe { OwnedFd::from_raw_fd(ours) };
    closed.map_err(error)?;
    Ok(Lingering { report })
}

impl Lingering {
    /// How it ended; `None` while it lingers. Never waits.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ConnectionAborted`]: it was closed without a report, because the process retired the library (see
    /// liblinger(7), seccomp), or because just then no drain thread could be had.
    pub fn outcome(&self) -> io::Result<Option<Outcome>> {
        match passing::look_at_byte(self.report.as_raw_fd()) {
            Ok(Some(number)) => Ok(Outcome::from_number(number)),
            Ok(None) => Err(io::ErrorKind::ConnectionAborted.into()),
            Err(Errno(libc::EAGAIN | libc::EINTR)) => Ok(None),
            Err(number) => Err(error(number)),
        }
    }

    /// **Blocks** until it has ended, and says how.
    ///
    /// # Errors
    ///
    /// As for [`Lingering::outcome`].
    pub fn wait(&self) -> io::Result<Outcome> {
        loop {
            if let Some(outcome) = self.outcome()? {
                return Ok(outcome);
            }
            let _ = sys::wait_readable(self.report.as_raw_fd(), 1000);
        }
    }
}

impl AsFd for Lingering {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

impl AsRawFd for Lingering {
    fn as_raw_fd(&self) -> RawFd {
        self.report.as_raw_fd()
    }
}
