//! `linger demo`: the demonstration of the testbed, with the library that `linger run` would use.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
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
}

/// What the command starts itself for: `linger demo serve`. It is nobody else's business, and so no part of the command line
/// that is helped with and completed.
const SERVE: [&str; 2] = ["demo", "serve"];

/// Being the server that closes plainly.
#[derive(Debug, clap::Parser)]
struct Server {
    /// What to set before closing
    #[arg(long, value_enum, default_value_t)]
    so_linger: SoLinger,

    /// The address to listen at
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
    host: Ipv4Addr,
}

/// Serves for ever, if that is what this process was started for; says why it cannot.
pub fn serve_if_told() -> Option<Failure> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if !words.iter().take(SERVE.len()).eq(SERVE.iter()) {
        return None;
    }
    // The second word stands where the parser expects a program's name.
    let server = Server::parse_from(words.into_iter().skip(1));
    buggy::serve(server.host, REQUESTS_SERVED, server.so_linger)
        .err()
        .map(|error| Failure::new(NOT_SHOWN, format!("the server that closes plainly: {error}")))
}

/// Does it.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let failure = |text: String| Failure::new(NOT_SHOWN, text);
    let library =
        library::find(arguments.library.as_deref()).map_err(|missing| failure(missing.to_string()))?;
    let ourselves =
        std::env::current_exe().map_err(|error| failure(format!("find this program: {error}")))?;
    let server: Vec<OsString> = [ourselves.into()].into_iter().chain(SERVE.map(OsString::from)).collect();
    let kept_everything = demo::demonstrate(&arguments.what, &Preload::Shim(library.path), &server)
        .map_err(|error| failure(format!("{error:#}")))?;
    Ok(if kept_everything { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
