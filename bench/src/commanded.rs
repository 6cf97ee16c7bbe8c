//! A process that is told what to do, a line at a time, and answers every line with one.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use linger_testbed::closer::Statistics;
use linger_testbed::server::Preload;
use linger_testbed::settings::PATIENT;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use serde::Deserialize;

use crate::figures::Plan;
use crate::process::{ours, Running};
use crate::processor::Family;

/// The longest that any command takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// The process; dropping it ends it.
#[derive(Debug)]
pub struct Commanded {
    running: Running,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Commanded {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(mut command: Command, preload: &Preload, linger: &[(&str, &str)]) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(command, preload, linger)?;
        let commands = running.leader.stdin.take().context("no standard input")?;
        let answers = BufReader::new(running.leader.stdout.take().context("no standard output")?);
        Ok(Self { running, commands, answers })
    }

    /// Tells it to do something, and says what it answers.
    ///
    /// # Errors
    ///
    /// If it has ended, or does not answer before the deadline.
    pub fn tell(&mut self, command: &str) -> Result<String> {
        self.begin(command)?;
        self.hear().with_context(|| format!("after {command}"))
    }

    /// Tells it to do something; its answer must be [heard](Commanded::hear) before the next command.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn begin(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").with_context(|| format!("tell it to {command}"))
    }

    /// The same, and parses the answer.
    ///
    /// # Errors
    ///
    /// As [`Commanded::tell`], and if the answer is another.
    pub fn ask<T: for<'a> Deserialize<'a>>(&mut self, command: &str) -> Result<T> {
        let said = self.tell(command)?;
        serde_json::from_str(&said).with_context(|| format!("to {command} it says {said:?}"))
    }

    /// Its next line.
    ///
    /// # Errors
    ///
    /// If it has ended, or says nothing before the deadline.
    pub fn hear(&mut self) -> Result<String> {
        let timeout = Timespec::try_from(DEADLINE)?;
        let mut fds = [PollFd::new(self.answers.get_ref(), PollFlags::IN)];
        if self.answers.buffer().is_empty() && poll(&mut fds, Some(&timeout))? == 0 {
            bail!("no answer");
        }
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "it has ended");
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Its processes.
    #[must_use]
    pub fn family(&self) -> Family {
        self.running.family()
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.leader.id()
    }
}

/// How `bench-subject obey` lets go of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `close(2)`, or what is preloaded in its place.
    Close,
    /// `shutdown(SHUT_WR)` first.
    ShutdownClose,
    /// liblinger's function.
    LingerClose,
}

impl Way {
    /// As the subject calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Way::Close => "close",
            Way::ShutdownClose => "shutdown-close",
            Way::LingerClose => "linger-close",
        }
    }
}

/// `bench-subject obey`: accepts connections and lets go of them when it is told to, and does nothing else.
#[derive(Debug)]
pub struct Subject {
    /// To be told.
    pub process: Commanded,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Subject {
    /// With the shim, without, or with the library loaded for its functions; silent peers linger for ever.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(plan: &Plan, preload: &Preload, library: bool) -> Result<Self> {
        let path = plan.library.to_str().context("the library's path is not UTF-8")?;
        let mut settings = PATIENT.to_vec();
        settings.push(("LINGER_MAX", "1000000"));
        if library {
            settings.push(("LINGER_LIB", path));
        }
        let mut command = ours("bench-subject")?;
        command.arg("obey");
        let mut process = Commanded::start(command, preload, &settings)?;
        let report = process.hear()?;
        let address = report.strip_prefix("listening ").context("it does not listen")?.parse()?;
        Ok(Self { process, address })
    }

    /// Accepts so many.
    ///
    /// # Errors
    ///
    /// If it cannot.
    pub fn accept(&mut self, count: usize) -> Result<()> {
        let said = self.process.tell(&format!("accept {count}"))?;
        ensure!(said == "done", "it accepts: {said}");
        Ok(())
    }

    /// Lets go of the `count` connections accepted last, and says how many nanoseconds each call took.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub fn let_go(&mut self, way: Way, count: usize) -> Result<Vec<f64>> {
        self.process.ask(&format!("{} {count}", way.word()))
    }

    /// How often its thread went to sleep in the calls of the last [`Subject::let_go`].
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn sleeps(&mut self) -> Result<u64> {
        self.process.ask("sleeps")
    }

    /// What `linger_stats()` says; nothing where there is no such function.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn statistics(&mut self) -> Result<Option<Statistics>> {
        self.process.ask("stats")
    }
}
