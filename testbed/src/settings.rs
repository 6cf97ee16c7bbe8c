//! What a program under test is started with: the shim or not, and the `LINGER_*` variables, all of them.

use std::process::Command;

use crate::server::Preload;

/// Puts `preload` in front of the program and sets exactly these variables of liblinger's. Those of our own environment
/// would change what a test proves, so none of them gets through, nor do the directories that cargo has the loader look in.
pub fn apply(command: &mut Command, preload: &Preload, settings: &[(&str, &str)]) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LINGER_") {
            command.env_remove(&name);
        }
    }
    command.env_remove("LD_LIBRARY_PATH");
    match preload {
        Preload::None => command.env_remove("LD_PRELOAD"),
        Preload::Shim(path) => command.env("LD_PRELOAD", path),
    };
    command.envs(settings.iter().copied());
}

/// Where the engine names its variables.
const ENGINE: &str = include_str!("../../src/config.rs");

/// The one that the gate of the shim reads.
pub const GATE: &str = "LINGER_PRELOAD";

/// Every variable that liblinger reads: those of its engine, as its source has them, and [`GATE`].
///
/// # Panics
///
/// If the source names none.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let variable = |line: &'static str| {
        let (_, rest) = line.split_once("= Variable::")?;
        rest.split('"').nth(1)
    };
    let names: Vec<_> = ENGINE.lines().filter_map(variable).chain([GATE]).collect();
    assert!(names.len() > 1, "src/config.rs names its variables otherwise");
    names
}

/// Settings under which a silent peer lingers longer than any test takes.
pub const PATIENT: [(&str, &str); 2] = [("LINGER_TIMEOUT_MS", "600000"), ("LINGER_IDLE_MS", "600000")];

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that the manual explains: `*LINGER_X*=default`, or without a default, at the beginning of a line.
    #[test]
    fn the_manual_has_every_variable_and_no_other() {
        let manual = include_str!("../../man/liblinger.7.scd");
        let (_, manual) = manual.split_once("# ENVIRONMENT").expect("a section");
        let (manual, _) = manual.split_once("\n# ").expect("its end");
        let explained = manual.lines().filter_map(|line| line.strip_prefix('*')?.split('*').next());
        let (mut explained, mut names) = (explained.collect::<Vec<_>>(), names());
        explained.sort_unstable();
        names.sort_unstable();
        assert_eq!(explained, names);
    }
}
