//! Well-behaved peers of other addresses, which have their response and have not gone yet: do they keep what lingers for
//! them?
//!
//! One whose connection lingers can still send; one whose connection was closed for good is answered with a reset.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::attackers::connect_from;
use crate::scenario::{request, SMALL};
use crate::{pause, DEADLINE};

/// How many there are, each with an address of its own.
pub const NEIGHBOURS: u32 = 50;

/// Between two looks at whether something was acknowledged, which the kernel does not announce.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How it went for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Could still send after their silence.
    pub kept: u32,
    /// Had been let go of: what they sent was answered with a reset.
    pub lost: u32,
}

impl Neighbours {
    /// They take their response, say nothing for this long, and then speak.
    ///
    /// # Errors
    ///
    /// If one cannot be set up, or neither is acknowledged nor reset.
    pub fn of(server: SocketAddr, silence: Duration) -> Result<Self> {
        let streams: Vec<_> = (1..=NEIGHBOURS).map(|number| settle(server, number)).collect::<Result<_>>()?;
        pause(silence, "well-behaved peers are slow, too");
        let mut neighbours = Self::default();
        for mut stream in streams {
            if stream.write_all(b"late").is_ok() && is_acknowledged(&stream)? {
                neighbours.kept += 1;
            } else {
                neighbours.lost += 1;
            }
        }
        Ok(neighbours)
    }
}

fn settle(server: SocketAddr, number: u32) -> Result<TcpStream> {
    let [.., low] = number.to_be_bytes();
    let mut stream = connect_from(Ipv4Addr::new(127, 250, 0, low), server)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request(SMALL, "close").as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).context("a neighbour's response")?;
    Ok(stream)
}

/// Whether what was sent has been acknowledged; if not, it was answered with a reset.
fn is_acknowledged(stream: &TcpStream) -> Result<bool> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        let mut fds = [PollFd::new(stream, PollFlags::empty())];
        // After a reset nothing is acknowledged any more.
        let gone = poll(&mut fds, Some(&Timespec::default()))? > 0;
        if gone || unacknowledged(stream)? == 0 {
            return Ok(!gone);
        }
        pause(LOOK_AGAIN, "the kernel announces no acknowledgement");
    }
    bail!("what a neighbour sent was neither acknowledged nor reset")
}

fn unacknowledged(stream: &TcpStream) -> Result<i32> {
    let mut bytes = 0;
    // SAFETY: SIOCOUTQ (tcp(7), by its other name) writes one int, which lives until the call returns.
    let failed = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if failed != 0 {
        return Err(std::io::Error::last_os_error()).context("SIOCOUTQ");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn one_that_is_read_from_is_told_from_one_that_is_reset() {
        crate::netns::isolated(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            let mut kept = TcpStream::connect(address).expect("connect");
            let (server_end, _) = listener.accept().expect("accept");
            server_end.shutdown(std::net::Shutdown::Write).expect("shutdown");
            kept.write_all(b"late").expect("write");
            assert!(is_acknowledged(&kept).expect("outcome"));

            let mut lost = TcpStream::connect(address).expect("connect");
            drop(listener.accept().expect("accept"));
            lost.write_all(b"late").expect("write");
            assert!(!is_acknowledged(&lost).expect("outcome"));
        });
    }
}
