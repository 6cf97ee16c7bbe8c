//! A server under attack: what it still does for others, and what it costs, without the shim and with it.

mod attackers;
mod normal;

pub use attackers::{attack, Attack, Orders};
pub use normal::Service;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{set_parent_process_death_signal, Signal};

use crate::counters::Counters;
use crate::pause;
use crate::server::{find_program, Preload, Program, Recipe, Server};
use crate::soak::Sample;

/// nginx as one configures it for many connections.
pub const NGINX: Recipe = Recipe { name: "nginx for many", prepare: nginx };

const BETWEEN_SAMPLES: Duration = Duration::from_millis(100);

fn nginx(dir: &Path, address: SocketAddr) -> Result<Command> {
    let user = if rustix::process::geteuid().is_root() { "user www-data;" } else { "" };
    let name = dir.display();
    let text = format!(
        "{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {name}/nginx.pid;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {name}/body;
    proxy_temp_path {name}/proxy;
    fastcgi_temp_path {name}/fastcgi;
    uwsgi_temp_path {name}/uwsgi;
    scgi_temp_path {name}/scgi;
    server {{
        listen {address} backlog=4096;
        root {name}/htdocs;
    }}
}}
"
    );
    let file = dir.join("server.conf");
    fs::write(&file, text)?;
    let mut command = Command::new(find_program("nginx", "nginx-light")?);
    command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(file);
    Ok(command)
}

/// Who attacks.
#[derive(Debug, Clone, Copy)]
pub struct Force {
    /// What they do.
    pub attack: Attack,
    /// In how many processes.
    pub processes: u8,
    /// How many peers each has; of the silent ones, how many come a second.
    pub peers: u32,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Siege {
    /// What the server did for its normal client.
    pub service: Service,
    /// Connections that lingered at once, at most.
    pub most_lingering: u64,
    /// Resident memory of all its processes before the attack, and at most while it lasted.
    pub resident_bytes: (u64, u64),
    /// Processor time of all its processes while it lasted, in percent of one processor.
    pub processor_percent: f64,
    /// Resets that the kernel sent for either end: also an attacker that goes with its response unread sends one.
    pub resets: u64,
}

impl Siege {
    /// Two as one: all requests, the most there was, the mean of processor time, all resets.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let requests = |siege: &Self| (siege.service.served() + siege.service.failures).max(1) as f64;
        let (weight, more) = (requests(&self), requests(&later));
        let shares = self.processor_percent * weight + later.processor_percent * more;
        Self {
            most_lingering: self.most_lingering.max(later.most_lingering),
            resident_bytes: (
                self.resident_bytes.0.max(later.resident_bytes.0),
                self.resident_bytes.1.max(later.resident_bytes.1),
            ),
            processor_percent: shares / (weight + more),
            resets: self.resets + later.resets,
            service: self.service.and(later.service),
        }
    }
}

/// The attackers' processes; dropping them ends them.
struct Attackers(Vec<Child>);

impl Attackers {
    /// `executable` calls [`attack`] when its first argument is `attacker`.
    fn start(executable: &Path, force: &Force, server: SocketAddr) -> Result<Self> {
        let mut attackers = Self(Vec::new());
        for number in 0..force.processes {
            let attack =
                clap::ValueEnum::to_possible_value(&force.attack).context("every attack has a name")?;
            let mut command = Command::new(executable);
            command.args(["attacker", "--attack", attack.get_name(), "--server", &server.to_string()]);
            command.args(["--peers", &force.peers.to_string(), "--network", &(number + 1).to_string()]);
            command.stdin(Stdio::null()).env_remove("LD_PRELOAD");
            // SAFETY: one system call between fork and exec, nothing allocated.
            unsafe {
                command.pre_exec(|| Ok::<_, io::Error>(set_parent_process_death_signal(Some(Signal::KILL))?));
            }
            attackers.0.push(command.spawn().with_context(|| format!("start {}", executable.display()))?);
        }
        Ok(attackers)
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        for attacker in &mut self.0 {
            let _ = attacker.kill();
            let _ = attacker.wait();
        }
    }
}

/// Attacks nginx for `duration` after `approach`, and watches from then on.
///
/// # Errors
///
/// If the server or the attackers cannot be started or watched.
pub fn lay(
    executable: &Path,
    force: Option<Force>,
    preload: &Preload,
    settings: &[(&str, &str)],
    approach: Duration,
    duration: Duration,
) -> Result<Siege> {
    let server = Server::start_with(&Program::Recipe(NGINX), preload, settings)?;
    // The first close starts the drain thread, which the memory before the attack is to include.
    Service::of(server.address(), Duration::from_millis(50))?;
    let before = Sample::take(&server)?;
    let counters = Counters::read()?;
    let _attackers = match &force {
        Some(force) => Some(Attackers::start(executable, force, server.address())?),
        None => None,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&server, &over));
        pause(approach, "an attack takes time to build up");
        let ticks = processor_ms(&server)?;
        let service = Service::of(server.address(), duration)?;
        let spent = processor_ms(&server)? - ticks;
        over.store(true, Relaxed);
        let most = watching.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        Ok(Siege {
            service,
            most_lingering: most.lingering as u64,
            resident_bytes: (before.resident_bytes as u64, most.resident_bytes as u64),
            processor_percent: 100.0 * spent as f64 / duration.as_millis() as f64,
            resets: counters.since()?.out_rsts,
        })
    })
}

/// The most there was of everything.
fn watch(server: &Server, over: &AtomicBool) -> Result<Sample> {
    let mut most = Sample::default();
    while !over.load(Relaxed) {
        let now = Sample::take(server)?;
        most.resident_bytes = most.resident_bytes.max(now.resident_bytes);
        most.lingering = most.lingering.max(now.lingering);
        pause(BETWEEN_SAMPLES, "the kernel announces no growth of a process");
    }
    Ok(most)
}

fn processor_ms(server: &Server) -> Result<u64> {
    server.anatomies()?.into_iter().map(crate::anatomy::Anatomy::processor_ms).sum()
}
