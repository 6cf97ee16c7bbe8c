//! `bench-client`: the clients, in a process of their own. `linger-bench` starts it; what it prints is JSON.

mod conversation;

use std::net::SocketAddr;
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
}

fn main() -> ExitCode {
    match play(Task::parse()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(task: Task) -> Result<String> {
    Ok(match task {
        Task::Converse { address, conversation, at_once, milliseconds } => {
            let time = Duration::from_millis(milliseconds);
            serde_json::to_string(&conversation::play(address, conversation, at_once, time)?)?
        }
    })
}
