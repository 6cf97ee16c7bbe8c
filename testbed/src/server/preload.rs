//! With the shim, or without it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::within_reach::within_reach;

/// Names the library to test, for builds that are not in this workspace's target directory.
const LIBRARY: &str = "LINGER_LIB";

/// What a server program is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preload {
    /// As it is.
    None,
    /// With this liblinger.so in front of it.
    Shim(PathBuf),
}

impl Preload {
    /// The shim of this workspace, or the one that `$LINGER_LIB` names.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn shim() -> Result<Self> {
        match std::env::var_os(LIBRARY) {
            Some(path) => Self::shim_at(Path::new(&path)),
            None => Self::shim_at(&built_library()),
        }
    }

    /// This shim.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn shim_at(path: &Path) -> Result<Self> {
        if !path.exists() {
            bail!("{} is missing: run make first", path.display());
        }
        // Servers change their directory before they start helpers of their own.
        let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
        Ok(Preload::Shim(path))
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_shim(&self) -> bool {
        matches!(self, Preload::Shim(_))
    }

    /// Sets up the environment of a server. Settings of the shim in ours do not leak into it, except
    /// for its log. `dir` is open to everybody: the server may be somebody who cannot read the shim where it was built.
    ///
    /// # Errors
    ///
    /// If there is no room for a copy.
    pub(super) fn apply(&self, command: &mut Command, dir: &Path) -> Result<()> {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("LINGER_") && text != "LINGER_LOG" {
                command.env_remove(&name);
            }
        }
        match self {
            Preload::None => command.env_remove("LD_PRELOAD"),
            Preload::Shim(path) => command.env("LD_PRELOAD", within_reach(path, dir)?),
        };
        Ok(())
    }
}

/// Beside the profile directory that this program runs from, if it is a built one
/// (`target/debug/call-latency`, `target/debug/deps/test-0123`), else in the workspace.
fn built_library() -> PathBuf {
    let beside_us = std::env::current_exe().ok().and_then(|program| {
        let targets = program.ancestors().skip(1).take(3);
        targets.map(|target| target.join("release/liblinger.so")).find(|path| path.exists())
    });
    let in_workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/liblinger.so");
    beside_us.unwrap_or_else(in_workspace)
}
