//! `linger run`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Run a program with liblinger preloaded.
#[derive(clap::Args)]
pub struct Arguments {}

/// Does it.
pub fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(70, "run: not built yet"))
}
