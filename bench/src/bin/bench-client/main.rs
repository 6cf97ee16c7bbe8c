//! `bench-client`: the clients, in a process of their own. `linger-bench` starts it; what it prints is JSON.

mod conversation;
mod crowd;
mod upload;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use linger_bench::load::Conversation;

/// Plays the clients of linger-bench; prints what they saw as JSON
#[derive(Debug, Parser)]
#[command(name = "bench-client")]
enum Task {
    /// Talk to a server on several connections at once, each closed right after the server's end of it was read
    Converse {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, value_enum)]
        conversation: Conversation,
        #[arg(long, default_value_t = 20)]
        at_once: usize,
        #[arg(long)]
        milliseconds: u64,
    },
    /// Connect, speak and leave as the standard input says
    Crowd {
        #[arg(long)]
        source: Ipv4Addr,
    },
    /// Send so many bytes to a server that refuses them
    Upload {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        bytes: u64,
    },
    /// Send so many bytes on many connections at once
    Uploads {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        count: usize,
        #[arg(long)]
        bytes: usize,
    },
    /// Send for ever
    Firehose {
        #[arg(long)]
        address: SocketAddr,
    },
}

fn main() -> ExitCode {
    match play(Task::parse()) {
        Ok(said) => {
            if let Some(said) = said {
                println!("{said}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What it says at its end, if it has not said all before.
fn play(task: Task) -> Result<Option<String>> {
    Ok(Some(match task {
        Task::Converse { address, conversation, at_once, milliseconds } => {
            let time = Duration::from_millis(milliseconds);
            serde_json::to_string(&conversation::play(address, conversation, at_once, time)?)?
        }
        Task::Crowd { source } => {
            crowd::obey(source)?;
            return Ok(None);
        }
        Task::Upload { address, bytes } => serde_json::to_string(&upload::one(address, bytes)?)?,
        Task::Uploads { address, count, bytes } => {
            serde_json::to_string(&upload::many(address, count, bytes)?)?
        }
        Task::Firehose { address } => {
            upload::firehose(address)?;
            return Ok(None);
        }
    }))
}
