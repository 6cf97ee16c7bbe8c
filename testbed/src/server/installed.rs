//! Programs of the system, and what to say when one is missing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where a user's `PATH` does not look, but servers are.
const ALSO: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Finds a program in `PATH` or among the system's servers.
///
/// # Errors
///
/// If it is not installed: says which Debian packages to install.
pub fn find_program(name: &str, packages: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(ALSO.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| Path::is_file(file))
        .with_context(|| format!("{name} is not installed: apt-get install {packages}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_can_be_installed() {
        let error = find_program("no-such-server", "no-such-package").expect_err("missing");
        assert!(error.to_string().ends_with("apt-get install no-such-package"));
        find_program("sh", "dash").expect("a shell");
    }
}
