//! Sockets: what is asked of a connection, and what is done to it.
//!
//! **Promises:** no function here ever waits, whatever `O_NONBLOCK` or `SO_RCVTIMEO` say: receiving always
//! carries `MSG_DONTWAIT` and sending to the drain thread too. Neither flag of the open file description is
//! changed, for it may be shared.

use super::{call, Fd, Result};
use core::mem::size_of;
use libc::{c_int, c_void, socklen_t};

/// The states of tcp(7), as the kernel numbers them (`net/tcp_states.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    /// A number this library does not know: to be left alone.
    Unknown,
}

impl TcpState {
    /// From `tcpi_state`.
    pub fn from_kernel(number: u8) -> TcpState {
        match number {
            1 => TcpState::Established,
            2 => TcpState::SynSent,
            3 | 12 => TcpState::SynReceived,
            4 => TcpState::FinWait1,
            5 => TcpState::FinWait2,
            6 => TcpState::TimeWait,
            7 => TcpState::Closed,
            8 => TcpState::CloseWait,
            9 => TcpState::LastAck,
            10 => TcpState::Listen,
            11 => TcpState::Closing,
            _ => TcpState::Unknown,
        }
    }
}

fn option<T>(fd: Fd, level: c_int, name: c_int, value: &mut T) -> Result<usize> {
    let mut length = size_of::<T>() as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `value`, and the true length into `length`.
    unsafe { call!(SYS_getsockopt, fd, level, name, value as *mut T, &mut length as *mut socklen_t) }?;
    Ok(length as usize)
}

pub(super) fn set_option<T>(fd: Fd, level: c_int, name: c_int, value: &T) -> Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live value.
    unsafe { call!(SYS_setsockopt, fd, level, name, value as *const T, size_of::<T>()) }.map(drop)
}

/// The TCP state of `fd`: one byte of TCP_INFO. Anything that is not TCP or MPTCP answers with an error:
/// ENOTSOCK, EOPNOTSUPP (Unix sockets) or ENOPROTOOPT (UDP and the rest); a free number with EBADF.
pub fn tcp_state(fd: Fd) -> Result<TcpState> {
    let mut state = 0u8;
    option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state)?;
    Ok(TcpState::from_kernel(state))
}

/// `SO_LINGER`: `None` where it is off, else its seconds.
pub fn linger_seconds(fd: Fd) -> Result<Option<c_int>> {
    let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
    option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &mut linger)?;
    Ok((linger.l_onoff != 0).then_some(linger.l_linger))
}

/// Turns `SO_LINGER` off, so that our own close(2) cannot block on it.
pub fn clear_linger(fd: Fd) -> Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 0, l_linger: 0 })
}

/// Asks to be woken only when `bytes` wait to be read; FIN and errors still wake (socket(7)).
pub fn set_receive_low_water(fd: Fd, bytes: c_int) -> Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &bytes)
}

/// An integer option of level SOL_SOCKET, such as SO_DOMAIN or SO_PROTOCOL.
pub fn socket_option(fd: Fd, name: c_int) -> Result<c_int> {
    let mut value: c_int = 0;
    option(fd, libc::SOL_SOCKET, name, &mut value)?;
    Ok(value)
}

fn queue_length(fd: Fd, request: libc::c_ulong) -> Result<u32> {
    let mut bytes: c_int = 0;
    // SAFETY: both requests write one int (tcp(7), "Ioctls").
    unsafe { call!(SYS_ioctl, fd, request, &mut bytes as *mut c_int) }?;
    Ok(bytes.max(0) as u32)
}

/// Bytes in the receive queue (SIOCINQ).
pub fn unread(fd: Fd) -> Result<u32> {
    queue_length(fd, libc::FIONREAD as libc::c_ulong)
}

/// For [`unacknowledged`], where that cannot be asked: something may be.
pub const UNKNOWN: u32 = 1;

/// Bytes, and a FIN as one more, that the peer has not acknowledged (SIOCOUTQ).
pub fn unacknowledged(fd: Fd) -> Result<u32> {
    queue_length(fd, libc::TIOCOUTQ as libc::c_ulong)
}

/// Sends FIN behind what is queued; lifts TCP_CORK and Nagle's delay for it.
pub fn shut_write(fd: Fd) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_shutdown, fd, libc::SHUT_WR) }.map(drop)
}

/// Shuts the read half: nothing more can be received, and what still arrives resets the connection.
pub fn shut_read(fd: Fd) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_shutdown, fd, libc::SHUT_RD) }.map(drop)
}

/// Discards up to `limit` bytes of the receive queue; 0 at the peer's FIN (and where the read half is shut).
///
/// TCP discards without a buffer (tcp(7), MSG_TRUNC). Protocols that want one answer EFAULT: kernel TLS, for
/// one. For them a small buffer on the stack serves.
pub fn discard(fd: Fd, limit: usize) -> Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC TCP writes no memory; others fault on the null pointer and answer EFAULT.
    match unsafe { call!(SYS_recvfrom, fd, 0, limit, flags, 0, 0) } {
        Err(e) if e.is(libc::EFAULT) => discard_into_buffer(fd, limit),
        other => other,
    }
}

#[cold]
#[inline(never)]
fn discard_into_buffer(fd: Fd, limit: usize) -> Result<usize> {
    let mut buffer = [0u8; 1024];
    let length = limit.min(buffer.len());
    // SAFETY: the kernel writes at most `length` bytes.
    unsafe { call!(SYS_recvfrom, fd, buffer.as_mut_ptr(), length, libc::MSG_DONTWAIT, 0, 0) }
}

/// Takes one notice off the error queue (MSG_ZEROCOPY completions, timestamps); EAGAIN when it is empty.
#[inline(never)]
pub fn discard_notice(fd: Fd) -> Result<usize> {
    let mut control = [0u64; 64];
    // SAFETY: all-zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_control = control.as_mut_ptr() as *mut c_void;
    message.msg_controllen = core::mem::size_of_val(&control) as _;
    // SAFETY: the control buffer outlives the call; no data is asked for.
    unsafe {
        call!(SYS_recvmsg, fd, &mut message as *mut libc::msghdr, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
    }
}

/// The peer's address, for messages.
pub fn peer_address(fd: Fd) -> Option<core::net::SocketAddr> {
    // SAFETY: all-zero is a valid `sockaddr_storage`.
    let mut address: libc::sockaddr_storage = unsafe { core::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    unsafe {
        call!(SYS_getpeername, fd, &mut address as *mut libc::sockaddr_storage, &mut length as *mut socklen_t)
    }
    .ok()?;
    match address.ss_family as c_int {
        libc::AF_INET => {
            // SAFETY: the family says that it is a `sockaddr_in`, which `sockaddr_storage` can hold.
            let v4 = unsafe { &*(&address as *const libc::sockaddr_storage as *const libc::sockaddr_in) };
            let ip = core::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(core::net::SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a `sockaddr_in6`.
            let v6 = unsafe { &*(&address as *const libc::sockaddr_storage as *const libc::sockaddr_in6) };
            let ip = core::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(core::net::SocketAddr::from((ip, u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}
