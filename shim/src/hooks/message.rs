//! sendmsg(2), recvmsg(2) and their plural forms: connections that travel between processes (unix(7), SCM_RIGHTS).
//!
//! Messages are looked at before the kernel looks: a descriptor must be known to travel before anybody can receive it. Where the
//! kernel says EFAULT, for a header or control data that is not there, the program ends instead (liblinger(7), "LIMITATIONS");
//! asking first would cost a system call for every datagram that carries control data.

use super::hook;
use crate::fds::{self, Role};
use crate::{errno, gate, real};
use ::core::sync::atomic::{fence, AtomicU32, Ordering};
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
    let mut departures = Departures::new();
    // SAFETY: as the caller vouches.
    unsafe { each_descriptor(message, &mut |fd| departures.begin(fd)) }
    let sent = real();
    if sent < 0 && departures.count > 0 {
        // SAFETY: as before.
        errno::kept(|| unsafe { each_descriptor(message, &mut |fd| departures.revoke(fd)) });
    }
    sent
}

/// The kernel looks at no more (UIO_MAXIOV).
const MOST_MESSAGES: c_uint = 1024;

/// # Safety
/// `messages` is null or what sendmmsg(2) requires.
pub(super) unsafe fn send_many(messages: *const mmsghdr, count: c_uint, real: impl Fn() -> c_int) -> c_int {
    if messages.is_null() || !gate::is_open() {
        return real();
    }
    let count = count.min(MOST_MESSAGES) as usize;
    // SAFETY: as the caller vouches.
    let message = |i: usize| unsafe { &raw const (*messages.add(i)).msg_hdr };
    let mut departures = Departures::new();
    for i in 0..count {
        // SAFETY: as above.
        unsafe { each_descriptor(message(i), &mut |fd| departures.begin(fd)) }
    }
    let sent = real();
    let first_unsent = usize::try_from(sent).unwrap_or(0);
    if first_unsent < count && departures.count > 0 {
        errno::kept(|| {
            for i in 0..count {
                let visit: &mut dyn FnMut(Fd) = if i < first_unsent {
                    &mut |_| departures.skip()
                } else {
                    &mut |fd| departures.revoke(fd)
                };
                // SAFETY: as above.
                unsafe { each_descriptor(message(i), visit) }
            }
        });
    }
    sent
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

/// Goes up with every descriptor that is about to be sent.
static DEPARTURES: AtomicU32 = AtomicU32::new(0);

/// The descriptors of one call that sends, in order.
struct Departures {
    /// What [`DEPARTURES`] is if nobody else counted meanwhile.
    counted: u32,
    count: usize,
    /// Which of them were marked here and not before; those beyond stay marked, which costs their connection the drain.
    marked: [u64; 4],
    revoked: usize,
}

impl Departures {
    fn new() -> Departures {
        Departures { counted: 0, count: 0, marked: [0; 4], revoked: 0 }
    }

    fn begin(&mut self, fd: Fd) {
        let others = DEPARTURES.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.counted = if self.count == 0 { others } else { self.counted }.wrapping_add(1);
        if fds::mark_sent(fd) {
            if let Some(word) = self.marked.get_mut(self.count / 64) {
                *word |= 1 << (self.count % 64);
            }
        }
        self.count += 1;
        if let Some(inode) = inode_of_connection(fd) {
            family::departs(inode);
        }
    }

    /// The next one was not sent.
    fn revoke(&mut self, fd: Fd) {
        let marked =
            self.marked.get(self.revoked / 64).is_some_and(|word| word >> (self.revoked % 64) & 1 != 0);
        self.revoked += 1;
        if let Some(inode) = inode_of_connection(fd) {
            family::arrived(inode);
        }
        if !marked {
            return;
        }
        fds::unmark_sent(fd);
        // Another thread may be sending the same connection, and have found it marked. It counts before it marks, so it is seen
        // here or its mark stands.
        fence(Ordering::SeqCst);
        if DEPARTURES.load(Ordering::SeqCst) != self.counted {
            fds::mark_sent(fd);
        }
    }

    /// The next one was sent.
    fn skip(&mut self) {
        self.revoked += 1;
    }
}

fn inode_of_connection(fd: Fd) -> Option<u64> {
    fds::facts(fd).connection().then(|| sys::identity(fd).ok()).flatten().map(|identity| identity.inode)
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

/// What precedes the data of one item (cmsg(3)).
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();

/// Calls `visit` with every descriptor in the control data of a message. It ends where the kernel would end, or refuse: a
/// length that does not fit is the program's error, and EINVAL.
///
/// # Safety
/// `message` is null or points to a header whose control buffer is readable.
#[allow(clippy::unnecessary_cast)] // the types of lengths differ between C libraries
unsafe fn each_descriptor(message: *const msghdr, visit: &mut dyn FnMut(Fd)) {
    if message.is_null() || !gate::is_open() {
        return;
    }
    // SAFETY: as the caller vouches; all that is read lies within the control buffer.
    unsafe {
        let (control, size) = ((*message).msg_control.cast::<u8>(), (*message).msg_controllen as usize);
        // More is ENOBUFS.
        if control.is_null() || size > i32::MAX as usize {
            return;
        }
        let mut at = 0usize;
        while size.saturating_sub(at) >= HEADER_BYTES {
            let header = control.add(at).cast::<libc::cmsghdr>().read_unaligned();
            let length = header.cmsg_len as usize;
            if length < HEADER_BYTES || length > size - at {
                return;
            }
            if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS {
                // Asked only now: most control data is something else, and on the way of every datagram.
                if !core::owned() {
                    return;
                }
                let data = control.add(at + HEADER_BYTES).cast::<c_int>();
                for i in 0..(length - HEADER_BYTES) / size_of::<c_int>() {
                    visit(data.add(i).read_unaligned());
                }
            }
            at += length.next_multiple_of(size_of::<usize>());
        }
    }
}
