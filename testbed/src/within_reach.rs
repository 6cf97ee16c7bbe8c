//! Programs and libraries for users who cannot read them where they were built: root's home, for one, is nobody else's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

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
    fs::copy(path, &copy).with_context(|| format!("copy {} to {}", path.display(), copy.display()))?;
    Ok(copy)
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
    }
}
