//! `bench-subject`: the bare programs that are measured, each doing one thing and nothing else. `linger-bench` starts
//! it, with liblinger in front of it or without.

mod interface;
mod obey;
mod server;
mod set;
mod untouched;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use linger_bench::figures::untouched::Kind;
use linger_bench::peers::{Answer, Closing};

/// What linger-bench measures
#[derive(Debug, Parser)]
#[command(name = "bench-subject")]
enum Task {
    /// A bare epoll server: one read, one answer, one close
    Serve {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, value_enum, default_value_t = Answer::Echo)]
        answer: Answer,
        #[arg(long, value_enum, default_value_t = Closing::Close)]
        closing: Closing,
    },
    /// Accept connections and let go of them as the standard input says
    Obey,
    /// Time close(2) of what never lingers
    Untouched {
        #[arg(long, value_enum)]
        kind: Kind,
        /// For a client: whom to connect to, who closes at once
        #[arg(long)]
        address: Option<SocketAddr>,
        #[arg(long)]
        batches: usize,
        #[arg(long)]
        each: usize,
    },
}

fn main() -> ExitCode {
    match play(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-subject: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(task: Task) -> Result<()> {
    match task {
        Task::Serve { address, answer, closing } => server::serve(address, answer, closing),
        Task::Obey => obey::obey(),
        Task::Untouched { kind, address, batches, each } => untouched::time(kind, address, batches, each),
    }
}
