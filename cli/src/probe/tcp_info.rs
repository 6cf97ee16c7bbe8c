//! `TCP_INFO` of a connection (tcp(7)): what the kernel knows and recv does not say.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use serde::Serialize;

/// What of it is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TcpInfo {
    /// As `include/net/tcp_states.h` numbers them.
    #[serde(skip)]
    pub state: u8,
    /// Segments of ours that were sent again.
    pub retransmits: u32,
    /// Segments of ours that were never acknowledged.
    pub unacknowledged: u32,
    /// Smoothed round-trip time.
    pub rtt_us: u32,
}

impl TcpInfo {
    /// Asks the kernel.
    pub fn of(stream: &TcpStream) -> io::Result<TcpInfo> {
        // SAFETY: tcp_info is plain old data for which all zeroes is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let place = std::ptr::from_mut(&mut info).cast();
        // SAFETY: getsockopt writes at most `length` bytes to `info`, which lives until it returns.
        let failed = unsafe {
            libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &mut length)
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(TcpInfo {
            state: info.tcpi_state,
            retransmits: info.tcpi_total_retrans,
            unacknowledged: info.tcpi_unacked,
            rtt_us: info.tcpi_rtt,
        })
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt_us.into())
    }

    /// The state's name, as ss(8) has it.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            1 => "ESTAB",
            2 => "SYN-SENT",
            3 => "SYN-RECV",
            4 => "FIN-WAIT-1",
            5 => "FIN-WAIT-2",
            6 => "TIME-WAIT",
            7 => "CLOSED",
            8 => "CLOSE-WAIT",
            9 => "LAST-ACK",
            11 => "CLOSING",
            _ => "UNKNOWN",
        }
    }
}
