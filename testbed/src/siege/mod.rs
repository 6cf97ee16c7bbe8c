//! A server under attack: what it still does for others, and what it costs, without the shim and with it.

mod attackers;
mod force;
mod ledger;
mod limits;
mod neighbours;
mod normal;

pub use attackers::{attack, Attack, Homes, Orders};
pub use force::Force;
pub use ledger::Traffic;
pub use limits::{promised, Limit, Verdict};
pub use neighbours::{Neighbours, NEIGHBOURS};
pub use normal::Service;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

use crate::anatomy::Anatomy;
use crate::pause;
use crate::server::{find_program, Preload, Program, Recipe, Server};
use crate::soak::Sample;
use force::Attackers;

/// nginx as one configures it for many connections.
pub const NGINX: Recipe = Recipe { name: "nginx for many", prepare: nginx };

/// Between two looks at the server, and how many of them there are for one at the addresses of what lingers, which takes
/// time itself.
const BETWEEN_SAMPLES: Duration = Duration::from_millis(100);
const SAMPLES_FOR_ADDRESSES: u32 = 5;

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

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The program that calls [`attack`] when its first argument is `attacker`.
    pub executable: &'a Path,
    /// Who attacks; nobody, to compare with.
    pub force: Option<Force>,
    /// With the shim, or without.
    pub preload: &'a Preload,
    /// The `LINGER_*` variables.
    pub settings: &'a [(&'a str, &'a str)],
    /// How long an attack builds up; a crowd takes as long as it takes.
    pub approach: Duration,
    /// How long nobody but the attackers is there then, to see what they cost alone.
    pub silence: Duration,
    /// How long the others are watched.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Siege {
    /// What the server did for its normal client.
    pub service: Service,
    /// What it did for the client that sends something late.
    pub late: Service,
    /// What well-behaved peers of other addresses keep.
    pub neighbours: Neighbours,
    /// Connections that lingered at once, at most.
    pub most_lingering: u64,
    /// The same of the address that had most; looked at only where all attackers have one.
    pub most_of_one_address: u64,
    /// Threads of all the server's processes, at most.
    pub threads: u64,
    /// Resident memory of all its processes before the attack, and at most while it lasted.
    pub resident_bytes: (u64, u64),
    /// What the kernel of the machine held before the attack, and at most while it lasted, for whomever.
    pub kernel_bytes: (u64, u64),
    /// Processor time of all the server's processes while only the attackers were there, in percent of one processor.
    pub silent_percent: Option<f64>,
    /// The same while the others were watched.
    pub processor_percent: f64,
    /// From the beginning of the attack to its end.
    pub elapsed: Duration,
    /// What the kernel counted in that time: resets are those of either end, also an attacker that goes with its response
    /// unread sends one.
    pub traffic: Traffic,
    /// Bytes received in a second, while the others were watched.
    pub received_a_second: f64,
    /// The longest that the kernel lets a receive queue be.
    pub receive_queue: u64,
    /// Requests that the attackers can make at the same time.
    pub most_requests: u64,
}

/// Attacks nginx, and watches.
///
/// # Errors
///
/// If the server or the attackers cannot be started or watched.
pub fn lay(plan: &Plan<'_>) -> Result<Siege> {
    let server = Server::start_with(&Program::Recipe(NGINX), plan.preload, plan.settings)?;
    // The first close starts the drain thread, which the memory before the attack is to include, as well as the worker.
    let first = Service::of(server.address(), Duration::from_millis(50));
    ensure!(first.failures == 0, "it does not serve its first client: {first:?}\n{}", server.logs());
    let (before, processes) = (Sample::take(&server)?, processes(&server)?);
    let kernel_before = ledger::kernel_bytes()?;
    let (started, traffic) = (Instant::now(), Traffic::read()?);
    let mut attackers = match plan.force {
        Some(force) => Some(Attackers::start(plan.executable, force, server.address())?),
        None => None,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&server, plan, &over));
        let end = End(&over);
        if let Some(attackers) = &mut attackers {
            attackers.come(plan.approach)?;
        }
        let silent_percent =
            if plan.silence.is_zero() { None } else { Some(silent_percent(&server, plan.silence)?) };
        let meanwhile = watch_others(&server, plan.duration)?;
        drop(end);
        let most = watching.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        let left = self::processes(&server)?;
        ensure!(left == processes, "it was {processes:?}, and is {left:?}\n{}", server.logs());
        Ok(Siege {
            service: meanwhile.service,
            late: meanwhile.late,
            neighbours: meanwhile.neighbours,
            most_lingering: most.sample.lingering as u64,
            most_of_one_address: most.of_one_address,
            threads: most.sample.threads as u64,
            resident_bytes: (before.resident_bytes as u64, most.sample.resident_bytes as u64),
            kernel_bytes: (kernel_before, most.kernel_bytes),
            silent_percent,
            processor_percent: meanwhile.processor_percent,
            elapsed: started.elapsed(),
            traffic: Traffic::read()? - traffic,
            received_a_second: meanwhile.received_a_second,
            receive_queue: ledger::largest_receive_queue()?,
            most_requests: plan.force.map_or(0, |force| force.most_requests()),
        })
    })
}

/// Tells the watcher that it is over, also where something failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

struct Meanwhile {
    service: Service,
    late: Service,
    neighbours: Neighbours,
    processor_percent: f64,
    received_a_second: f64,
}

/// All who are no attackers, at the same time.
fn watch_others(server: &Server, duration: Duration) -> Result<Meanwhile> {
    let address = server.address();
    std::thread::scope(|scope| {
        let (spent, received) = (processor_ms(server)?, Traffic::read()?);
        let started = Instant::now();
        let late = scope.spawn(move || Service::late(address, duration));
        let neighbours = scope.spawn(move || Neighbours::of(address, duration / 2));
        let service = Service::of(address, duration);
        let panicked = |_| anyhow::anyhow!("a client panicked");
        let (late, neighbours) = (late.join().map_err(panicked)?, neighbours.join().map_err(panicked)??);
        let elapsed = started.elapsed();
        Ok(Meanwhile {
            service,
            late,
            neighbours,
            processor_percent: percent(processor_ms(server)? - spent, elapsed),
            received_a_second: (Traffic::read()? - received).received_bytes as f64 / elapsed.as_secs_f64(),
        })
    })
}

fn silent_percent(server: &Server, silence: Duration) -> Result<f64> {
    let (spent, started) = (processor_ms(server)?, Instant::now());
    pause(silence, "silence is what is measured");
    Ok(percent(processor_ms(server)? - spent, started.elapsed()))
}

fn percent(spent_ms: u64, elapsed: Duration) -> f64 {
    100.0 * spent_ms as f64 / elapsed.as_millis().max(1) as f64
}

/// The most there was of everything.
struct Most {
    sample: Sample,
    of_one_address: u64,
    kernel_bytes: u64,
}

fn watch(server: &Server, plan: &Plan<'_>, over: &AtomicBool) -> Result<Most> {
    let addresses = plan.force.is_some_and(|force| force.homes == Homes::One);
    let mut most = Most { sample: Sample::default(), of_one_address: 0, kernel_bytes: 0 };
    for look in 0_u32.. {
        let last = over.load(Relaxed);
        let now = Sample::take(server)?;
        most.sample.resident_bytes = most.sample.resident_bytes.max(now.resident_bytes);
        most.sample.threads = most.sample.threads.max(now.threads);
        most.sample.lingering = most.sample.lingering.max(now.lingering);
        most.kernel_bytes = most.kernel_bytes.max(ledger::kernel_bytes()?);
        if addresses && look % SAMPLES_FOR_ADDRESSES == 0 {
            most.of_one_address = most.of_one_address.max(ledger::most_of_one_address(server)?);
        }
        if last {
            break;
        }
        pause(BETWEEN_SAMPLES, "the kernel announces no growth of a process");
    }
    Ok(most)
}

/// The numbers of its processes: nginx starts another worker where one has died.
fn processes(server: &Server) -> Result<Vec<u32>> {
    Ok(server.anatomies()?.into_iter().map(Anatomy::pid).collect())
}

fn processor_ms(server: &Server) -> Result<u64> {
    server.anatomies()?.into_iter().map(Anatomy::processor_ms).sum()
}
