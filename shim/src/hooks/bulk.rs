//! close_range(2) and closefrom(3): many numbers at once, ours among them.

use super::hook;
use crate::{errno, fds, gate, letting_go, real};
use engine::engine as core;
use engine::handover;
use libc::{c_int, c_uint};

hook! {
    /// *Contract:* closes every number in the range that is open, or marks it close-on-exec.
    /// *Why hooked:* each of them is a close; and our own number must survive. *Optional:* glibc 2.34.
    /// *Passes through when* it only marks, or the table becomes private to the thread.
    /// *errno:* of the real call. *Signal safety:* async-signal-safe.
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
        sweep(first, last, flags, |first, last| real::close_range(first, last, flags))
    }
}

/// linux/close_range.h
const CLOSE_RANGE_UNSHARE: c_int = 2;

hook! {
    /// *Contract:* gives the calling thread namespaces, or with CLONE_FILES a descriptor table, of its own.
    /// *Why hooked:* from then on a number may be closed in one table and open in another: every connection gets the plain close.
    /// *errno:* of the real call. *Signal safety:* async-signal-safe.
    fn unshare(flags: c_int) -> c_int {
        unsharing(flags & libc::CLONE_FILES != 0, || real::unshare(flags))
    }
}

/// Makes the call `real`, which gives the thread a descriptor table of its own where `tables` says so, and succeeds with 0.
pub(super) fn unsharing(tables: bool, real: impl Fn() -> c_int) -> c_int {
    let noted = tables && gate::is_open() && core::owned();
    if noted {
        fds::one_more_table();
    }
    let result = real();
    if noted && result != 0 {
        fds::no_more_table();
    }
    result
}

hook! {
    /// *Contract:* closes every number from `first` on. *Why hooked:* as [`close_range`].
    /// *errno:* unused. *Signal safety:* async-signal-safe.
    fn closefrom(first: c_int) -> c_int {
        let from = c_uint::try_from(first).unwrap_or(0);
        if sweep(from, c_uint::MAX, 0, |first, last| real::close_range(first, last, 0)) != 0 {
            // An old kernel: libc looks through /proc. Our number goes with the rest, and is found missing later.
            return real::closefrom(first);
        }
        0
    }
}

/// Lets go of the connections in a range, and closes the range around our own number.
pub(super) fn sweep(
    first: c_uint,
    last: c_uint,
    flags: c_int,
    real: impl Fn(c_uint, c_uint) -> c_int,
) -> c_int {
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        return unsharing(true, || real(first, last));
    }
    let nothing_of_ours = !gate::is_open() && handover::number().is_none();
    if flags != 0 || first > last || nothing_of_ours || !core::owned() {
        return real(first, last);
    }
    errno::kept(|| {
        fds::each_known(first, last, &mut |fd| {
            let _ = letting_go::before_end_of(fd);
        });
    });
    let ours = handover::channel().and_then(|fd| c_uint::try_from(fd).ok());
    let Some(ours) = ours.filter(|fd| (first..=last).contains(fd)) else { return real(first, last) };
    let below = if ours > first { real(first, ours - 1) } else { 0 };
    if below != 0 || ours == last {
        return below;
    }
    real(ours + 1, last)
}
