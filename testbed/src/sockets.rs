//! The kernel's table of TCP sockets in this namespace: what a client cannot see from its own end.
//!
//! Whether the server has let go of a connection is the event that the scenarios wait for. A plain
//! `close()`, a half-close and a lingering close all show in it, at once, so that the same wait
//! serves with the shim and without.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::{pause, DEADLINE};

/// Between two looks at the table, which has no event to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// TCP states as /proc/net/tcp numbers them (`include/net/tcp_states.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The program on this end holds the connection and has not shut its sending side.
    Open,
    /// This end has sent, or queued, its FIN; the connection is not over.
    Closing,
    /// Over; the kernel keeps the number for a while.
    TimeWait,
    /// Waiting for connections.
    Listening,
}

impl State {
    fn from_number(number: u8) -> Self {
        match number {
            // ESTABLISHED, SYN_SENT, SYN_RECV (also an accept deferred until data comes),
            // CLOSE_WAIT and NEW_SYN_RECV
            1 | 2 | 3 | 8 | 12 => State::Open,
            6 => State::TimeWait,
            10 => State::Listening,
            // FIN_WAIT1, FIN_WAIT2, CLOSE, LAST_ACK, CLOSING
            _ => State::Closing,
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The port on this end.
    pub local_port: u16,
    /// The port on the other end.
    pub remote_port: u16,
    /// Where the connection is in its life.
    pub state: State,
    /// Bytes that this end has written and the other has not acknowledged.
    pub unacknowledged: u64,
}

/// Every TCP socket of the calling thread's network namespace: IPv4, and IPv6 with its mapped addresses.
///
/// # Errors
///
/// If procfs is not there or reads differently.
pub fn table() -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for name in ["tcp", "tcp6"] {
        let text = match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            // A kernel without IPv6.
            Err(e) if name == "tcp6" && e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.with_context(|| format!("read net/{name}"))?,
        };
        for line in text.lines().skip(1) {
            entries.push(entry(line).with_context(|| format!("net/{name} says {line:?}"))?);
        }
    }
    Ok(entries)
}

/// The server's end of the connection between `client` and `server`; `None` once it is gone.
///
/// # Errors
///
/// As [`table`].
pub fn server_end(server: SocketAddr, client: SocketAddr) -> Result<Option<Entry>> {
    let is_it = |e: &Entry| e.local_port == server.port() && e.remote_port == client.port();
    Ok(table()?.into_iter().find(is_it))
}

/// Waits until every connection to or from `port` is over, so that no reset is still to come.
///
/// # Errors
///
/// If some are still there after [`DEADLINE`]: lists them.
pub fn settle(port: u16) -> Result<()> {
    let started = Instant::now();
    loop {
        let mut alive = table()?;
        alive.retain(|e| e.local_port == port || e.remote_port == port);
        alive.retain(|e| !matches!(e.state, State::TimeWait | State::Listening));
        if alive.is_empty() {
            return Ok(());
        }
        if started.elapsed() > DEADLINE {
            bail!("connections that do not end: {alive:?}");
        }
        pause(LOOK_AGAIN, "the kernel announces no end of a connection that is not ours");
    }
}

/// `  0: 0100007F:1F90 0100007F:C3A2 01 00000000:00000000 ...`
fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let mut port = || u16::from_str_radix(words.next()?.rsplit(':').next()?, 16).ok();
    let (local_port, remote_port) = (port()?, port()?);
    let state = State::from_number(u8::from_str_radix(words.next()?, 16).ok()?);
    let (sending, _receiving) = words.next()?.split_once(':')?;
    let unacknowledged = u64::from_str_radix(sending, 16).ok()?;
    Some(Entry { local_port, remote_port, state, unacknowledged })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_understood() {
        let line = "   1: 0100007F:1F90 0100007F:C3A2 04 000000FF:00000000 01:00000014 00000000 0";
        let expected =
            Entry { local_port: 0x1f90, remote_port: 0xc3a2, state: State::Closing, unacknowledged: 255 };
        assert_eq!(entry(line), Some(expected));
        let mapped = "   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C3A2 04 \
                      000000FF:00000000 01:00000014 00000000 0";
        assert_eq!(entry(mapped), Some(expected));
    }
}
