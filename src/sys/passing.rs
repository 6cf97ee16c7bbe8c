//! Passing descriptors from one table to another: a Unix datagram socket connected to itself.
//!
//! **Promises:** as the parent module; neither sending nor receiving ever waits.

use super::socket::set_option;
use super::{call, Errno, Fd, Result};
use core::mem::size_of;
use libc::{c_int, c_void, socklen_t};

/// Asks for a send queue of `bytes`: what net.core.wmem_max allows, or all of it with CAP_NET_ADMIN.
pub fn set_send_queue(fd: Fd, bytes: c_int) {
    if set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes).is_err() {
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes);
    }
}

/// A Unix datagram socket connected to itself: what one thread sends through it another receives through it.
///
/// It has a name of the kernel's choice (unix(7), "Autobind feature"), and because it is connected to
/// itself the kernel refuses what anybody else sends to that name.
pub fn self_connected() -> Result<Fd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let fd = unsafe { call!(SYS_socket, libc::AF_UNIX, kind, 0) }? as Fd;
    name_and_connect(fd).inspect_err(|_| {
        let _ = super::close(fd);
    })?;
    Ok(fd)
}

fn name_and_connect(fd: Fd) -> Result<()> {
    // SAFETY: all-zero is a valid `sockaddr_un`.
    let mut address: libc::sockaddr_un = unsafe { core::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let mut length = size_of::<libc::sockaddr_un>() as socklen_t;
    let pointer = &mut address as *mut libc::sockaddr_un;
    // SAFETY: the address outlives the three calls; getsockname writes at most `length` bytes.
    unsafe {
        call!(SYS_bind, fd, pointer, size_of::<libc::sa_family_t>())?;
        call!(SYS_getsockname, fd, pointer, &mut length as *mut socklen_t)?;
        call!(SYS_connect, fd, pointer, length).map(drop)
    }
}

/// Two Unix sockets, each of which receives what is sent on the other, message by message.
pub fn pair() -> Result<(Fd, Fd)> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let mut both: [c_int; 2] = [-1; 2];
    // SAFETY: the kernel writes two ints.
    unsafe { call!(SYS_socketpair, libc::AF_UNIX, kind, 0, both.as_mut_ptr()) }?;
    Ok((both[0], both[1]))
}

/// Sends one byte, without waiting, and without SIGPIPE where nobody receives any more.
pub fn send_byte(fd: Fd, byte: u8) -> Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads one byte.
    unsafe { call!(SYS_sendto, fd, &byte as *const u8, 1, flags, 0, 0) }.map(drop)
}

/// The byte that waits to be received, and stays there; `None` after the end, EAGAIN before.
pub fn look_at_byte(fd: Fd) -> Result<Option<u8>> {
    let mut byte = 0u8;
    let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK;
    // SAFETY: the kernel writes at most one byte.
    let length = unsafe { call!(SYS_recvfrom, fd, &mut byte as *mut u8, 1, flags, 0, 0) }?;
    Ok((length == 1).then_some(byte))
}

/// Sends an empty datagram, without waiting.
pub fn send_nothing(channel: Fd) -> Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: no data and no address are passed.
    unsafe { call!(SYS_sendto, channel, 0, 0, flags, 0, 0) }.map(drop)
}

/// Room for one SCM_RIGHTS message with one or two descriptors (CMSG_SPACE(2 * sizeof(int)) is 24 on 64-bit Linux).
const CONTROL_WORDS: usize = 3;

/// Sends `payload` and references to what `fd`, and `second` if there is one, refer to. The caller keeps its own descriptors.
pub fn send_descriptors(channel: Fd, fd: Fd, second: Option<Fd>, payload: &[u8]) -> Result<()> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: payload.as_ptr() as *mut c_void, iov_len: payload.len() };
    // SAFETY: all-zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr() as *mut c_void;
    message.msg_controllen = core::mem::size_of_val(&control) as _;
    // SAFETY: the control buffer has room for one header and two ints, aligned to 8 bytes (cmsg(3)).
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        let count = 1 + second.is_some() as usize;
        (*header).cmsg_len = libc::CMSG_LEN((count * size_of::<c_int>()) as u32) as _;
        let numbers = libc::CMSG_DATA(header) as *mut c_int;
        numbers.write_unaligned(fd);
        if let Some(second) = second {
            numbers.add(1).write_unaligned(second);
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        call!(SYS_sendmsg, channel, &message as *const libc::msghdr, flags).map(drop)
    }
}

/// How many messages one call receives at most.
pub const BATCH: usize = 32;

/// The longest payload that is received whole.
pub const PAYLOAD_BYTES: usize = 16;

/// What was sent with a message; `None` where nothing was.
pub type Payload = Option<[u8; PAYLOAD_BYTES]>;

/// A message of [`send_descriptors`] or [`send_nothing`].
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// What was sent with it.
    pub payload: [u8; PAYLOAD_BYTES],
    /// How much of `payload` that is.
    pub length: usize,
    /// The descriptor, which the receiver now owns. `None` where none was sent, or where the receiver's table had no free
    /// number: the kernel then drops the reference (unix(7), MSG_CTRUNC).
    pub fd: Option<Fd>,
    /// The second one.
    pub second: Option<Fd>,
}

/// Receives one message and drops the descriptors that came with it: not even for a moment do they have a number in the
/// calling thread's table (unix(7): the kernel closes what the control buffer has no room for). Returns its payload, empty
/// for [`send_nothing`]; EAGAIN for none.
pub fn receive_without_descriptors(channel: Fd) -> Result<Payload> {
    payload_only(channel, libc::MSG_DONTWAIT)
}

/// The payload of the next message, which stays there; empty for [`send_nothing`], EAGAIN for none.
pub fn look_at_payload(channel: Fd) -> Result<Payload> {
    payload_only(channel, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

fn payload_only(channel: Fd, flags: c_int) -> Result<Payload> {
    let mut payload = [0u8; PAYLOAD_BYTES];
    // SAFETY: the kernel writes at most `PAYLOAD_BYTES` bytes.
    let length = unsafe { call!(SYS_recvfrom, channel, payload.as_mut_ptr(), PAYLOAD_BYTES, flags, 0, 0) }?;
    Ok((length > 0).then_some(payload))
}

/// Drops all that waits in `channel`, where nothing can be received: a datagram socket that gets another peer, or none, loses
/// what its former one sent (`unix_dgram_disconnected` of Linux). It is connected to itself again afterwards.
pub fn purge(channel: Fd) -> Result<()> {
    // SAFETY: all-zero is a valid `sockaddr_un`.
    let mut name: libc::sockaddr_un = unsafe { core::mem::zeroed() };
    let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let mut length = size_of::<libc::sockaddr_un>() as socklen_t;
    let pointer = &mut name as *mut libc::sockaddr_un;
    // SAFETY: the addresses outlive the calls; getsockname writes at most `length` bytes.
    unsafe {
        call!(SYS_getsockname, channel, pointer, &mut length as *mut socklen_t)?;
        call!(SYS_connect, channel, &nobody as *const libc::sockaddr, size_of::<libc::sockaddr>())?;
        call!(SYS_connect, channel, pointer, length).map(drop)
    }
}

/// Receives up to `limit` messages, at most [`BATCH`], with one call (recvmmsg(2)) and hands them to `take` in their order.
/// Returns how many there were; EAGAIN for none.
pub fn receive_descriptors(channel: Fd, limit: usize, take: &mut dyn FnMut(Message)) -> Result<usize> {
    let mut payloads = [[0u8; PAYLOAD_BYTES]; BATCH];
    let mut controls = [[0u64; CONTROL_WORDS]; BATCH];
    // SAFETY: all-zero is a valid `iovec` and `mmsghdr`.
    let (mut parts, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (core::mem::zeroed(), core::mem::zeroed()) };
    let buffers = payloads.iter_mut().zip(&mut controls).zip(&mut parts);
    for (header, ((payload, control), part)) in headers.iter_mut().zip(buffers).take(limit) {
        part.iov_base = payload.as_mut_ptr() as *mut c_void;
        part.iov_len = PAYLOAD_BYTES;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.as_mut_ptr() as *mut c_void;
        header.msg_hdr.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the first `limit` headers name buffers that outlive the call.
    let many = unsafe { call!(SYS_recvmmsg, channel, headers.as_mut_ptr(), limit.min(BATCH), flags, 0) };
    let count = match (many, headers.first_mut()) {
        // A filter that knows recvmsg(2) only.
        (Err(Errno(libc::ENOSYS | libc::EPERM)), Some(header)) => {
            // SAFETY: the first header names buffers that outlive the call.
            let one =
                unsafe { call!(SYS_recvmsg, channel, &mut header.msg_hdr as *mut libc::msghdr, flags) }?;
            header.msg_len = one as u32;
            1
        }
        _ => many?,
    };
    for (header, payload) in headers.iter().zip(payloads).take(count) {
        let length = (header.msg_len as usize).min(PAYLOAD_BYTES);
        // SAFETY: the kernel filled the control buffer up to `msg_controllen`.
        let (fd, second) = unsafe {
            let control = libc::CMSG_FIRSTHDR(&header.msg_hdr);
            if control.is_null() || (*control).cmsg_type != libc::SCM_RIGHTS {
                (None, None)
            } else {
                let numbers = libc::CMSG_DATA(control) as *const c_int;
                let two =
                    (*control).cmsg_len as usize >= libc::CMSG_LEN(2 * size_of::<c_int>() as u32) as usize;
                (Some(numbers.read_unaligned()), two.then(|| numbers.add(1).read_unaligned()))
            }
        };
        take(Message { payload, length, fd, second });
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    /// A channel in which a reference to one end of a pair waits; the other end of the pair tells whether it is still held.
    fn one_waiting() -> (Fd, Fd) {
        let channel = self_connected().unwrap();
        let (held, other) = pair().unwrap();
        send_descriptors(channel, held, None, &[7; PAYLOAD_BYTES]).unwrap();
        sys::close(held).unwrap();
        assert_eq!(look_at_byte(other), Err(Errno(libc::EAGAIN)), "still held");
        (channel, other)
    }

    #[test]
    fn what_is_received_without_descriptors_is_closed() {
        let (channel, other) = one_waiting();
        assert_eq!(look_at_payload(channel), Ok(Some([7; PAYLOAD_BYTES])));
        assert_eq!(look_at_byte(other), Err(Errno(libc::EAGAIN)), "looking takes nothing");
        assert_eq!(receive_without_descriptors(channel), Ok(Some([7; PAYLOAD_BYTES])));
        assert_eq!(look_at_byte(other), Ok(None), "nobody holds it");
        send_nothing(channel).unwrap();
        assert_eq!(receive_without_descriptors(channel), Ok(None));
        assert_eq!(receive_without_descriptors(channel), Err(Errno(libc::EAGAIN)));
        for fd in [channel, other] {
            sys::close(fd).unwrap();
        }
    }

    #[test]
    fn a_purged_channel_is_empty_and_works() {
        let (channel, other) = one_waiting();
        purge(channel).unwrap();
        assert_eq!(look_at_byte(other), Ok(None), "nobody holds it");
        // The socket says once that its peer, itself, went away.
        let _ = look_at_payload(channel);
        assert_eq!(look_at_payload(channel), Err(Errno(libc::EAGAIN)));
        send_nothing(channel).unwrap();
        assert_eq!(look_at_payload(channel), Ok(None));
        for fd in [channel, other] {
            sys::close(fd).unwrap();
        }
    }
}
