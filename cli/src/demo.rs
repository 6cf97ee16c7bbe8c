//! `linger demo`: the demonstration of the testbed, with the library that `linger run` would use.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use linger_testbed::buggy::{self, SoLinger};
use linger_testbed::demo;
use linger_testbed::scenario::REQUESTS_SERVED;
use linger_testbed::server::Preload;

use crate::failure::Failure;
use crate::library;

/// The demonstration could not be given.
const NOT_SHOWN: u8 = 1;

/// Show what a broken close loses and what liblinger saves.
#[derive(Debug, clap::Args)]
#[command(after_long_help = demo::EXPLANATION, after_help = "What is shown, and the columns: linger demo --help")]
pub struct Arguments {
    #[command(flatten)]
    what: demo::Arguments,

    /// The liblinger.so to show [default: $LINGER_LIBRARY, or the one that came with this command]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    library: Option<PathBuf>,

    #[command(subcommand)]
    task: Option<Task>,
}

/// What the command starts itself for.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum Task {
    /// Be the server that closes plainly
    #[command(hide = true)]
    Serve {
        /// What to set before closing
        #[arg(long, value_enum, default_value_t)]
        so_linger: SoLinger,
    },
}

/// Does it.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let failure = |text: String| Failure::new(NOT_SHOWN, text);
    if let Some(Task::Serve { so_linger }) = arguments.task {
        buggy::serve(REQUESTS_SERVED, so_linger).map_err(|error| failure(error.to_string()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let library =
        library::find(arguments.library.as_deref()).map_err(|missing| failure(missing.to_string()))?;
    let ourselves =
        std::env::current_exe().map_err(|error| failure(format!("find this program: {error}")))?;
    let server = [ourselves.into(), OsString::from("demo"), OsString::from("serve")];
    let kept_everything = demo::demonstrate(&arguments.what, &Preload::Shim(library.path), &server)
        .map_err(|error| failure(format!("{error:#}")))?;
    Ok(if kept_everything { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
