//! `linger completions`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::say;

const EXPLANATION: &str = "\
make install puts them where the shells look. By hand:
  linger completions bash > ~/.local/share/bash-completion/completions/linger
  linger completions zsh > ~/.zfunc/_linger          with ~/.zfunc in fpath
  linger completions fish > ~/.config/fish/completions/linger.fish";

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Does it.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "linger", &mut script);
    say(&String::from_utf8_lossy(&script), 1)?;
    Ok(ExitCode::SUCCESS)
}
