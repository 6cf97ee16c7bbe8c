//! `linger`: the command of liblinger.

mod completions;
mod demo;
mod failure;
mod probe;
mod run;
mod stat;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Gives TCP servers a lingering close, and shows who needs one.
#[derive(Parser)]
#[command(
    name = "linger",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Probe(probe::Arguments),
    Stat(stat::Arguments),
    Demo(demo::Arguments),
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Stat(arguments) => stat::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    outcome.unwrap_or_else(|failure: Failure| {
        eprintln!("linger: {failure}");
        failure.exit_code()
    })
}
