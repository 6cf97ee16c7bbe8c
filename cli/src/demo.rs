//! `linger demo`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Show what a broken close loses and what liblinger saves.
#[derive(clap::Args)]
pub struct Arguments {}

/// Does it.
pub fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    Err(Failure::new(70, "demo: not built yet"))
}
