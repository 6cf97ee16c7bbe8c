//! `every-way`, asked for one thing after the other: for tests that look at what happens in between.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

use super::calls::CALLS;
use super::exchange::Client;
use super::launch::{Running, Surroundings};
use super::log::Log;
use super::session::Report;
use crate::{pause, DEADLINE};

/// How it is started.
#[derive(Debug)]
pub struct Start<'a> {
    /// The test program.
    pub program: &'a str,
    /// Built with failures.
    pub library: PathBuf,
    /// `LINGER_FAULTS`
    pub faults: &'a str,
    /// Those of the library.
    pub settings: &'a [(&'a str, &'a str)],
}

/// Running.
#[derive(Debug)]
pub struct Server {
    running: Running,
    address: SocketAddr,
    asked: usize,
    log: Log,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub fn start(start: Start) -> Result<Self> {
        let log = Log::new()?;
        let mut environment = vec![
            ("LINGER_FAULTS".to_owned(), start.faults.to_owned()),
            ("LINGER_FAULTS_LOG".to_owned(), log.path().display().to_string()),
        ];
        environment
            .extend(start.settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let surroundings =
            Surroundings { library: Some(start.library), environment, ..Surroundings::default() };
        let running = Running::start(start.program, &surroundings)?;
        let first = running.line(DEADLINE).context("it does not listen")?;
        let address = first.strip_prefix("listening ").context(first.clone())?.parse()?;
        Ok(Self { running, address, asked: 0, log })
    }

    /// It lets go of one more connection, and says so.
    ///
    /// # Errors
    ///
    /// If it does not come back from that, or complains.
    pub fn let_go(&mut self, way: &str, bytes: usize) -> Result<Client> {
        self.asked += 1;
        let client = Client::ask(self.address, way, self.asked, bytes)?;
        let answer = self.running.line(DEADLINE);
        let gone = format!("gone {}", self.asked);
        ensure!(answer.as_ref() == Some(&gone), "{way}: it did not come back: {answer:?}");
        Ok(client)
    }

    /// Waits until the first part of `LINGER_FAULTS` has done something.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn wait_until_met(&self) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        while self.log.part(0).1 == 0 {
            if Instant::now() >= until {
                bail!("the failure was never met: {:?}", self.log.calls());
            }
            pause(Duration::from_millis(5), "the drain thread is on its way");
        }
        Ok(())
    }

    /// How often it called this so far, outside of the drain threads.
    #[must_use]
    pub fn calls(&self, name: &str) -> u64 {
        let number = CALLS.iter().find(|call| call.name == name).map(|call| call.number);
        let calls = self.log.calls();
        calls.iter().find(|calls| Some(calls.number as i64) == number).map_or(0, |calls| calls.by_callers)
    }

    /// What it wrote to its standard error since this was last asked.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.running.errors()
    }

    /// Waits until nothing lingers.
    ///
    /// # Errors
    ///
    /// If something still does after a while.
    pub fn report(&self) -> Result<Report> {
        Client::request(self.address, "report")?;
        let line = self.running.line(DEADLINE).context("it is silent")?;
        Report::of(line.strip_prefix("report ").context(line.clone())?, &self.running)
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Has it return from main.
    ///
    /// # Errors
    ///
    /// If it does not end, or not well.
    pub fn end(mut self) -> Result<()> {
        Client::request(self.address, "end")?;
        match self.running.end(DEADLINE) {
            Ok(rest) if rest.is_empty() => Ok(()),
            other => bail!("it ended so: {other:?}"),
        }
    }
}
