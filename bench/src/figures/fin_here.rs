//! A connection that needs no lingering: the peer's FIN is here when it is closed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use anyhow::{ensure, Context, Result};
use linger_testbed::server::{find_program, Preload};

use super::{Bound, Figure, Finding, Plan};
use crate::commanded::Subject;
use crate::isolation::isolated;
use crate::process::ours;
use crate::samples::{turns, Series};

/// Fewer than the backlog has room for.
const AT_ONCE: usize = 1000;

/// The look at the state of the connection: one getsockopt.
const VERDICT: f64 = 1.0;

/// The figure.
pub const FIN_HERE: Figure = Figure {
    id: "fin-here",
    title: "accept(2) and close(2) of a connection whose peer has closed already",
    method: "\
A thousand peers connect and close; then the subject accepts and closes all of them. The sample is its thread's \
processor time per connection, over several thousand connections. System calls are counted under strace, as the \
difference between 300 connections and 100, so that none of the start is among them; *beyond the verdict* is what the \
shim adds, less the one getsockopt that asks for the state.",
    run: |plan, finding| {
        let contenders = [("accept+close", Preload::None), ("accept+close with shim", plan.shim())];
        for round in 0..plan.rounds {
            let mut sampled = [f64::NAN; 2];
            for turn in turns(round, contenders.len()) {
                sampled[turn] = isolated(|| sample(plan, &contenders[turn].1))?;
            }
            for ((name, _), sample) in contenders.iter().zip(sampled) {
                finding.add(name, "ns", sample);
            }
        }
        count_calls(plan, finding)?;
        finding.require_ratio("accept+close with shim", "accept+close", Bound::AtMost(1.10))
    },
};

fn come_and_go(server: SocketAddr, count: usize) -> Result<()> {
    for _ in 0..count {
        drop(TcpStream::connect(server).context("connect")?);
    }
    Ok(())
}

fn sample(plan: &Plan, preload: &Preload) -> Result<f64> {
    let mut subject = Subject::start(plan, preload, false)?;
    come_and_go(subject.address, 50)?;
    subject.process.tell("accept-and-close 50")?;
    let batches = plan.count(10, 1);
    let mut sum = 0.0;
    for _ in 0..batches {
        come_and_go(subject.address, AT_ONCE)?;
        sum += subject.process.ask::<f64>(&format!("accept-and-close {AT_ONCE}"))?;
    }
    Ok(sum / batches as f64)
}

fn count_calls(plan: &Plan, finding: &mut Finding) -> Result<()> {
    let mut extra = Vec::new();
    for (preload, sign) in [(plan.shim(), 1.0), (Preload::None, -1.0)] {
        let (few, many) = isolated(|| Ok((calls(&preload, 100)?, calls(&preload, 300)?)))?;
        let per_connection = |(name, many): (&String, &usize)| {
            let few = few.get(name).copied().unwrap_or(0);
            (name.clone(), (*many as f64 - few as f64) / 200.0)
        };
        // What happens less often than once in twenty connections is not of them: the subject's reading of commands.
        let per_connection: Vec<_> =
            many.iter().map(per_connection).filter(|(_, count)| count.abs() >= 0.05).collect();
        let sum: f64 = per_connection.iter().map(|(_, count)| count).sum();
        let words: Vec<_> = per_connection.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let who = if preload.is_shim() { "With" } else { "Without" };
        finding
            .remark(format!("{who} the shim a connection takes {sum} system calls: {}.", words.join(", ")));
        extra.push(sign * sum);
    }
    let beyond = Series {
        samples: vec![extra.iter().sum::<f64>() - VERDICT],
        ..Series::new("system calls that the shim adds, beyond the verdict", "")
    };
    finding.require_of(&beyond, Bound::AtMost(1.0));
    Ok(())
}

/// How often each system call was made by a subject that accepted and closed so many.
fn calls(preload: &Preload, count: usize) -> Result<BTreeMap<String, usize>> {
    let file = tempfile::NamedTempFile::new()?;
    let mut command = std::process::Command::new(find_program("strace", "strace")?);
    if let Preload::Shim(library) = preload {
        command.arg("-E").arg(format!("LD_PRELOAD={}", library.display()));
    }
    command.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(file.path());
    command.arg(ours("bench-subject")?.get_program()).arg("obey");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("strace")?;
    let mut commands = child.stdin.take().context("no standard input")?;
    let mut answers = BufReader::new(child.stdout.take().context("no standard output")?);
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let address = line.trim_end().strip_prefix("listening ").context("it does not listen")?.parse()?;
    come_and_go(address, count)?;
    writeln!(commands, "accept-and-close {count}")?;
    answers.read_line(&mut line)?;
    // The end of its input ends it, and strace with it.
    drop(commands);
    ensure!(child.wait()?.success(), "strace failed");
    let mut calls = BTreeMap::new();
    for line in std::fs::read_to_string(file.path())?.lines() {
        // `PID name(`; the other half of an interrupted line begins with `<...`.
        let text = line.split_once(' ').map_or(line, |(_, text)| text.trim_start());
        if let Some((name, _)) = text.split_once('(').filter(|(name, _)| !name.contains(' ')) {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    Ok(calls)
}
