//! Programs with checks of their own, run bare and under the shim: both runs must find the same.
//!
//! **Invariant:** a run that was to be under the shim was: the server shows it ([`Sign`]), and one
//! without the shim does not show it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{ensure, Context, Result};

use crate::anatomy::Anatomy;
use crate::server::{find_program, Preload, Program, Server};
use crate::settings;

/// What a check found, by the name of what it looked at.
pub type Findings = BTreeMap<String, String>;

/// How a server shows that the shim was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Connections lingered, say the counters that its processes publish, all of which are still there after the check.
    Lingered,
    /// close() would have lingered, says its first process (`LINGER_LOG=info`), but the clients close first, or the server
    /// lingers by itself.
    On,
}

impl Sign {
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Sign::Lingered => &[],
            Sign::On => &[("LINGER_LOG", "info")],
        }
    }

    /// How often it was seen so far.
    fn count(self, server: &Server) -> Result<u64> {
        match self {
            Sign::Lingered => {
                let counters: Result<Vec<_>> =
                    server.anatomies()?.into_iter().map(Anatomy::counters).collect();
                Ok(counters?.into_iter().flatten().map(|counters| counters.lingered).sum())
            }
            Sign::On => {
                let messages = std::fs::read(server.directory().join("stderr.log"))?;
                let messages = String::from_utf8_lossy(&messages);
                let first = server.anatomy().pid();
                Ok(messages.lines().filter(|line| says_it_is_on(line, first)).count() as u64)
            }
        }
    }
}

/// `liblinger[4711]: 0.1.0 is on (Preloaded): ...`
fn says_it_is_on(line: &str, process: u32) -> bool {
    line.starts_with(&format!("liblinger[{process}]: ")) && line.contains(" is on (")
}

/// A server with the shim or without, and what its clients are started with.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Running.
    pub server: Server,
    /// Of the clients, too: they are programs like any other.
    pub preload: &'a Preload,
}

impl Stage<'_> {
    /// A client that runs in the server's directory.
    ///
    /// # Errors
    ///
    /// If it is not installed.
    pub fn client(&self, name: &str, packages: &str) -> Result<Command> {
        let mut command = Command::new(find_program(name, packages)?);
        settings::apply(&mut command, self.preload, &[]);
        command.current_dir(self.server.directory()).stdin(Stdio::null());
        Ok(command)
    }

    /// `http://` and where it listens.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.server.address())
    }

    /// A file in the server's directory.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        std::fs::read(self.server.directory().join(name)).with_context(|| format!("read {name}"))
    }
}

/// Runs the check without the shim and with it, and returns what both found.
///
/// # Panics
///
/// If it finds something else with the shim, or cannot be run, or shows no [`Sign`].
pub fn finds_the_same_with_the_shim(
    program: &Program,
    sign: Sign,
    check: impl Fn(&Stage<'_>) -> Result<Findings>,
) -> Findings {
    let run = |preload: &Preload| {
        let stage = Stage { server: Server::start_with(program, preload, sign.settings())?, preload };
        let findings = check(&stage)?;
        let seen = sign.count(&stage.server)?;
        println!("{}: {sign:?}: {seen}", program.name());
        ensure!((seen > 0) == preload.is_shim(), "{sign:?} was seen {seen} times with {preload:?}");
        Ok(findings)
    };
    let bare = run(&Preload::None).expect("without the shim");
    let preloaded = run(&Preload::shim().expect("shim")).expect("with the shim");
    assert_eq!(bare, preloaded, "{}: found without the shim, and with it", program.name());
    for (name, found) in &bare {
        println!("{}: {name}: {found}", program.name());
    }
    bare
}

/// Runs it to its end, which must be a success.
///
/// # Errors
///
/// If it fails: with all that it says.
pub fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}:\n{}", output.status, said(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All that a program says.
#[must_use]
pub fn said(output: &Output) -> String {
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{errors}")
}

/// What a line of `text` says after `label`, if there is such a line.
#[must_use]
pub fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.trim_start().strip_prefix(label)?.trim()))
}

/// Whether two files have the same bytes, in words.
///
/// # Errors
///
/// If one cannot be read.
pub fn compare(one: &Path, other: &Path) -> Result<String> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let (one, other) = (read(one)?, read(other)?);
    let same = if one == other { "the same" } else { "not the same" };
    Ok(format!("{} bytes, {same}", one.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_wherever_its_line_is() {
        let text = "Concurrency Level:      8\n  Failed requests:        0\n";
        assert_eq!(after(text, "Failed requests:"), Some("0"));
        assert_eq!(after(text, "Complete requests:"), None);
    }

    #[test]
    fn a_child_that_says_it_is_on_does_not_speak_for_the_server() {
        let line = "liblinger[7]: 0.1.0 is on (Preloaded): close() lingers up to 30000 ms";
        assert!(says_it_is_on(line, 7));
        assert!(!says_it_is_on(line, 77));
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_what_it_says() {
        let error = succeed(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).expect_err("it failed");
        assert!(error.to_string().contains("why"), "{error}");
    }
}
