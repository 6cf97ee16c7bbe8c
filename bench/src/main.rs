//! `linger-bench`: measures every figure, interleaved, and writes the report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{bail, Context, Result};
use clap::Parser;
use linger_bench::commanded::{Subject, Way};
use linger_bench::crowd::Crowd;
use linger_bench::figures::{Figure, Finding, Plan, FIGURES};
use linger_bench::isolation::isolated;
use linger_bench::machine::Machine;
use linger_bench::report::{micro, Results};
use linger_testbed::netns;
use linger_testbed::server::Preload;

const EXPLANATION: &str = "\
What is measured is the release build of liblinger.so, in front of real servers and of bare programs, beside the same
programs without it and beside servers that linger themselves. Contenders take turns in every round, and each round
begins with another one. A figure is the median over the rounds; a ratio is the median of the rounds' ratios.

Each sample has a network namespace of its own: run it as root, or where user namespaces are allowed. It needs the
servers that scripts/install-tools installs. Progress goes to stderr. Nothing else should run meanwhile.

Writes to DIR:
  REPORT.md      a table of targets, and a section for each figure, with what notes/FIGURE.md says
  results.json   every sample of every series
  plots/*.svg    a plot for each figure

With --only the other figures of an earlier run in DIR are kept, each with the day it was measured.

Examples:
  linger-bench --list
  linger-bench --only nginx-close --rounds 15
  linger-bench --only nginx-close echo --library /tmp/other/liblinger.so --out /tmp/other-results
  linger-bench --only nginx-close --library /tmp/empty.so --control --out /tmp/control
  linger-bench --report          after notes were written: no measurement

Exit status: 0, whatever the figures are, also where targets are not reached; 1 if something could not be measured.";

/// Measures what liblinger costs, beside the programs as they are and beside its peers.
#[derive(Debug, Parser)]
#[command(name = "linger-bench", version, after_long_help = EXPLANATION)]
struct Args {
    /// How often each contender takes its turn
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// A smoke run: one round of everything, small. The figures mean nothing
    #[arg(long)]
    quick: bool,

    /// Measure these figures alone
    #[arg(long, value_name = "FIGURE", num_args = 1..)]
    only: Vec<String>,

    /// Name the figures and end
    #[arg(long)]
    list: bool,

    /// Make the report again from results.json, without a measurement
    #[arg(long)]
    report: bool,

    /// Where the results go [default: bench; with --quick: target/bench-quick]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// The liblinger.so to measure [default: $LINGER_LIB, or the one that was built here]
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,

    /// Do not ask whether that library lingers: a control with one that does nothing shows the spread
    #[arg(long, requires = "library")]
    control: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("linger-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.list {
        FIGURES.iter().for_each(|figure| println!("{:<18} {}", figure.id, figure.title));
        return Ok(());
    }
    let chosen = choose(&args.only)?;
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = args.out.clone().unwrap_or_else(|| match args.quick {
        true => package.join("../target/bench-quick"),
        false => package.to_owned(),
    });
    let notes = package.join("notes");
    // A run of everything needs nothing of an earlier one.
    let earlier = if args.report || !args.only.is_empty() { Results::read(&out)? } else { None };
    if args.report {
        return earlier.context("there is no results.json yet: measure first")?.write(&out, &notes);
    }
    let shim = match &args.library {
        Some(path) => Preload::shim_at(path)?,
        None => Preload::shim()?,
    };
    let Preload::Shim(library) = shim else { bail!("there is no library to measure") };
    let identity = identify(&library)?;
    // Without root this runs all of it again where namespaces may be made.
    netns::enter_or_start_again()?;
    let rounds = if args.quick { 1 } else { args.rounds as usize };
    let plan = Plan { rounds, quick: args.quick, library };
    if !args.control {
        isolated(|| see_it_linger(&plan))?;
    }
    let machine = Machine::here();
    let mut results =
        earlier.unwrap_or(Results { machine: machine.clone(), findings: Vec::new(), parts: Vec::new() });
    results.machine = machine;
    let parts = micro::read(&package.join("../target/criterion"))?;
    if !parts.is_empty() {
        results.parts = parts;
    }
    for (number, figure) in chosen.iter().enumerate() {
        let finding = measure(&plan, figure, number + 1, chosen.len(), &identity)?;
        results.take(finding);
        // After each of them, so that what was measured is there whatever happens next.
        results.write(&out, &notes)?;
    }
    eprintln!("the report is {}", out.join("REPORT.md").display());
    Ok(())
}

/// What does not linger costs nothing, and would reach every target.
fn see_it_linger(plan: &Plan) -> Result<()> {
    let ways = [(plan.shim(), false, Way::Close), (Preload::None, true, Way::LingerClose)];
    for (preload, library, way) in ways {
        let mut subject = Subject::start(plan, &preload, library)?;
        Crowd::start(0)?.linger(&mut subject, way, 1)?;
        match subject.statistics()? {
            Some(statistics) if statistics.lingered == 1 => {}
            said => bail!(
                "{} does not linger ({said:?}): give --library a liblinger.so, or --control for one that does nothing",
                plan.library.display()
            ),
        }
    }
    Ok(())
}

fn choose(only: &[String]) -> Result<Vec<&'static Figure>> {
    let unknown = only.iter().find(|id| !FIGURES.iter().any(|figure| figure.id == id.as_str()));
    if let Some(id) = unknown {
        bail!("there is no figure {id}: linger-bench --list names them");
    }
    Ok(FIGURES.iter().filter(|figure| only.is_empty() || only.iter().any(|id| id == figure.id)).collect())
}

fn measure(plan: &Plan, figure: &Figure, number: usize, of: usize, library: &str) -> Result<Finding> {
    eprintln!("[{number}/{of}] {}", figure.title);
    let started = Instant::now();
    let mut finding =
        Finding { id: figure.id.to_owned(), rounds: plan.rounds, quick: plan.quick, ..Finding::default() };
    (figure.run)(plan, &mut finding).with_context(|| figure.id)?;
    finding.library = library.to_owned();
    finding.measured_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    for target in &finding.targets {
        let reached = if target.reached { "reached" } else { "not reached" };
        eprintln!(
            "    {}: {:.3} {} ({}: {reached})",
            target.subject, target.measured.median, target.unit, target.must
        );
    }
    eprintln!("    {:.0} s", started.elapsed().as_secs_f64());
    Ok(finding)
}

/// Version and build, so that nobody takes the figures of one build for another's.
fn identify(library: &Path) -> Result<String> {
    let bytes = std::fs::read(library).with_context(|| format!("read {}", library.display()))?;
    // FNV-1a: to tell builds apart, not to keep anybody out.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(format!("liblinger.so {} (build {:08x})", env!("CARGO_PKG_VERSION"), hash >> 32))
}
