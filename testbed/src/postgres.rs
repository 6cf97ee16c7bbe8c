//! As much of PostgreSQL's frontend protocol as it takes to be a client ("Frontend/Backend Protocol" in its manual).

use std::net::SocketAddr;

use anyhow::Result;

use crate::dialogue::Dialogue;

/// The client's last word.
pub const TERMINATE: [u8; 5] = *b"X\0\0\0\x04";

/// Version 3.0, user and database `postgres`.
const STARTUP: &[u8] = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";

/// ReadyForQuery, idle.
const READY: &[u8] = b"Z\0\0\0\x05I";

/// The first message of a client.
#[must_use]
pub fn startup() -> Vec<u8> {
    with_length(STARTUP)
}

/// A simple query.
#[must_use]
pub fn query(text: &str) -> Vec<u8> {
    let mut message = vec![b'Q'];
    message.extend(with_length(format!("{text}\0").as_bytes()));
    message
}

/// Logs in as the only client the server takes: it may still be getting rid of the one before.
///
/// # Errors
///
/// If it cannot be connected to, or falls silent.
pub fn become_the_client(server: SocketAddr) -> Result<Dialogue> {
    loop {
        let mut client = Dialogue::open(server)?;
        client.say(&startup());
        if client.hear(READY)? {
            return Ok(client);
        }
        client.leave()?;
    }
}

fn with_length(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), content].concat()
}
