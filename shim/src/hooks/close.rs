//! close(2), and the name by which libc's own callers know it.

use super::hook;
use crate::letting_go::{before_end_of, Next};
use crate::{errno, real};
use libc::c_int;

hook! {
    /// *Contract:* frees the number at once; EBADF where it is not open.
    /// *Why hooked:* this is where responses are lost.
    /// *Passes through when* nothing is known of the number: one load.
    /// *errno:* of the real call. *Signal safety:* async-signal-safe; a cancellation point.
    fn close(fd: c_int) -> c_int {
        match before_end_of(fd) {
            Next::Real => real::close(fd),
            Next::NotYours => errno::fail(libc::EBADF),
        }
    }
}

hook! {
    /// As [`close`].
    fn __close(fd: c_int) -> c_int {
        match before_end_of(fd) {
            Next::Real => real::__close(fd),
            Next::NotYours => errno::fail(libc::EBADF),
        }
    }
}
