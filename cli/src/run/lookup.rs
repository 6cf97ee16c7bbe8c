//! Which file a command's name stands for, as execvp(3) decides.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{accessat, Access, AtFlags, CWD};
use rustix::io::Errno;

use super::refusal::Refusal;

/// What execvp(3) searches where there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Finds the file. A name with a slash is one already; it is taken relative to `directory`, which is empty for the
/// current one, and so are the entries of `path` that are no absolute ones.
pub fn find(name: &OsStr, path: Option<&OsStr>, directory: &Path) -> Result<PathBuf, Refusal> {
    if name.as_bytes().contains(&b'/') {
        let file = directory.join(name);
        return check_path(&file).map(|()| file);
    }
    if name.is_empty() {
        return Err(Refusal::NotInPath(name.to_owned()));
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut seen = None;
    for entry in path.as_bytes().split(|byte| *byte == b':') {
        let entry = if entry.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(entry) };
        let file = directory.join(entry).join(name);
        match check(&file) {
            Ok(()) => return Ok(file),
            // The first one that is there but cannot be run says most about what is wrong.
            Err(error) if error != Errno::NOENT && error != Errno::NOTDIR => {
                seen.get_or_insert_with(|| refusal(file, error));
            }
            _ => {}
        }
    }
    Err(seen.unwrap_or_else(|| Refusal::NotInPath(name.to_owned())))
}

/// Whether a path is that of something which this user may run. The kernel searches no PATH for an interpreter.
pub fn check_path(file: &Path) -> Result<(), Refusal> {
    check(file).map_err(|error| refusal(file.to_owned(), error))
}

/// Whether the kernel would run the file for us: EISDIR for directories, where execve(2) says EACCES.
fn check(file: &Path) -> Result<(), Errno> {
    match file.metadata() {
        Ok(about) if about.is_dir() => return Err(Errno::ISDIR),
        Ok(_) => {}
        Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::NOENT)),
    }
    accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS)
}

fn refusal(file: PathBuf, error: Errno) -> Refusal {
    match error {
        Errno::NOENT | Errno::NOTDIR => Refusal::NotFound(file),
        Errno::ISDIR => Refusal::Directory(file),
        Errno::ACCESS if file.metadata().is_ok() => Refusal::NotExecutable(file),
        error => Refusal::Unreachable(file, error.into()),
    }
}
