//! The clients, as the driver sees them: a process of their own that is told what to play, and says what it saw.

use std::io::Read;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use linger_testbed::server::Preload;
use serde::{Deserialize, Serialize};

use crate::process::{ours, Running};

/// What is said on each connection. The client closes right after it has read the server's end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Conversation {
    /// One request with `Connection: close`.
    HttpClose,
    /// Request after request on the same connection.
    HttpKeepAlive,
    /// PING, then QUIT.
    Redis,
    /// Some bytes, and the same back.
    Echo,
}

/// What became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Connections that were over, or, where they are kept, requests that were answered.
    pub done: u64,
    /// Of these, how many did not get all of the answer.
    pub incomplete: u64,
    /// Of these, how many ended in a reset.
    pub resets: u64,
    /// How long it took.
    pub nanoseconds: u64,
}

/// Plays `conversation` on `at_once` connections for so long.
///
/// # Errors
///
/// If nothing was done, or an answer was lost: a figure of a server that fails says nothing.
pub fn converse(
    conversation: Conversation,
    server: SocketAddr,
    at_once: usize,
    time: Duration,
) -> Result<Tally> {
    use clap::ValueEnum;
    let word = conversation.to_possible_value().context("every conversation has a name")?;
    let tally: Tally = play(&[
        "converse",
        "--address",
        &server.to_string(),
        "--conversation",
        word.get_name(),
        "--at-once",
        &at_once.to_string(),
        "--milliseconds",
        &time.as_millis().to_string(),
    ])?;
    if tally.done == 0 || tally.incomplete > 0 {
        bail!("{tally:?}");
    }
    Ok(tally)
}

/// Runs `bench-client` to its end, and parses what it says.
///
/// # Errors
///
/// If it fails, or says something else.
pub fn play<T: for<'a> Deserialize<'a>>(arguments: &[&str]) -> Result<T> {
    let mut command = ours("bench-client")?;
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut client = Running::start(command, &Preload::None, &[])?;
    let mut said = String::new();
    client.leader.stdout.take().context("no output")?.read_to_string(&mut said)?;
    if !client.leader.wait()?.success() {
        bail!("the client failed: bench-client {}", arguments.join(" "));
    }
    serde_json::from_str(&said).with_context(|| format!("the client says {said:?}"))
}
