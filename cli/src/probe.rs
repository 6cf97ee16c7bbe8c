//! `linger probe`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Find out whether a server loses responses.
#[derive(clap::Args)]
pub struct Arguments {}

/// Does it.
pub fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(70, "probe: not built yet"))
}
