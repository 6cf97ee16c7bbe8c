//! `buggy-server`: [`linger_testbed::buggy`] as a program, for the tests.

use std::process::ExitCode;

use clap::Parser;
use linger_testbed::buggy::{self, SoLinger};
use linger_testbed::scenario::REQUESTS_SERVED;

/// Serves on a port that the kernel chooses, and closes every connection plainly.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to set before closing
    #[arg(long, value_enum, default_value_t)]
    so_linger: SoLinger,
}

fn main() -> ExitCode {
    match buggy::serve(REQUESTS_SERVED, Arguments::parse().so_linger) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("buggy-server: {error}");
            ExitCode::FAILURE
        }
    }
}
