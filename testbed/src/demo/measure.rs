//! Plays every scenario against every server, without the shim and with it.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, Result};
use serde::Serialize;

use super::arguments::Arguments;
use crate::buggy::SoLinger;
use crate::counters::Counters;
use crate::scenario::Scenario;
use crate::server::{Preload, Program, Server};

/// What came of one scenario against one server.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) server: &'static str,
    pub(crate) shim: bool,
    pub(crate) connections: u32,
    pub(crate) promised: usize,
    pub(crate) complete: usize,
    pub(crate) bytes_lost: u64,
    /// Connections on which the client saw ECONNRESET or EPIPE.
    pub(crate) resets_seen: usize,
    #[serde(flatten)]
    pub(crate) kernel: Counters,
}

/// A server that is not on this machine.
#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) server: &'static str,
    /// With the command that installs it.
    pub(crate) reason: String,
}

pub(crate) fn everything(
    args: &Arguments,
    shim: &Preload,
    server: &[OsString],
    interrupted: &AtomicBool,
) -> Result<(Vec<Row>, Vec<Missing>)> {
    let ours = Program::Buggy { command: server.to_vec(), so_linger: SoLinger::Unset };
    let mut programs = Vec::new();
    let mut missing = Vec::new();
    for program in [ours, Program::Nginx, Program::Lighttpd] {
        match program.find() {
            Ok(_) => programs.push(program),
            Err(why) => missing.push(Missing { server: program.name(), reason: why.to_string() }),
        }
    }
    let mut progress = Progress::new(args.scenarios().len() * programs.len() * 2);
    let mut rows = Vec::new();
    for scenario in args.scenarios() {
        for program in &programs {
            for preload in [&Preload::None, shim] {
                let play = Play { scenario: *scenario, program, preload };
                progress.step(&play);
                rows.push(play.repeat(args.repeat, interrupted)?);
            }
        }
    }
    Ok((rows, missing))
}

/// One cell of the demonstration, to be played some times over.
struct Play<'a> {
    scenario: Scenario,
    program: &'a Program,
    preload: &'a Preload,
}

impl Play<'_> {
    fn repeat(&self, connections: u32, interrupted: &AtomicBool) -> Result<Row> {
        let server = Server::start(self.program, self.preload)?;
        let mut row = self.empty_row(connections);
        let ((), kernel) = server.count_resets(|address| {
            for _ in 0..connections {
                if interrupted.load(Ordering::Relaxed) {
                    bail!("interrupted");
                }
                let exchange = self.scenario.play(address)?;
                row.promised += exchange.answers.len();
                row.complete += exchange.complete;
                row.bytes_lost += exchange.bytes_lost();
                row.resets_seen += usize::from(exchange.saw_reset());
            }
            Ok(())
        })?;
        row.kernel = kernel;
        Ok(row)
    }

    fn empty_row(&self, connections: u32) -> Row {
        Row {
            scenario: self.scenario,
            server: self.program.name(),
            shim: self.preload.is_shim(),
            connections,
            promised: 0,
            complete: 0,
            bytes_lost: 0,
            resets_seen: 0,
            kernel: Counters::default(),
        }
    }
}

/// One line on a terminal, rewritten; nothing anywhere else.
struct Progress {
    done: usize,
    of: usize,
    terminal: bool,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self { done: 0, of, terminal: io::stderr().is_terminal() }
    }

    fn step(&mut self, play: &Play<'_>) {
        self.done += 1;
        if self.terminal {
            let with = if play.preload.is_shim() { "with" } else { "without" };
            let Play { scenario, program, .. } = play;
            let (done, of, server) = (self.done, self.of, program.name());
            // \x1b[K clears what the last, longer line left.
            eprint!("\r\x1b[K[{done}/{of}] {scenario:?} against {server}, {with} the shim");
            let _ = io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
