//! Those who attack, in processes of their own: a process may have no more than so many descriptors.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{set_parent_process_death_signal, Signal};

use super::attackers::{Attack, Homes, ALL_THERE};
use crate::pause;

/// How long a crowd may take to come.
const ALL_COME: Duration = Duration::from_secs(180);

/// Who attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Force {
    /// What they do.
    pub attack: Attack,
    /// In how many processes.
    pub processes: u8,
    /// How many peers each has; of the silent ones, how many come a second.
    pub peers: u32,
    /// Where the peers of one process come from.
    pub homes: Homes,
}

impl Force {
    /// Requests that they can make at the same time. Those who come at a rate catch up where they were held up.
    #[must_use]
    pub fn most_requests(&self) -> u64 {
        let processes = u64::from(self.processes);
        match self.attack {
            Attack::Crowd => processes,
            Attack::Trickle | Attack::LineRate => processes * u64::from(self.peers),
            Attack::Silence => 2 * processes * u64::from(self.peers),
        }
    }
}

/// Their processes; dropping them ends them.
pub(super) struct Attackers {
    force: Force,
    children: Vec<Child>,
}

impl Attackers {
    /// `executable` calls [`super::attack`] when its first argument is `attacker`.
    pub(super) fn start(executable: &Path, force: Force, server: SocketAddr) -> Result<Self> {
        let mut attackers = Self { force, children: Vec::new() };
        let name = |value: Option<clap::builder::PossibleValue>| -> Result<String> {
            Ok(value.context("every value has a name")?.get_name().to_owned())
        };
        for number in 1..=force.processes {
            let mut command = Command::new(executable);
            command.args(["attacker", "--attack", &name(force.attack.to_possible_value())?]);
            command.args(["--server", &server.to_string(), "--peers", &force.peers.to_string()]);
            command.args(["--network", &number.to_string()]);
            command.args(["--homes", &name(force.homes.to_possible_value())?]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).env_remove("LD_PRELOAD");
            // SAFETY: one system call between fork and exec, nothing allocated.
            unsafe {
                command.pre_exec(|| Ok::<_, io::Error>(set_parent_process_death_signal(Some(Signal::KILL))?));
            }
            let child = command.spawn().with_context(|| format!("start {}", executable.display()))?;
            attackers.children.push(child);
        }
        Ok(attackers)
    }

    /// Waits until they have come: a crowd says so, of the others it is a matter of time.
    pub(super) fn come(&mut self, approach: Duration) -> Result<()> {
        if self.force.attack != Attack::Crowd {
            pause(approach, "an attack takes time to build up");
            return Ok(());
        }
        let started = Instant::now();
        for child in &mut self.children {
            let stdout = child.stdout.take().context("no standard output")?;
            let left = Timespec::try_from(ALL_COME.saturating_sub(started.elapsed()))?;
            let ready = poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left))?;
            ensure!(ready > 0, "the crowd has not come after {ALL_COME:?}");
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line)?;
            ensure!(line.trim_end() == ALL_THERE, "some of the crowd could not come: see above");
        }
        Ok(())
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        // First all, for those that are left would take the places.
        for attacker in &mut self.children {
            let _ = attacker.kill();
        }
        for attacker in &mut self.children {
            let _ = attacker.wait();
        }
    }
}
