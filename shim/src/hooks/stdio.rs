//! fclose(3), freopen(3) and fdopen(3): libc closes the descriptor inside, past the symbol.

use super::hook;
use crate::{errno, letting_go, real, streams};
use libc::{c_char, c_int, FILE};

hook! {
    /// *Contract:* flushes, closes the descriptor, frees the stream.
    /// *Why hooked:* for that close. What is buffered is flushed first, so that it leaves before the FIN.
    /// *Passes through when* the descriptor is no connection, or flushing fails. *errno:* of the real call.
    /// *Signal safety:* not async-signal-safe; a cancellation point.
    fn fclose(stream: *mut FILE) -> c_int {
        match before_end_of_stream(stream) {
            Ok(()) => real::fclose(stream),
            Err(flushing) => {
                // libc has dropped what it could not write, and would now find nothing wrong.
                real::fclose(stream);
                errno::fail(flushing)
            }
        }
    }
}

hook! {
    /// *Contract:* closes the stream's descriptor and opens a file in its place. *Why hooked:* as [`fclose`].
    fn freopen(path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE {
        replaced(path, stream, || real::freopen(path, mode, stream))
    }
}

hook! {
    /// As [`freopen`]: what programs with 64-bit file offsets call.
    fn freopen64(path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE {
        replaced(path, stream, || real::freopen64(path, mode, stream))
    }
}

hook! {
    /// *Contract:* a stream over a descriptor. *Why hooked:* at exit(3) what its buffer holds must leave before the FIN.
    /// *errno:* of the real call. *Signal safety:* not async-signal-safe.
    fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE {
        let stream = real::fdopen(fd, mode);
        if !stream.is_null() {
            streams::opened(fd, stream);
        }
        stream
    }
}

/// # Safety
/// `stream` is an open stream.
unsafe fn replaced(path: *const c_char, stream: *mut FILE, real: impl Fn() -> *mut FILE) -> *mut FILE {
    if !path.is_null() {
        // freopen(3) does not report what it could not flush.
        // SAFETY: as the caller vouches.
        let _ = unsafe { before_end_of_stream(stream) };
        return real();
    }
    // Only the mode changes, of what can be opened a second time. A socket cannot: libc closes it.
    let fd = number_of(stream);
    let reopened = real();
    if reopened.is_null() {
        letting_go::forget(fd);
        streams::closed(fd, stream);
    }
    reopened
}

/// -1 for streams without a descriptor.
fn number_of(stream: *mut FILE) -> c_int {
    // SAFETY: the hooks are given open streams.
    errno::kept(|| unsafe { libc::fileno(stream) })
}

/// Flushes `stream` and lets go of its connection. The error of flushing: then the close is libc's.
///
/// # Safety
/// `stream` is an open stream.
unsafe fn before_end_of_stream(stream: *mut FILE) -> Result<(), c_int> {
    let fd = number_of(stream);
    let mut result = Ok(());
    if letting_go::may_linger(fd) {
        // SAFETY: as the caller vouches.
        result =
            errno::kept(|| if unsafe { libc::fflush(stream) } == 0 { Ok(()) } else { Err(errno::now()) });
    }
    match result {
        Ok(()) => {
            letting_go::before_end_of(fd);
        }
        Err(_) => letting_go::forget(fd),
    }
    streams::closed(fd, stream);
    result
}
