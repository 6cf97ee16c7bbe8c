//! `linger-link`: a program here, another one far away, and a bad link between them.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use linger_testbed::link::{Conditions, Link, Traffic, FAR, NEAR};
use linger_testbed::netns::{self, Namespace};
use linger_testbed::processes::Process;
use rustix::process::{kill_process_group, set_parent_process_death_signal, Pid, Signal};

const EXPLANATION: &str = "\
Makes two network namespaces with a link between them that delays every packet, loses some and lets
some be overtaken; runs a program in each. Both find the addresses of the link in their environment:
LINK_NEAR and LINK_FAR. When the near program ends, the far one is ended, too.

Needs root and /dev/net/tun; the tc netem module it does not need.

Examples:
  linger-link --delay 100 --far 'python3 -m http.server' -- curl http://10.201.0.2:8000/
  linger-link --delay 20 --loss 1 --reorder 2 --seed 5 \\
      --far 'LD_PRELOAD=./liblinger.so exec ./server' -- sh -c './client $LINK_FAR'

Exit status: that of the near program; 1 if there is no link.";

/// Runs two programs with a link between them that delays, loses and reorders packets.
#[derive(Debug, Parser)]
#[command(name = "linger-link", version, after_long_help = EXPLANATION)]
struct Args {
    /// Milliseconds from one end to the other, 0 to 200
    #[arg(long, value_name = "MS", default_value_t = 20)]
    delay: u64,

    /// Percent of the packets that are lost, 0 to 5
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    loss: f64,

    /// Percent of the packets that are overtaken by those behind them
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    reorder: f64,

    /// Chooses which packets these are
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// What sh runs at the far end
    #[arg(long, value_name = "COMMAND")]
    far: Option<String>,

    /// What runs at the near end
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    near: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            eprintln!("linger-link: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As shells report it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn run(args: &Args) -> Result<ExitStatus> {
    if let Namespace::Shared { reason } = netns::enter()? {
        anyhow::bail!("no network namespace can be made ({reason}): run it as root");
    }
    let link = Link::open(Conditions {
        delay: Duration::from_millis(args.delay),
        loss_percent: args.loss,
        reorder_percent: args.reorder,
        seed: args.seed,
    })?;
    let far = match &args.far {
        Some(line) => Some(link.far().within(|| FarProgram::start(line))??),
        None => None,
    };
    let (program, arguments) = args.near.split_first().context("no program")?;
    let mut near = Command::new(program);
    near.args(arguments);
    let status = with_addresses(&mut near).status().with_context(|| format!("run {program}"))?;
    drop(far);
    let Traffic { carried, lost, overtaken } = link.traffic();
    eprintln!("linger-link: {carried} packets carried, {overtaken} of them overtaken, and {lost} lost");
    Ok(status)
}

fn with_addresses(command: &mut Command) -> &mut Command {
    command.env("LINK_NEAR", NEAR.to_string()).env("LINK_FAR", FAR.to_string())
}

/// Ended with everything it started when this is dropped.
struct FarProgram(Child);

impl FarProgram {
    fn start(line: &str) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", line]).process_group(0);
        // SAFETY: one system call between fork and exec, nothing allocated.
        unsafe {
            command.pre_exec(|| Ok::<_, io::Error>(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        Ok(Self(with_addresses(&mut command).spawn().context("run sh")?))
    }
}

impl Drop for FarProgram {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::TERM);
        if let Ok(process) = Process::with_number(Pid::from_child(&self.0).as_raw_nonzero().get()) {
            let _ = process.ends();
        }
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}
