//! `buggy-server`: [`linger_testbed::buggy`] as a program, for the tests.

use std::net::Ipv4Addr;
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

    /// The address to listen at
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
    host: Ipv4Addr,
}

fn main() -> ExitCode {
    let Arguments { so_linger, host } = Arguments::parse();
    match buggy::serve(host, REQUESTS_SERVED, so_linger) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("buggy-server: {error}");
            ExitCode::FAILURE
        }
    }
}
