//! `linger-attack`: what attackers can cost a server, without liblinger and with it.

mod cases;
mod table;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use clap::{Parser, Subcommand};
use linger_testbed::netns::{self, Namespace};
use linger_testbed::server::Preload;
use linger_testbed::siege::{self, Attack, Homes, Orders, Plan, Siege};

use cases::{Case, CASES};

const EXPLANATION: &str = "\
Attacks nginx on loopback, in a network namespace of its own, with clients that have got their
response and will not go. Each attack meets the server without liblinger and with it, so that the
difference is what the attacker gains:

  silent a second   new peers all the time, each from an address of its own, that say nothing more
  trickles          peers that send a byte a second; one that is thrown out comes back
  at line rate      peers that send as fast as they can; one that is thrown out comes back
  one address       silent ones again, all from one address
  silent at once    100,000 that come, and stay

Meanwhile there are three kinds of others: a client that makes one small request after the other;
one that takes a response of 100 KB and sends something 20 ms after its beginning, as a pipelining
or uploading client does; and 50 neighbours, each with an address of its own, that take a response,
say nothing for half of the time, and then speak.

The first table says what the others get:
  p50, p99           milliseconds from the small request's connect to the end of its response
  to plain           the p50, divided by that without liblinger
  failed             small requests without a whole response
  late data: whole   responses that arrived whole in spite of late data
  neighbours kept    neighbours whose late data was received, not answered with a reset
The second one says what it costs:
  lingering          connections that lingered at once, at most; and those of one address
  threads, memory    of the server's processes at most; resident memory before the attack and at most
  kernel             what the kernel held more than before: sockets (both ends) and their buffers
  processor          of the server's processes, in percent of one processor, while the others were
                     served; and while only the attackers were there
  received           by the kernel, of everybody
  resets             that the kernel sent, for either end
With more than one round figures are medians, with least and most in brackets; ratios are medians
of the ratios of the rounds. The 100,000 come only once.

Then, a line each, what must hold, and whether it did: no more linger than LINGER_MAX, and than
LINGER_MAX_PER_PEER of one address, apart from what one call has just received; no more is received
than LINGER_MAX_RATE and LINGER_MAX_BYTES allow, apart from one receive queue (net.ipv4.tcp_rmem);
memory grows by 100 bytes for each connection of LINGER_MAX, 10 KB for each request that nginx may
have at once, and 4 MB at most; every small response is whole, and with liblinger every one with
late data, too, unless LINGER_MAX is lowered: of few places, those that come within 40 ms, before
they have acknowledged anything, may take all. Nothing about time: that depends on the machine.

Examples:
  linger-attack                                   all of it, some six minutes
  linger-attack --list                            the rows, and what must hold in each
  linger-attack --only 'one address'              one attack, in all its rows
  linger-attack --only 'rate: LINGER_MAX_RATE' --rounds 1
                                                  a single row
  linger-attack --only LINGER_MAX_RATE --unset LINGER_MAX_RATE
                                                  see that the check of a limit notices its absence
  linger-attack --seconds 30 --library ./liblinger.so

Exit status: 0 if everything held, 1 if something did not, 2 if it could not be measured.";

/// Measures what attackers can cost a server, without liblinger and with it, and checks that every limit holds.
#[derive(Debug, Parser)]
#[command(name = "linger-attack", version, after_long_help = EXPLANATION)]
#[command(after_help = "With --help: what is attacked how, what the columns mean, and examples.")]
struct Args {
    /// How often to measure each attack
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How long to watch each time
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// Only rows with this in "ATTACK: SETTINGS", see --list; more than once for more of them
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// List the rows and what must hold in each, and attack nobody
    #[arg(long)]
    list: bool,

    /// Leave this LINGER_ variable out, but check as if it were set: the check must fail
    #[arg(long, value_name = "NAME")]
    unset: Option<String>,

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
        #[arg(long, value_enum)]
        homes: Homes,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.task {
        Some(Task::Attacker { attack, server, peers, network, homes }) => {
            siege::attack(&Orders { attack, server, peers, network, homes }).map(|()| true)
        }
        None if args.list => list(&args),
        None => measure(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("linger-attack: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl Args {
    fn cases(&self) -> Result<Vec<&'static Case>> {
        let wanted = |case: &&Case| {
            let title = case.title();
            self.only.is_empty() || self.only.iter().any(|text| title.contains(text))
        };
        let cases: Vec<_> = CASES.iter().filter(wanted).collect();
        if cases.is_empty() {
            bail!("no row has {:?} in it: see linger-attack --list", self.only);
        }
        if let Some(name) = &self.unset {
            if !cases.iter().any(|case| case.settings.iter().any(|(set, _)| set == name)) {
                bail!("--unset {name}: none of the rows sets it; see linger-attack --list");
            }
        }
        Ok(cases)
    }

    fn shim(&self) -> Result<Preload> {
        match &self.library {
            Some(path) => Preload::shim_at(path),
            None => Preload::shim(),
        }
    }
}

fn list(args: &Args) -> Result<bool> {
    let shim = Preload::Shim(PathBuf::new());
    let mut text = String::new();
    for case in args.cases()? {
        text.push_str(&format!("{}\n", case.title()));
        for limit in case.limits(if case.with_shim { &shim } else { &Preload::None }) {
            text.push_str(&format!("    {limit}\n"));
        }
    }
    show(&text)?;
    Ok(true)
}

/// Says whether everything held.
fn measure(args: &Args) -> Result<bool> {
    let shim = args.shim()?;
    let cases = args.cases()?;
    if let Namespace::Shared { reason } = netns::enter()? {
        bail!("attacks need a network namespace of their own ({reason}): run it as root");
    }
    let duration = Duration::from_secs(args.seconds);
    let mut sieges: Vec<Vec<Siege>> = vec![Vec::new(); cases.len()];
    let mut progress = Progress::of(args, &cases);
    // One after the other, again and again: what else the machine does meanwhile is in all of them.
    for round in 0..args.rounds {
        for (case, sieges) in cases.iter().zip(&mut sieges) {
            if round < case.rounds(args.rounds) {
                progress.tell(case);
                sieges.push(lay(case, args, &shim, duration)?);
            }
        }
    }
    let measured: Vec<_> = cases.iter().copied().zip(sieges.iter().map(Vec::as_slice)).collect();
    let (verdicts, all_hold) = verdicts(&measured, &shim);
    show(&format!("{}{verdicts}", table::text(&measured)))?;
    Ok(all_hold)
}

fn lay(case: &Case, args: &Args, shim: &Preload, duration: Duration) -> Result<Siege> {
    let mut settings = case.settings.to_vec();
    settings.retain(|(name, _)| args.unset.as_deref() != Some(*name));
    siege::lay(&Plan {
        executable: &std::env::current_exe()?,
        force: case.force,
        preload: if case.with_shim { shim } else { &Preload::None },
        settings: &settings,
        approach: case.approach(),
        silence: case.silence(),
        duration,
    })
}

/// What must hold of each row, and whether it did; and whether all of it did.
fn verdicts(measured: &[table::Measured<'_>], shim: &Preload) -> (String, bool) {
    let mut text = String::new();
    let mut broken = 0;
    for (case, sieges) in measured {
        text.push_str(&format!("\n{}\n", case.title()));
        for limit in case.limits(if case.with_shim { shim } else { &Preload::None }) {
            for (round, siege) in sieges.iter().enumerate() {
                let verdict = limit.check(siege);
                broken += usize::from(!verdict.holds);
                let mark = if verdict.holds { "holds" } else { "DOES NOT HOLD" };
                text.push_str(&format!("    {mark} in round {}: {}\n", round + 1, verdict.text));
            }
        }
    }
    match broken {
        0 => text.push_str("\nEverything held.\n"),
        _ => text.push_str(&format!("\n{broken} DID NOT HOLD: look for that above.\n")),
    }
    (text, broken == 0)
}

/// To the standard output; that nobody reads on is not our failure.
fn show(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What is being done, on the standard error.
struct Progress {
    started: Instant,
    duration: Duration,
    all: u32,
    done: u32,
    left: Duration,
}

impl Progress {
    fn of(args: &Args, cases: &[&Case]) -> Self {
        let duration = Duration::from_secs(args.seconds);
        let rounds = |case: &&&Case| case.rounds(args.rounds);
        let all = cases.iter().map(|case| rounds(&case)).sum();
        let left = cases.iter().map(|case| case.takes(duration) * rounds(&case)).sum();
        Self { started: Instant::now(), duration, all, done: 0, left }
    }

    fn tell(&mut self, case: &Case) {
        self.done += 1;
        let (spent, left) = (self.started.elapsed().as_secs(), self.left.as_secs());
        eprintln!("[{}/{}, {spent} s, {left} s to go] {}", self.done, self.all, case.title());
        self.left = self.left.saturating_sub(case.takes(self.duration));
    }
}
