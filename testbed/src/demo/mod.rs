//! The demonstration: shows what is lost without a lingering close, and that the shim keeps it.

mod arguments;
mod conclusion;
mod measure;
mod table;

pub use arguments::{Arguments, EXPLANATION};

use std::ffi::OsString;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::netns;
use crate::server::Preload;
use measure::{Missing, Row};
use table::Table;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    conclusion: &'a str,
    kernel_counts_only_us: bool,
    rows: &'a [Row],
    not_installed: &'a [Missing],
}

/// Shows it, and says whether the shim kept everything. `server` is a command that runs [`crate::buggy`] and
/// understands `--so-linger`.
///
/// # Errors
///
/// If a server does not start, or what happens cannot be observed.
pub fn demonstrate(arguments: &Arguments, shim: &Preload, server: &[OsString]) -> Result<bool> {
    let namespace = netns::enter_or_start_again()?;
    if let Some(notice) = namespace.notice() {
        anstream::eprintln!("{notice}");
    }
    let interrupted = stop_when_told()?;
    let private = namespace == netns::Namespace::Private;
    let (rows, missing) = measure::everything(arguments, shim, server, &interrupted)?;
    let (ok, conclusion) = conclusion::draw(&rows, private);
    if arguments.json {
        let report = Report {
            ok,
            conclusion: &conclusion,
            kernel_counts_only_us: private,
            rows: &rows,
            not_installed: &missing,
        };
        writeln!(anstream::stdout(), "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{}", Table::new(&rows))?;
        for missing in &missing {
            writeln!(stdout, "{}", missing.reason)?;
        }
        writeln!(stdout, "\n{conclusion}")?;
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
