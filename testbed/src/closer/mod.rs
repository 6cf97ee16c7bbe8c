//! A program that accepts connections and closes them when it is told to, and does nothing else: what it looks like
//! while they linger is due to the lingering alone.
//!
//! # Invariants
//!
//! * It answers every command with one line, so that the next thing looked at is its effect.
//! * Dropping a [`Closer`] ends it.

mod program;

pub use program::run;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{bail, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{set_parent_process_death_signal, Signal};
use serde::{Deserialize, Serialize};

use crate::anatomy::Anatomy;
use crate::crowd::Crowd;
pub use crate::interface::Statistics;
use crate::server::Preload;
use crate::{settings, DEADLINE};

/// So many closes fit into the drain thread's queue, whatever it is doing; with more at a time the rest is closed
/// without waiting, as promised.
pub const AT_ONCE: usize = 100;

/// How the program lets go of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// libc's `close`, or what is preloaded in its place.
    Close,
    /// liblinger's function.
    LingerClose,
}

impl Way {
    fn command(self) -> &'static str {
        match self {
            Way::Close => "close",
            Way::LingerClose => "linger_close",
        }
    }

    fn timed(self) -> &'static str {
        match self {
            Way::Close => "time",
            Way::LingerClose => "time_linger_close",
        }
    }
}

/// How long calls took.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Each of them.
    pub calls_ns: Vec<u64>,
    /// Processor time of the calling thread, for all of them together.
    pub caller_processor_ns: u64,
}

/// How the program is started.
#[derive(Debug)]
pub struct Start<'a> {
    /// This program, or one that calls [`run`] when its first argument is `closer`.
    pub executable: &'a Path,
    /// With the shim, or without.
    pub preload: Preload,
    /// A library that it loads for its functions.
    pub library: Option<&'a Path>,
    /// The `LINGER_*` variables.
    pub settings: &'a [(&'a str, &'a str)],
    /// Where its standard error goes.
    pub stderr: Stdio,
}

impl<'a> Start<'a> {
    /// Its messages shown, nothing set that would end lingering soon, nothing loaded.
    #[must_use]
    pub fn new(executable: &'a str, preload: Preload) -> Self {
        let executable = Path::new(executable);
        Self { executable, preload, library: None, settings: &settings::PATIENT, stderr: Stdio::inherit() }
    }
}

/// The program, running.
#[derive(Debug)]
pub struct Closer {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Closer {
    /// Starts it; it listens when this returns.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(start: Start<'_>) -> Result<Self> {
        let mut command = Command::new(start.executable);
        command.arg("closer").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(start.stderr);
        if let Some(library) = start.library {
            command.arg("--library").arg(library);
        }
        settings::apply(&mut command, &start.preload, start.settings);
        // SAFETY: one system call between fork and exec, nothing allocated.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut child = command.spawn().with_context(|| format!("start {}", start.executable.display()))?;
        let commands = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        let address = SocketAddr::from(([0; 4], 0));
        let mut closer = Self { child, commands, answers, address };
        let report = closer.hear()?;
        let address = report.strip_prefix("listening ").context("it does not listen")?;
        closer.address = address.parse()?;
        Ok(closer)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is made of.
    #[must_use]
    pub fn anatomy(&self) -> Anatomy {
        Anatomy::of(self.child.id())
    }

    /// Tells it to do something, and says what it answers.
    ///
    /// # Errors
    ///
    /// If it has ended, or does not answer before [`DEADLINE`].
    pub fn tell(&mut self, command: &str) -> Result<String> {
        writeln!(self.commands, "{command}").with_context(|| format!("tell it to {command}"))?;
        self.hear().with_context(|| format!("after {command}"))
    }

    fn hear(&mut self) -> Result<String> {
        let timeout = Timespec::try_from(DEADLINE)?;
        let mut fds = [PollFd::new(self.answers.get_ref(), PollFlags::IN)];
        if self.answers.buffer().is_empty() && poll(&mut fds, Some(&timeout))? == 0 {
            bail!("no answer");
        }
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("it has ended");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Lets `count` peers of `crowd` connect and be accepted.
    ///
    /// # Errors
    ///
    /// If one cannot.
    pub fn accept(&mut self, crowd: &mut Crowd, count: usize) -> Result<()> {
        let mut left = count;
        while left > 0 {
            // Fewer than the backlog has room for.
            let now = left.min(AT_ONCE);
            crowd.join(now)?;
            self.tell(&format!("accept {now}"))?;
            left -= now;
        }
        Ok(())
    }

    /// Lets go of the `count` connections accepted last, at once.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub fn let_go(&mut self, way: Way, count: usize) -> Result<()> {
        let failed = self.tell(&format!("{} {count}", way.command()))?;
        if failed != "0" {
            bail!("{failed} of {count} calls failed");
        }
        Ok(())
    }

    /// Lets go of `count` connections, no faster than the drain thread can take them over; `held` is how many it has
    /// already.
    ///
    /// # Errors
    ///
    /// If a call fails, or they are not taken over.
    pub fn let_linger(&mut self, way: Way, count: usize, held: usize) -> Result<()> {
        let mut done = 0;
        while done < count {
            let now = AT_ONCE.min(count - done);
            self.let_go(way, now)?;
            done += now;
            self.anatomy().wait_until_drain_thread_holds(held + done)?;
        }
        Ok(())
    }

    /// Lets go of `count` connections, and says how long each call took.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub fn time(&mut self, way: Way, count: usize) -> Result<Timing> {
        Ok(serde_json::from_str(&self.tell(&format!("{} {count}", way.timed()))?)?)
    }

    /// Processor time of the whole program until now, in nanoseconds.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn processor_ns(&mut self) -> Result<u64> {
        Ok(self.tell("processor")?.parse()?)
    }

    /// What `linger_pending()` says; `None` where there is no such function.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn pending(&mut self) -> Result<Option<usize>> {
        match self.tell("pending")?.as_str() {
            "absent" => Ok(None),
            number => Ok(Some(number.parse()?)),
        }
    }

    /// Waits until `linger_pending()` says so many.
    ///
    /// # Errors
    ///
    /// If it does not before [`DEADLINE`].
    pub fn wait_until_pending(&mut self, count: usize) -> Result<()> {
        let started = std::time::Instant::now();
        loop {
            let pending = self.pending()?;
            if pending == Some(count) {
                return Ok(());
            }
            if started.elapsed() > DEADLINE {
                bail!("{pending:?} connections linger, not {count}");
            }
            crate::pause(std::time::Duration::from_millis(5), "linger_pending() is asked, it does not tell");
        }
    }

    /// What `linger_stats()` says.
    ///
    /// # Errors
    ///
    /// If there is no such function.
    pub fn statistics(&mut self) -> Result<Statistics> {
        Ok(serde_json::from_str(&self.tell("stats")?)?)
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        // Not by the end of its input: leaving takes as long as its connections linger.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
