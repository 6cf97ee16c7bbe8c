//! `call-latency`: how long letting go of a connection takes while many silent peers linger.

mod report;
mod rounds;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use linger_testbed::server::Preload;
use linger_testbed::{closer, netns};

const EXPLANATION: &str = "\
Opens N connections to each of three programs and says nothing on them; each program lets go of all
of them. Then more peers connect, in rounds, one program after the other, and the calls that let go
of those are timed one by one:

  close           plain close(2), without liblinger
  hooked close    close(2) with liblinger.so preloaded
  linger_close    linger_close() of a liblinger.so that is loaded, not preloaded

Columns:
  p50, p99, max   microseconds that a call took
  caller          microseconds of processor time of the calling thread, per call
  drain thread    the same of everything else in the program, until the connection is over
  lingering       connections that linger while the calls are timed
  not lingered    calls that found the drain thread's queue full and closed without waiting

Examples:
  call-latency
  call-latency --silent 5000 --calls 10000 --rounds 20 --json | jq .rows

Exit status: 0, whatever the figures are; 1 if nothing could be measured.";

/// Measures how long letting go of a connection takes while silent peers linger.
#[derive(Debug, Parser)]
#[command(name = "call-latency", version, after_long_help = EXPLANATION)]
struct Args {
    /// Silent peers that linger meanwhile
    #[arg(long, value_name = "N", default_value_t = 1000)]
    silent: usize,

    /// Calls to time of each kind
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,

    /// Rounds to spread them over
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// The liblinger.so to measure [default: $LINGER_LIB, or the one that was built here]
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,

    /// Print JSON for programs instead of a table for people
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    task: Option<Task>,
}

/// What the program starts itself for.
#[derive(Debug, Subcommand)]
enum Task {
    /// Be the program that lets go of connections
    #[command(hide = true)]
    Closer {
        /// Load this for its functions
        #[arg(long)]
        library: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.task {
        Some(Task::Closer { library }) => closer::run(library.as_deref()),
        None => measure(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("call-latency: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    let shim = match &args.library {
        Some(path) => Preload::shim_at(path)?,
        None => Preload::shim()?,
    };
    // So that nobody else's connections share the kernel's tables, if that can be had.
    netns::enter_or_start_again()?;
    let rows = rounds::play(&rounds::Plan {
        silent: args.silent,
        calls: args.calls as usize,
        rounds: args.rounds as usize,
        shim,
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report::Report { silent: args.silent, rows })?);
    } else {
        print!("{}", report::Table(&rows));
    }
    Ok(())
}
