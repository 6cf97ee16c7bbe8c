//! `linger`: the command of liblinger.

mod completions;
mod demo;
mod elf;
mod failure;
mod inheritance;
mod library;
mod output;
mod probe;
mod run;
mod stat;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

const EXAMPLES: &str = "\
Examples:
  linger run lighttpd -D -f lighttpd.conf   a server that loses no response
  linger probe localhost:80                 does this one lose any?
  linger stat                               what lingers on this machine
  linger demo                               why all this

More: linger COMMAND --help, man linger";

/// Gives TCP servers a lingering close, and shows who needs one.
#[derive(Parser)]
#[command(
    name = "linger",
    version,
    max_term_width = 100,
    after_help = EXAMPLES,
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
    if let Some(failure) = demo::serve_if_told() {
        failure.report();
        return failure.exit_code();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    let outcome = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Stat(arguments) => stat::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    outcome.unwrap_or_else(|failure: Failure| {
        failure.report();
        failure.exit_code()
    })
}

/// Prints help, or what is wrong with the arguments. The exit code of `linger run` must not be one that the program may have
/// meant: 2 is common.
fn explain(error: &clap::Error) -> ExitCode {
    // Nobody there to read it: nothing to be done.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let is_run = std::env::args_os().nth(1).is_some_and(|word| word == "run");
    ExitCode::from(if is_run { run::OWN_FAILURE } else { 2 })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
