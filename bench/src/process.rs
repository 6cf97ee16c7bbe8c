//! Processes that the driver starts: with liblinger in front of them or without, and ended with the value that
//! stands for them.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use linger_testbed::server::Preload;
use linger_testbed::{settings, DEADLINE};
use rustix::process::{kill_process_group, set_parent_process_death_signal, Pid, Signal};
use tempfile::TempDir;

use crate::processor::Family;

/// A program of this package, beside the one that runs.
///
/// # Errors
///
/// If it has not been built.
pub fn ours(name: &str) -> Result<Command> {
    let here = std::env::current_exe()?;
    // Tests run from a directory below that of the programs.
    let found = here.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.exists());
    let path = found.with_context(|| format!("{name} is missing: cargo build --release -p linger-bench"))?;
    Ok(Command::new(path))
}

/// A process group of ours; dropping it ends it.
#[derive(Debug)]
pub struct Running {
    /// Its leader.
    pub leader: Child,
}

impl Running {
    /// Starts it with exactly these settings of liblinger.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(mut command: Command, preload: &Preload, linger: &[(&str, &str)]) -> Result<Self> {
        settings::apply(&mut command, preload, linger);
        // SAFETY: one system call between fork and exec, nothing allocated. The signal comes when the thread that
        // starts it ends, which holds it, so only if we are killed.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let leader = command.process_group(0).spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { leader })
    }

    /// Its processes.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.leader.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed at once: an orderly end of what is measured would only cost time. The leader is not reaped before,
        // so its number cannot mean anybody else.
        let _ = kill_process_group(Pid::from_child(&self.leader), Signal::KILL);
        let _ = self.leader.wait();
    }
}

/// A server program with a directory of its own.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    running: Running,
    _dir: TempDir,
}

impl Server {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it does not listen before the deadline; shows its messages.
    pub fn start(
        prepare: impl FnOnce(&Path, SocketAddr) -> Result<Command>,
        preload: &Preload,
        linger: &[(&str, &str)],
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("linger-bench-").tempdir()?;
        open_to_everybody(dir.path())?;
        let address = free_address()?;
        let mut command = prepare(dir.path(), address)?;
        let log = dir.path().join("stderr.log");
        command
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let mut running = Running::start(command, preload, linger)?;
        wait_until_listening(&mut running, address)
            .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { address, running, _dir: dir })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processes.
    #[must_use]
    pub fn family(&self) -> Family {
        self.running.family()
    }

    /// The number of its first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.leader.id()
    }
}

/// Servers that root starts become another user.
fn open_to_everybody(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?)
}

/// In a private namespace nobody else can take the port before the server does.
fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0").context("find a free port")?.local_addr()?)
}

fn wait_until_listening(running: &mut Running, address: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if let Some(status) = running.leader.try_wait()? {
            bail!("it ended at once: {status} {}", status.signal().map_or("", |_| "(killed)"));
        }
        linger_testbed::pause(Duration::from_millis(5), "a listening socket announces itself to nobody");
    }
    bail!("it does not listen on {address}")
}
