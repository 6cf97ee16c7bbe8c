//! sendmsg(2), recvmsg(2) and their plural forms: connections that travel between processes (unix(7), SCM_RIGHTS).

use super::hook;
use crate::fds::{self, Role};
use crate::{gate, real};
use engine::engine as core;
use engine::family;
use engine::sys::{self, Fd};
use libc::{c_int, c_uint, mmsghdr, msghdr, ssize_t};

hook! {
    /// *Contract:* sends a message, perhaps with descriptors.
    /// *Why hooked:* a connection on its way to another process is held by nobody who can be found; only the receiver
    /// may linger. *Passes through when* there is no control data. *errno:* of the real call.
    /// *Signal safety:* async-signal-safe; a cancellation point.
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
        send(message, || real::sendmsg(fd, message, flags))
    }
}

hook! {
    /// *Contract:* receives a message, perhaps with descriptors.
    /// *Why hooked:* for those: a worker answers connections another process accepted.
    /// *Passes through when* there is no control data. *errno:* of the real call.
    /// *Signal safety:* async-signal-safe; a cancellation point.
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
        receive(message, || real::recvmsg(fd, message, flags))
    }
}

hook! {
    /// As [`sendmsg`], many at once.
    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
        send_many(messages, count, || real::sendmmsg(fd, messages, count, flags))
    }
}

hook! {
    /// As [`sendmmsg`].
    fn __sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
        send_many(messages, count, || real::__sendmmsg(fd, messages, count, flags))
    }
}

hook! {
    /// As [`recvmsg`], many at once.
    fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut libc::timespec) -> c_int {
        receive_many(messages, || real::recvmmsg(fd, messages, count, flags, timeout))
    }
}

/// Sends a message with `real`.
///
/// # Safety
/// `message` is null or what sendmsg(2) requires.
pub(super) unsafe fn send(message: *const msghdr, real: impl Fn() -> ssize_t) -> ssize_t {
    // SAFETY: as the caller vouches.
    unsafe { each_descriptor(message, &mut departs) }
    real()
}

/// # Safety
/// `messages` is null or what sendmmsg(2) requires.
pub(super) unsafe fn send_many(messages: *const mmsghdr, count: c_uint, real: impl Fn() -> c_int) -> c_int {
    if !messages.is_null() && gate::is_open() {
        for i in 0..count as usize {
            // SAFETY: as the caller vouches.
            unsafe { each_descriptor(&raw const (*messages.add(i)).msg_hdr, &mut departs) }
        }
    }
    real()
}

/// Receives a message with `real`.
///
/// # Safety
/// `message` is what recvmsg(2) requires.
pub(super) unsafe fn receive(message: *const msghdr, real: impl Fn() -> ssize_t) -> ssize_t {
    let received = real();
    if received >= 0 {
        // SAFETY: the kernel has filled it in.
        unsafe { each_descriptor(message, &mut arrived) }
    }
    received
}

/// # Safety
/// `messages` is what recvmmsg(2) requires.
pub(super) unsafe fn receive_many(messages: *const mmsghdr, real: impl Fn() -> c_int) -> c_int {
    let received = real();
    if gate::is_open() {
        for i in 0..usize::try_from(received).unwrap_or(0) {
            // SAFETY: the kernel has filled in so many.
            unsafe { each_descriptor(&raw const (*messages.add(i)).msg_hdr, &mut arrived) }
        }
    }
    received
}

fn departs(fd: Fd) {
    fds::mark_sent(fd);
    if fds::facts(fd).connection() {
        if let Ok(identity) = sys::identity(fd) {
            family::departs(identity.inode);
        }
    }
}

fn arrived(fd: Fd) {
    fds::born(fd, Role::Received);
    family::reference_made();
    if family::anybody_travels() {
        if let Ok(identity) = sys::identity(fd) {
            family::arrived(identity.inode);
        }
    }
}

/// Calls `visit` with every descriptor in the control data of a message.
///
/// # Safety
/// `message` is null or points to a header whose control buffer is readable.
unsafe fn each_descriptor(message: *const msghdr, visit: &mut dyn FnMut(Fd)) {
    if message.is_null() || !gate::is_open() {
        return;
    }
    // SAFETY: the CMSG functions stay within the control buffer (cmsg(3)).
    unsafe {
        if (*message).msg_controllen == 0 || (*message).msg_control.is_null() {
            return;
        }
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                // Asked only now: most control data is something else, and on the way of every datagram.
                if !core::owned() {
                    return;
                }
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                #[allow(clippy::unnecessary_cast)] // its type differs between C libraries
                let bytes = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                for i in 0..bytes / size_of::<c_int>() {
                    visit(data.add(i).read_unaligned());
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
