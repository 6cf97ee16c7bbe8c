//! Clients that connect and say nothing, and what the kernel has at the server's end of each.
//!
//! A silent peer is the worst there is for a lingering close: it acknowledges everything, so that nothing is left to be
//! done, and never sends the FIN that would end the wait.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::{pause, DEADLINE};

/// Between two looks at the kernel's table of sockets.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Their connections, in the order in which they were made.
#[derive(Debug)]
pub struct Crowd {
    server: SocketAddr,
    clients: Vec<TcpStream>,
}

/// What the kernel has at the server's end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerEnd {
    /// A descriptor refers to it, and no FIN has been sent.
    Open,
    /// A descriptor refers to it, and its FIN has been sent: it lingers.
    Lingering,
    /// No descriptor refers to it; whatever comes is answered with a reset.
    Orphaned,
}

impl Crowd {
    /// Of a server that accepts at this address.
    #[must_use]
    pub fn of(server: SocketAddr) -> Self {
        Self { server, clients: Vec::new() }
    }

    /// `count` more. The server must accept them before its backlog is full.
    ///
    /// # Errors
    ///
    /// If one cannot connect.
    pub fn join(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let client = TcpStream::connect(self.server).context("connect")?;
            client.set_read_timeout(Some(DEADLINE))?;
            self.clients.push(client);
        }
        Ok(())
    }

    /// The last `count` close, and have nothing unread when they do: their FIN goes out.
    pub fn leave(&mut self, count: usize) {
        let stay = self.clients.len().saturating_sub(count);
        self.clients.truncate(stay);
    }

    /// Every one of them says something, now. To an orphaned server end that is a reason for a reset.
    pub fn speak(&mut self) {
        for client in &mut self.clients {
            // That it cannot be sent is the server's failure, and shows in the counters.
            let _ = client.write_all(b"late");
        }
    }

    /// Waits until every one of them has been told that the server says no more: its FIN, and nothing else.
    ///
    /// # Errors
    ///
    /// If one hears something else, or nothing for [`DEADLINE`].
    pub fn hear_the_end(&mut self) -> Result<()> {
        for (number, client) in self.clients.iter_mut().enumerate() {
            let mut byte = [0];
            match client.read(&mut byte) {
                Ok(0) => {}
                Ok(_) => bail!("client {number} was told something"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("client {number} hears nothing"),
                Err(error) => return Err(error).with_context(|| format!("client {number}")),
            }
        }
        Ok(())
    }

    /// The server's end of each, as it is now.
    ///
    /// # Errors
    ///
    /// If the kernel's table cannot be read.
    pub fn server_ends(&self) -> Result<Vec<ServerEnd>> {
        let text = fs::read_to_string("/proc/thread-self/net/tcp").context("read net/tcp")?;
        let table: std::collections::HashMap<_, _> = text.lines().skip(1).filter_map(row).collect();
        let ours = self.clients.iter().map(|client| {
            let ports = (self.server.port(), client.local_addr()?.port());
            Ok(table.get(&ports).copied().unwrap_or(ServerEnd::Orphaned))
        });
        ours.collect()
    }

    /// Waits until exactly `count` of them linger.
    ///
    /// # Errors
    ///
    /// If they do not after [`DEADLINE`].
    pub fn wait_until_lingering(&self, count: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            let lingering = self.server_ends()?.iter().filter(|end| **end == ServerEnd::Lingering).count();
            if lingering == count {
                return Ok(());
            }
            if started.elapsed() > DEADLINE {
                bail!("{lingering} connections linger, not {count}");
            }
            pause(LOOK_AGAIN, "the kernel announces no change in its table of sockets");
        }
    }
}

/// `((local port, remote port), state)` of a line of net/tcp.
fn row(line: &str) -> Option<((u16, u16), ServerEnd)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let mut port = || u16::from_str_radix(words.next()?.rsplit(':').next()?, 16).ok();
    let ports = (port()?, port()?);
    let established = words.next()? == "01";
    // Queues, timer, retransmissions, owner, timeout, and then the inode: none where no descriptor is left.
    let orphaned = words.nth(5)? == "0";
    let end = match (orphaned, established) {
        (true, _) => ServerEnd::Orphaned,
        (false, true) => ServerEnd::Open,
        (false, false) => ServerEnd::Lingering,
    };
    Some((ports, end))
}

/// Lets this process, and those it starts, have `descriptors` of them.
///
/// # Errors
///
/// If the hard limit is lower.
pub fn allow_descriptors(descriptors: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= descriptors) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(descriptors), maximum: now.maximum };
    setrlimit(Resource::Nofile, raised).with_context(|| format!("{descriptors} descriptors are not allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphaned_end_is_told_from_one_that_lingers() {
        let line = |state: &str, inode: &str| {
            format!(
                "  1: 0100007F:0050 0100007F:C3A2 {state} 00000000:00000000 02:0000 00000000 0 0 {inode} 1"
            )
        };
        assert_eq!(row(&line("05", "4711")), Some(((80, 0xc3a2), ServerEnd::Lingering)));
        assert_eq!(row(&line("05", "0")), Some(((80, 0xc3a2), ServerEnd::Orphaned)));
        assert_eq!(row(&line("01", "4711")), Some(((80, 0xc3a2), ServerEnd::Open)));
    }
}
