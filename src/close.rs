//! The functions of the crate: the same as those of the C interface, over owned descriptors.
//!
//! **Promises:** safe Rust, thread-safe. A socket that is passed in is closed when the call returns, also where it
//! returns an error. Nothing here panics.
//!
//! Deliberately absent: borrowed descriptors. Who keeps using a socket has not let go of it.

use crate::closing::{self, Holding};
use crate::drain::{Deadline, Outcome};
use crate::engine::{self, Caller};
use crate::handover::Input;
use crate::sys::{self, process, Errno};
use crate::{blocking, stats};
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::time::Duration;

/// Lets go of `socket` without losing the response that is still on its way: sends FIN at once, hands the connection to
/// a background thread that reads and discards what the peer still sends, and closes it at the peer's FIN or the deadline
/// (RFC 9112 section 9.6). **Returns at once**, whatever the peer does.
///
/// Takes anything that owns a descriptor: a [`TcpStream`](std::net::TcpStream), an [`OwnedFd`], a `socket2::Socket`. What is not
/// a connected TCP socket is closed as dropping it would, so a server may call this everywhere.
///
/// `timeout` is `None` for the configured deadline (`LINGER_TIMEOUT_MS`, 30 s), which is extended while the peer is still
/// taking the response, up to `LINGER_MAX_MS`; [`Duration::ZERO`] to discard what has arrived and not wait; otherwise the
/// deadline, which is never extended. It is rounded up to whole milliseconds, and what is longer than 24 days
/// (`i32::MAX` milliseconds) counts as 24 days.
///
/// The caller vouches that nobody else uses the connection: no clone of the stream, no other process. Whoever does could no
/// longer send, and would share what arrives with the background thread. An async stream first leaves its runtime, as
/// with tokio's `into_std`; see the [crate's guide](crate#in-an-async-server).
///
/// # Errors
///
/// What close(2) reports for a descriptor that is not a connection, such as EIO of a file. The descriptor is closed
/// nevertheless. A shortage of memory, threads or descriptors is no error: what has arrived is then discarded and the
/// connection closed without waiting, which is never worse than dropping it.
///
/// # Signals
///
/// Not async-signal-safe: the first call starts the thread.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{Shutdown, TcpListener, TcpStream};
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind(("127.0.0.1", 0))?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// client.write_all(b"POST / HTTP/1.1\r\n\r\nmuch more than the server wants")?;
///
/// let (mut connection, _) = listener.accept()?;
/// connection.write_all(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")?;
/// linger::close(connection, Duration::from_secs(30))?; // nothing was read, and yet there is no RST
///
/// client.write_all(b"still sending")?;
/// client.shutdown(Shutdown::Write)?;
/// let mut response = String::new();
/// client.read_to_string(&mut response)?;
/// assert!(response.starts_with("HTTP/1.1 413"));
/// # Ok(())
/// # }
/// ```
pub fn close(socket: impl Into<OwnedFd>, timeout: impl Into<Option<Duration>>) -> io::Result<()> {
    let deadline = deadline(timeout.into());
    let fd = socket.into().into_raw_fd();
    engine::enter();
    let holding = Holding::Exclusive(Input::Unknown);
    closing::let_go(fd, deadline, holding, Caller::Interface, &|| engine::withdraw(fd));
    engine::forget(fd);
    sys::close(fd).map_err(error)
}

/// Like [`close`], but **blocks** until the connection has ended, and says how.
///
/// Works in the calling thread and needs no other, nor a further descriptor. Signals do not cut it short. Not for an
/// async task: it would hold up its runtime's thread for as long as the peer likes, up to the deadline.
///
/// # Errors
///
/// As for [`close`].
///
/// # Examples
///
/// ```
/// use std::net::{TcpListener, TcpStream};
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind(("127.0.0.1", 0))?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (connection, _) = listener.accept()?;
/// drop(client);
/// assert_eq!(linger::close_wait(connection, Duration::from_secs(30))?, linger::Outcome::Fin);
/// # Ok(())
/// # }
/// ```
pub fn close_wait(socket: impl Into<OwnedFd>, timeout: impl Into<Option<Duration>>) -> io::Result<Outcome> {
    let deadline = deadline(timeout.into());
    let fd = socket.into().into_raw_fd();
    engine::enter();
    let _ = engine::withdraw(fd);
    engine::forget(fd);
    blocking::close(fd, deadline).map_err(error)
}

/// **Blocks** until no connection of this process lingers, at most for `timeout` (`None`: as long as it takes, which the
/// connections' own deadlines bound), and returns how many still do.
///
/// For a graceful stop: what lingers when the process ends is closed by the kernel, with a reset where the peer still
/// sends. Connections that are let go of meanwhile are waited for, too. `timeout` is rounded and bounded as by [`close`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let left = linger::flush(Duration::from_secs(5));
/// if left > 0 {
///     eprintln!("{left} connections had not ended after 5 seconds");
/// }
/// ```
pub fn flush(timeout: impl Into<Option<Duration>>) -> usize {
    let until = match deadline(timeout.into()) {
        Deadline::Default => None,
        Deadline::Exactly(ms) => Some(process::now_ms().saturating_add(u64::from(ms))),
    };
    engine::enter();
    stats::wait_until_none(until) as usize
}

/// How many connections of this process linger now.
#[must_use]
pub fn pending() -> usize {
    engine::enter();
    stats::pending() as usize
}

/// Up, so that a time that is not zero never becomes "do not wait".
pub(crate) fn deadline(timeout: Option<Duration>) -> Deadline {
    let Some(timeout) = timeout else { return Deadline::Default };
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    // The clock of a connection that lingers is good for i32::MAX milliseconds.
    Deadline::Exactly(u32::try_from(ms).unwrap_or(u32::MAX).min(i32::MAX as u32))
}

pub(crate) fn error(Errno(number): Errno) -> io::Error {
    io::Error::from_raw_os_error(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_and_bounded() {
        let longest = Deadline::Exactly(i32::MAX as u32);
        let table = [
            (None, Deadline::Default),
            (Some(Duration::ZERO), Deadline::Exactly(0)),
            (Some(Duration::from_nanos(1)), Deadline::Exactly(1)),
            (Some(Duration::from_micros(1_001)), Deadline::Exactly(2)),
            (Some(Duration::from_secs(30)), Deadline::Exactly(30_000)),
            (Some(Duration::from_millis(i32::MAX as u64)), longest),
            (Some(Duration::from_millis(i32::MAX as u64 + 1)), longest),
            (Some(Duration::from_millis(1 << 40)), longest),
            (Some(Duration::MAX), longest),
        ];
        for (timeout, expected) in table {
            assert_eq!(deadline(timeout), expected, "{timeout:?}");
        }
    }
}
