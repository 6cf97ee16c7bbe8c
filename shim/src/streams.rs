//! The stdio streams over connections, for exit(3): their buffers are flushed after our destructor, which must
//! therefore flush them itself before it sends FIN.
//!
//! **Promises:** a table of atomics; a connection whose stream does not fit gets the plain close at exit.
//!
//! **Invariant:** streams are only touched where their lock is free, so that an exit never waits for one.

use crate::fds;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use engine::sys::Fd;
use libc::FILE;

struct Place {
    fd: AtomicI32,
    stream: AtomicPtr<FILE>,
}

static PLACES: [Place; 256] =
    [const { Place { fd: AtomicI32::new(-1), stream: AtomicPtr::new(null_mut()) } }; 256];

extern "C" {
    fn ftrylockfile(stream: *mut FILE) -> libc::c_int;
    fn funlockfile(stream: *mut FILE);
    fn fflush_unlocked(stream: *mut FILE) -> libc::c_int;
    static stdout: *mut FILE;
    static stderr: *mut FILE;
}

/// A stream was opened over `fd`.
pub(crate) fn opened(fd: Fd, stream: *mut FILE) {
    if fds::facts(fd).none() {
        return;
    }
    for place in &PLACES {
        let empty = place.stream.compare_exchange(null_mut(), stream, Ordering::AcqRel, Ordering::Relaxed);
        if empty.is_ok() {
            place.fd.store(fd, Ordering::Release);
            return;
        }
    }
    fds::mark_unflushable(fd);
}

/// It is closed, or is another's now.
pub(crate) fn closed(fd: Fd, stream: *mut FILE) {
    for place in PLACES.iter().filter(|place| place.fd.load(Ordering::Acquire) == fd) {
        if place.stream.load(Ordering::Relaxed) == stream {
            place.fd.store(-1, Ordering::Relaxed);
            place.stream.store(null_mut(), Ordering::Release);
        }
    }
}

/// Flushes what streams hold for `fd`. False where that cannot be done without waiting, or failed.
///
/// Not async-signal-safe: for exit(3) only.
pub(crate) fn flush(fd: Fd) -> bool {
    let known = PLACES.iter().filter(|place| place.fd.load(Ordering::Acquire) == fd);
    let known = known.map(|place| place.stream.load(Ordering::Relaxed));
    // SAFETY: libc's own streams; reading the pointers is what the macros do.
    let standard = unsafe { [(1, stdout), (2, stderr)] };
    let standard = standard.into_iter().filter(|(number, _)| *number == fd).map(|(_, stream)| stream);
    known.chain(standard).filter(|stream| !stream.is_null()).all(flush_stream)
}

fn flush_stream(stream: *mut FILE) -> bool {
    // SAFETY: the stream is open: `closed` would have removed it. Its lock is taken only where it is free.
    unsafe {
        if ftrylockfile(stream) != 0 {
            return false;
        }
        let flushed = fflush_unlocked(stream) == 0;
        funlockfile(stream);
        flushed
    }
}
