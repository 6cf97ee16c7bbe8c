//! Peers that connect and say nothing: the worst there is for a lingering close. They are in processes of their own, for
//! a process may have no more than so many descriptors, and each process has an address of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{ensure, Result};
use linger_testbed::pause;
use linger_testbed::server::Preload;

use crate::commanded::{Commanded, Subject, Way};
use crate::process::ours;

/// Connections that the drain thread's queue takes without a thought, whatever else is in it.
const AT_ONCE: usize = 500;

/// The drain thread looks once in 3 ms while closes keep coming.
const TICKS: Duration = Duration::from_millis(7);

/// One process of them.
#[derive(Debug)]
pub struct Crowd {
    process: Commanded,
}

impl Crowd {
    /// With nobody in it yet; `number` tells its address from those of other crowds of the same server.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(number: usize) -> Result<Self> {
        let mut command = ours("bench-client")?;
        command.args(["crowd", "--source", &format!("127.0.{}.{}", 1 + number / 200, 1 + number % 200)]);
        Ok(Self { process: Commanded::start(command, &Preload::None, &[])? })
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        let said = self.process.tell(command)?;
        ensure!(said == "done", "{command}: {said}");
        Ok(())
    }

    /// `count` more connect. The server must accept them before its backlog is full.
    ///
    /// # Errors
    ///
    /// If one cannot.
    pub fn join(&mut self, server: SocketAddr, count: usize) -> Result<()> {
        self.tell(&format!("join {server} {count}"))
    }

    /// The last `count` close.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn leave(&mut self, count: usize) -> Result<()> {
        self.tell(&format!("leave {count}"))
    }

    /// The last `count` say 300 bytes.
    ///
    /// # Errors
    ///
    /// If one cannot.
    pub fn speak(&mut self, count: usize) -> Result<()> {
        self.tell(&format!("speak {count}"))
    }

    /// All of them read what they are told to its end.
    ///
    /// # Errors
    ///
    /// If it has ended, or somebody hears nothing.
    pub fn hear(&mut self) -> Result<crate::load::Tally> {
        self.process.ask("hear")
    }

    /// `count` more connect, and the subject lets go of them, no faster than its drain thread takes them over.
    ///
    /// # Errors
    ///
    /// If one cannot connect.
    pub fn linger(&mut self, subject: &mut Subject, way: Way, count: usize) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let now = left.min(AT_ONCE);
            self.join(subject.address, now)?;
            subject.accept(now)?;
            subject.let_go(way, now)?;
            pause(TICKS, "the drain thread does not tell that it has emptied its queue");
            left -= now;
        }
        Ok(())
    }
}
