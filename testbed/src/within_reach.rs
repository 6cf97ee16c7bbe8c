//! Programs and libraries for users who cannot read them where they were built: root's home, for one, is nobody else's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use tempfile::TempDir;

use crate::server::find_program;

/// A directory that everybody can read, removed when it is dropped.
///
/// # Errors
///
/// If it cannot be made.
pub fn directory() -> Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("linger-testbed-").tempdir()?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// The file itself, if everybody can read it there, or else a copy in `dir`.
///
/// # Errors
///
/// If it cannot be copied.
pub fn within_reach(path: &Path, dir: &Path) -> Result<PathBuf> {
    if everybody_can_read(path) {
        return Ok(path.to_path_buf());
    }
    let copy = dir.join(path.file_name().context("a directory is no file")?);
    copy_program(path, &copy)?;
    Ok(copy)
}

/// Makes an executable copy that everybody can read, and the directories it needs.
///
/// In another process: where this one has a program open for writing, the child that another thread is starting may have it
/// for a moment, too, and it cannot be run (`ETXTBSY`).
///
/// # Errors
///
/// If it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let mut install = Command::new(find_program("install", "coreutils")?);
    let output = install.args(["-D", "-m", "755", "--"]).args([from, to]).output().context("run install")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "copy {} to {}: {errors}", from.display(), to.display());
    Ok(())
}

fn everybody_can_read(path: &Path) -> bool {
    let allows = |path: &Path, right| fs::metadata(path).is_ok_and(|file| file.mode() & right == right);
    allows(path, 0o004) && path.ancestors().skip(1).all(|directory| allows(directory, 0o001))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_reach_is_copied() {
        let (hidden, open) = (directory().expect("directory"), directory().expect("directory"));
        let file = hidden.path().join("file");
        fs::write(&file, "content").expect("write");
        assert_eq!(within_reach(&file, open.path()).expect("a file"), file);
        fs::set_permissions(hidden.path(), Permissions::from_mode(0o700)).expect("chmod");
        let copy = within_reach(&file, open.path()).expect("a copy");
        assert_eq!(copy, open.path().join("file"));
        assert_eq!(fs::read(copy).expect("read"), b"content");
        let none = copy_program(Path::new("/nowhere"), &open.path().join("none")).expect_err("no such file");
        assert!(none.to_string().contains("No such file"), "{none}");
    }
}
