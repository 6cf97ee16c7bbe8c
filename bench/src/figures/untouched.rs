//! `close(2)` of what never lingers.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use linger_testbed::server::Preload;

use super::{Bound, Figure, Finding, Plan};
use crate::isolation::isolated;
use crate::process::{ours, Running};
use crate::samples::{quantile, turns};

/// What is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// `/dev/null`.
    File,
    /// Both ends of a pipe.
    Pipe,
    /// Both ends of a socketpair.
    UnixSocket,
    /// A connection that the program itself opened, whose peer has closed.
    Client,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Pipe => "pipe",
            Kind::UnixSocket => "Unix socket",
            Kind::Client => "client socket",
        }
    }
}

/// Processes that are averaged for a sample: where the loader puts things differs from one to the next.
const PROCESSES: usize = 8;

/// The figure.
pub const UNTOUCHED: Figure = Figure {
    id: "untouched",
    title: "close(2) of what never lingers: a file, a pipe, a Unix socket, a client's connection",
    method: "\
A bare program opens 256 of a kind and closes them all between two looks at its thread's processor clock, time and \
again; its sample is the batch at the first quartile, divided by 256, for interrupts and cold caches only ever add. A \
round's sample is the mean of eight processes, with and without the shim in turn. The client's connections are closed \
after their peers have closed.",
    run: |plan, finding| {
        for kind in Kind::value_variants() {
            isolated(|| measure(plan, finding, *kind)).with_context(|| kind.name())?;
        }
        Ok(())
    },
};

fn measure(plan: &Plan, finding: &mut Finding, kind: Kind) -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    // Ends with the process: nothing else would end its wait.
    std::thread::spawn(move || server.incoming().for_each(drop));
    let contenders =
        [(kind.name().to_owned(), Preload::None), (format!("{} with shim", kind.name()), plan.shim())];
    let processes = plan.count(PROCESSES, 1);
    for round in 0..plan.rounds {
        let mut sums = [0.0; 2];
        for process in 0..processes {
            for turn in turns(round + process, contenders.len()) {
                sums[turn] += sample(plan, kind, address, &contenders[turn].1)?;
            }
        }
        for ((name, _), sum) in contenders.iter().zip(sums) {
            finding.add(name, "ns", sum / processes as f64);
        }
    }
    let [(plain, _), (with, _)] = &contenders;
    let more = finding.series(with)?.less(finding.series(plain)?);
    finding.require_of(&more, Bound::AtMost(10.0));
    finding.require_ratio(with, plain, Bound::AtMost(1.03))
}

fn sample(plan: &Plan, kind: Kind, address: SocketAddr, preload: &Preload) -> Result<f64> {
    let word = kind.to_possible_value().context("every kind has a name")?;
    let batches = plan.count(if kind == Kind::Client { 24 } else { 200 }, 5).to_string();
    let mut command = ours("bench-subject")?;
    command.args(["untouched", "--kind", word.get_name(), "--address", &address.to_string()]);
    command.args(["--batches", &batches, "--each", "256"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = Running::start(command, preload, &[])?;
    let mut said = String::new();
    running.leader.stdout.take().context("no output")?.read_to_string(&mut said)?;
    ensure!(running.leader.wait()?.success(), "bench-subject failed");
    let mut times: Vec<f64> = serde_json::from_str(&said)?;
    times.sort_by(f64::total_cmp);
    Ok(quantile(&times, 0.25))
}
