//! A real server program, started with a configuration of its own in a directory of its own.
//!
//! # Invariants
//!
//! * [`Server::start`] returns when the server listens, or fails with what its log says.
//! * Dropping a [`Server`] ends it and everything it started: they are one process group, and its
//!   leader is not reaped before the group is gone, so that the number cannot mean anybody else.
//! * Its directory is deleted unless a test is failing; then the last lines of its logs are printed.

mod installed;
mod preload;
mod programs;

pub use installed::find_program;
pub use preload::Preload;
pub use programs::{Program, Recipe};

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use programs::Listening;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{
    kill_process_group, pidfd_open, set_parent_process_death_signal, Pid, PidfdFlags, Signal,
};
use tempfile::TempDir;

use crate::anatomy::Anatomy;
use crate::counters::Counters;
use crate::{pattern, scenario, sockets, within_reach, DEADLINE};

/// How long a server may take to end itself before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// Between two attempts to connect to a server that is starting.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// How much of each log a failure shows.
const LAST_LINES: usize = 30;

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    group: Group,
    dir: Option<TempDir>,
}

impl Server {
    /// Starts the program and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it is not installed, does not start, or does not listen before [`DEADLINE`].
    pub fn start(program: &Program, preload: &Preload) -> Result<Self> {
        Self::start_at(program, preload, Ipv4Addr::LOCALHOST)
    }

    /// The same on another address of this namespace.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start_at(program: &Program, preload: &Preload, host: Ipv4Addr) -> Result<Self> {
        Self::launch(program, preload, host, &[])
    }

    /// The same with settings of the shim, `LINGER_*`.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start_with(program: &Program, preload: &Preload, settings: &[(&str, &str)]) -> Result<Self> {
        Self::launch(program, preload, Ipv4Addr::LOCALHOST, settings)
    }

    fn launch(
        program: &Program,
        preload: &Preload,
        host: Ipv4Addr,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let dir = make_directory()?;
        let mut group = None;
        let address = launch(program, preload, dir.path(), host, settings, &mut group)
            .with_context(|| format!("{} did not start\n{}", program.name(), logs(dir.path())))?;
        let group = group.context("nothing was launched")?;
        Ok(Self { address, group, dir: Some(dir) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its first process is made of.
    #[must_use]
    pub fn anatomy(&self) -> Anatomy {
        Anatomy::of(self.group.leader.id())
    }

    /// What it and every process it started are made of, those still there.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn anatomies(&self) -> Result<Vec<Anatomy>> {
        self.anatomy().family()
    }

    /// Its own directory, `htdocs` and the log files among others.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new("."), TempDir::path)
    }

    /// The last lines of its log files, for messages.
    #[must_use]
    pub fn logs(&self) -> String {
        logs(self.directory())
    }

    /// Lets clients play against the server, waits until all of its connections are over, and says what
    /// the kernel counted meanwhile.
    ///
    /// # Errors
    ///
    /// If playing fails, or a connection does not end.
    pub fn count_resets<T>(&self, play: impl FnOnce(SocketAddr) -> Result<T>) -> Result<(T, Counters)> {
        let before = Counters::read()?;
        let outcome = play(self.address)?;
        sockets::settle(self.address.port())?;
        Ok((outcome, before.since()?))
    }
}

impl Drop for Server {
    /// # Panics
    ///
    /// If one of its processes has died of a signal while it ran: a server that starts another one in its place may pass
    /// every other test.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let died: Vec<_> = log_files(self.directory()).filter(|(_, log)| is_about_a_death(log)).collect();
            assert!(died.is_empty(), "one of its processes died\n{}", logs(self.directory()));
            return;
        }
        if let Some(dir) = self.dir.take() {
            let kept = dir.keep();
            eprintln!("the server's files are in {}\n{}", kept.display(), logs(&kept));
        }
    }
}

/// A process group of ours: the program and its children.
#[derive(Debug)]
struct Group {
    leader: Child,
    /// Kept open: a server that prints something later must not die of SIGPIPE.
    stdout: Option<ChildStdout>,
    pidfd: OwnedFd,
}

impl Group {
    fn start(mut command: Command) -> Result<Self> {
        // SAFETY: one system call between fork and exec, nothing allocated. The signal comes when the
        // thread that starts the server ends, which holds the server, so only if we are killed.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        let mut leader = command.process_group(0).spawn().context("spawn")?;
        let pid = Pid::from_child(&leader);
        let stdout = leader.stdout.take();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
        Ok(Self { leader, stdout, pidfd })
    }

    /// Waits for the leader to end; leaves it to be reaped.
    fn ends_within(&self, time: Duration) -> bool {
        wait_readable(&self.pidfd, time).unwrap_or(true)
    }

    fn signal(&self, signal: Signal) {
        // An error means that it is gone already.
        let _ = kill_process_group(Pid::from_child(&self.leader), signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        self.ends_within(GRACE);
        self.signal(Signal::KILL);
        let _ = self.leader.wait();
    }
}

fn launch(
    program: &Program,
    preload: &Preload,
    dir: &Path,
    host: Ipv4Addr,
    settings: &[(&str, &str)],
    group: &mut Option<Group>,
) -> Result<SocketAddr> {
    let (mut command, listening) = program.prepare(dir, host)?;
    preload.apply(&mut command, dir)?;
    command.envs(settings.iter().copied());
    command.stdin(Stdio::null()).stderr(File::create(dir.join("stderr.log"))?);
    match listening {
        Listening::Reported => {
            let started = group.insert(Group::start({
                command.stdout(Stdio::piped());
                command
            })?);
            read_report(started)
        }
        Listening::At(address) => {
            let started = group.insert(Group::start({
                command.stdout(Stdio::null());
                command
            })?);
            wait_until_listening(started, address)?;
            Ok(address)
        }
    }
}

/// Reads `listening ADDRESS`.
fn read_report(group: &mut Group) -> Result<SocketAddr> {
    let stdout = group.stdout.as_mut().context("no stdout")?;
    let started = Instant::now();
    let mut report = Vec::new();
    while report.last() != Some(&b'\n') {
        let left = DEADLINE.saturating_sub(started.elapsed());
        if !wait_readable(&*stdout, left)? {
            bail!("it says nothing");
        }
        let mut byte = [0];
        if stdout.read(&mut byte)? == 0 {
            bail!("it ended at once");
        }
        report.extend(byte);
    }
    let report = String::from_utf8_lossy(&report);
    let address = report.trim().strip_prefix("listening ").unwrap_or_default();
    address.parse().with_context(|| format!("it says {report:?}"))
}

fn wait_until_listening(group: &Group, address: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if group.ends_within(TRY_AGAIN) {
            bail!("it ended at once");
        }
    }
    bail!("it does not listen on {address}")
}

fn wait_readable(fd: impl AsFd, time: Duration) -> Result<bool> {
    let timeout = Timespec::try_from(time)?;
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => Ok(false),
        ready => Ok(ready? > 0),
    }
}

/// With the documents that [`scenario`] asks for, readable for a server that is not root any more.
fn make_directory() -> Result<TempDir> {
    let dir = within_reach::directory()?;
    let documents = dir.path().join("htdocs");
    fs::create_dir(&documents)?;
    for body in scenario::BODIES {
        fs::write(documents.join(body.to_string()), pattern::bytes(body))?;
    }
    Ok(dir)
}

/// What nginx and PHP, Apache, PostgreSQL, gunicorn, and a shell or HAProxy write when one of theirs died of a signal.
fn is_about_a_death(log: &str) -> bool {
    const WORDS: [&str; 5] =
        ["exited on signal", "exit signal ", "terminated by signal", "was sent SIG", "Segmentation fault"];
    WORDS.iter().any(|words| log.contains(words))
}

/// The last lines of the log files.
fn logs(dir: &Path) -> String {
    let mut text = String::new();
    for (name, log) in log_files(dir) {
        let skipped = log.lines().count().saturating_sub(LAST_LINES);
        for line in log.lines().skip(skipped) {
            text.push_str(&format!("{name}: {line}\n"));
        }
    }
    text
}

/// The names of the log files, and what is in them.
fn log_files(dir: &Path) -> impl Iterator<Item = (String, String)> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log")).map(|file| {
        let log = fs::read(file.path()).unwrap_or_default();
        (file.file_name().to_string_lossy().into_owned(), String::from_utf8_lossy(&log).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_of_a_signal_is_known_from_the_log() {
        for death in [
            "[alert] 9481#9481: worker process 9482 exited on signal 11 (core dumped)",
            "WARNING: [pool www] child 812 exited on signal 9 (SIGKILL) after 1.2 seconds from start",
            "[core:notice] [pid 1] AH00052: child pid 77 exit signal Segmentation fault (11)",
            "LOG:  server process (PID 77) was terminated by signal 11: Segmentation fault",
            "[ERROR] Worker (pid:77) was sent SIGSEGV!",
        ] {
            assert!(is_about_a_death(&format!("started\n{death}\ngoes on\n")), "{death}");
        }
        for other in
            ["", "[notice] signal 15 (SIGTERM) received, exiting", "worker process 77 exited with code 0"]
        {
            assert!(!is_about_a_death(other), "{other}");
        }
    }
}
