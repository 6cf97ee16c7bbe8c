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

/// Settings under which a silent peer lingers longer than any test takes.
pub const PATIENT: [(&str, &str); 2] = [("LINGER_TIMEOUT_MS", "600000"), ("LINGER_IDLE_MS", "600000")];
