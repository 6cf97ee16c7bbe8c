//! Why the command could not do what it was asked: one line for people, one number for scripts.

use std::fmt;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();

/// A failure: its line on stderr says what to do instead.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    /// `code` is the exit code, see linger(1).
    pub fn new(code: u8, line: impl Into<String>) -> Failure {
        Failure { code, line: line.into() }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// Says it on stderr, with colour on a terminal.
    pub fn report(&self) {
        anstream::eprintln!("{RED}linger:{RED:#} {self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Says on stderr what is no failure but may surprise.
pub fn warn(line: &str) {
    anstream::eprintln!("{YELLOW}linger: warning:{YELLOW:#} {line}");
}
