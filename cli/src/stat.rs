//! `linger stat`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Show what the programs that run with liblinger did.
#[derive(clap::Args)]
pub struct Arguments {}

/// Does it.
pub fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(70, "stat: not built yet"))
}
