//! `linger-demo`: shows what is lost without a lingering close, and that the shim keeps it.

mod args;
mod conclusion;
mod measure;
mod table;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use linger_testbed::{buggy, netns, scenario};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use args::{Args, Task};
use measure::{Missing, Row};
use table::Table;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.task {
        Some(Task::Serve { so_linger, host }) => {
            buggy::serve(host, scenario::REQUESTS_SERVED, so_linger).map(|()| true).map_err(Into::into)
        }
        None => demonstrate(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("linger-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    conclusion: &'a str,
    kernel_counts_only_us: bool,
    rows: &'a [Row],
    not_installed: &'a [Missing],
}

/// Says whether the shim kept everything.
fn demonstrate(args: &Args) -> Result<bool> {
    // First of all: a missing library must not cost anybody half a minute.
    let shim = args.shim()?;
    let namespace = netns::enter_or_start_again()?;
    if let Some(notice) = namespace.notice() {
        eprintln!("{notice}");
    }
    let interrupted = stop_when_told()?;
    let private = namespace == netns::Namespace::Private;
    let (rows, missing) = measure::everything(args, &shim, &interrupted)?;
    let (ok, conclusion) = conclusion::draw(&rows, private);
    if args.json {
        let report = Report {
            ok,
            conclusion: &conclusion,
            kernel_counts_only_us: private,
            rows: &rows,
            not_installed: &missing,
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", Table::new(&rows, io::stdout().is_terminal()));
        for missing in &missing {
            println!("{}", missing.reason);
        }
        println!("\n{conclusion}");
    }
    Ok(ok)
}

/// An interrupted demonstration ends its servers first; told twice, it ends at once.
fn stop_when_told() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}
