//! `linger-attack`: what attackers can cost a server, without liblinger and with it.

mod cases;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use linger_testbed::netns::{self, Namespace};
use linger_testbed::server::Preload;
use linger_testbed::siege::{self, Attack, Orders, Siege};

use cases::CASES;

const EXPLANATION: &str = "\
Attacks nginx on loopback, in a network namespace of its own, with clients that have got their
response and will not go, and prints a Markdown table:

  silent     new peers all the time, each from an address of its own, that say nothing more
  trickle    peers that send a byte a second
  line rate  peers that send as fast as they can

Columns:
  served, failed   requests of a normal client meanwhile, one after the other on new connections
  p50, p99         milliseconds from its connect to the end of the response
  lingering        connections that lingered at once, at most
  memory           resident memory of the server's processes before the attack, and at most
  processor        of the server's processes, in percent of one processor
  resets           that the kernel sent for either end

Examples:
  linger-attack
  linger-attack --seconds 30 --library ./liblinger.so
  linger-attack --only trickles

Exit status: 0 if the normal client was served whatever happened, otherwise 1.";

/// Measures what attackers can cost a server, without liblinger and with it.
#[derive(Debug, Parser)]
#[command(name = "linger-attack", version, after_long_help = EXPLANATION)]
struct Args {
    /// How often to measure each attack
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How long each time
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// Only attacks whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// The liblinger.so to measure [default: $LINGER_LIB, or the one that was built here]
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,

    #[command(subcommand)]
    task: Option<Task>,
}

/// What the program starts itself for.
#[derive(Debug, Subcommand)]
enum Task {
    /// Be one of the attackers
    #[command(hide = true)]
    Attacker {
        #[arg(long, value_enum)]
        attack: Attack,
        #[arg(long)]
        server: SocketAddr,
        #[arg(long)]
        peers: u32,
        #[arg(long)]
        network: u8,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.task {
        Some(Task::Attacker { attack, server, peers, network }) => {
            siege::attack(&Orders { attack, server, peers, network }).map(|()| true)
        }
        None => measure(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("linger-attack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether the normal client was always served.
fn measure(args: &Args) -> Result<bool> {
    let shim = match &args.library {
        Some(path) => Preload::shim_at(path)?,
        None => Preload::shim()?,
    };
    if let Namespace::Shared { reason } = netns::enter()? {
        anyhow::bail!("attacks need a network namespace of their own ({reason}): run it as root");
    }
    let executable = std::env::current_exe()?;
    let duration = Duration::from_secs(args.seconds);
    let cases: Vec<_> = CASES.iter().filter(|case| case.name.contains(&args.only)).collect();
    let mut sieges: Vec<Option<Siege>> = vec![None; cases.len()];
    // One after the other, again and again: what else the machine does meanwhile is in all of them.
    for _ in 0..args.rounds {
        for (case, total) in cases.iter().zip(&mut sieges) {
            let preload = if case.with_shim { &shim } else { &Preload::None };
            let siege = siege::lay(
                &executable,
                case.force,
                preload,
                case.settings,
                case.approach(duration),
                duration,
            )?;
            *total = Some(match total.take() {
                Some(earlier) => earlier.and(siege),
                None => siege,
            });
        }
    }
    println!("{}", cases::HEADER);
    let mut always_served = true;
    for (case, siege) in cases.iter().zip(sieges.iter().flatten()) {
        println!("{}", case.row(siege));
        always_served &= siege.service.failures == 0 && siege.service.served() > 0;
    }
    Ok(always_served)
}
