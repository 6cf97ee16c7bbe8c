//! `linger completions`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Print a completion script for a shell.
#[derive(clap::Args)]
pub struct Arguments {}

/// Does it.
pub fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(70, "completions: not built yet"))
}
