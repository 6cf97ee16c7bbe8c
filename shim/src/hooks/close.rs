//! close(2), and the name by which libc's own callers know it.

use super::hook;
use crate::letting_go::{before_end_of, Next};
use crate::{errno, fds, real};
use libc::c_int;

hook! {
    /// *Contract:* frees the number at once; EBADF where it is not open.
    /// *Why hooked:* this is where responses are lost.
    /// *Passes through when* nothing is known of the number: one load.
    /// *errno:* of the real call. *Signal safety:* async-signal-safe; a cancellation point.
    fn close(fd: c_int) -> c_int {
        end(fd, || real::close(fd))
    }
}

hook! {
    /// As [`close`].
    fn __close(fd: c_int) -> c_int {
        end(fd, || real::__close(fd))
    }
}

extern "C-unwind" {
    fn pthread_testcancel();
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// <pthread.h>
const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// Ends `fd` with the function `real`.
///
/// libc acts on a cancellation before its system call, and then the number stays open. So what is going to be half-closed and
/// handed over has its cancellation point before that, and none afterwards.
fn end(fd: c_int, real: impl Fn() -> c_int) -> c_int {
    let mut state = None;
    if fds::facts(fd).connection() {
        let mut before = 0;
        // SAFETY: the thread may unwind here: no frame of ours has anything to drop.
        unsafe {
            pthread_testcancel();
            pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut before);
        }
        state = Some(before);
    }
    let result = match before_end_of(fd) {
        Next::Real => real(),
        Next::NotYours => errno::fail(libc::EBADF),
    };
    if let Some(before) = state {
        // SAFETY: as above.
        unsafe { pthread_setcancelstate(before, core::ptr::null_mut()) };
    }
    result
}
