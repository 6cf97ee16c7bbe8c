//! Where liblinger.so is, for the commands that preload it.

use std::ffi::{CStr, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::elf::Elf;

/// Names the library where no `--library` does.
pub const VARIABLE: &str = "LINGER_LIBRARY";

/// The name of this interface first: a directory may have several.
const NAMES: [&str; 2] = ["liblinger.so.0", "liblinger.so"];

/// Directories of libraries beside the `bin` that holds this command, as Debian, Fedora and `make install` have them.
const LIBRARY_DIRECTORIES: [&str; 3] = ["../lib", concat!("../lib/", env!("LINGER_MULTIARCH")), "../lib64"];

/// A liblinger.so that is there and is one.
#[derive(Debug)]
pub struct Library {
    /// Absolute. Symbolic links are left as they are: a server that starts itself again after an upgrade finds the
    /// new library under the name it was given.
    pub path: PathBuf,
    pub elf: Elf,
}

/// Why there is no library to preload.
#[derive(Debug)]
pub enum Missing {
    /// What was named is not there or cannot be read.
    Unreadable { path: PathBuf, named_by: &'static str, error: std::io::Error },
    /// What was named is something else.
    SomethingElse { path: PathBuf, named_by: &'static str },
    /// None was named, and it is in none of the usual places.
    Nowhere { looked_in: Vec<PathBuf> },
    /// LD_PRELOAD cannot hold its path.
    Unspeakable { path: PathBuf },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Unreadable { path, named_by, error } => {
                write!(f, "{named_by} names {}: {error}; name the liblinger.so that make or make install put somewhere", path.display())
            }
            Missing::SomethingElse { path, named_by } => {
                write!(
                    f,
                    "{named_by} names {}, which is not liblinger; name a liblinger.so.0",
                    path.display()
                )
            }
            Missing::Nowhere { looked_in } => {
                let looked_in: Vec<_> = looked_in.iter().map(|path| path.display().to_string()).collect();
                write!(
                    f,
                    "found no liblinger.so in {} or where the loader looks; install it, or name it with \
                     --library or {VARIABLE}",
                    looked_in.join(", ")
                )
            }
            Missing::Unspeakable { path } => write!(
                f,
                "{:?} has a space, a colon or a dollar sign in its path, which LD_PRELOAD cannot hold: \
                 copy the library to another place and name it with --library",
                path.display().to_string()
            ),
        }
    }
}

/// Finds the library: what `--library` or the environment names, and only that; else beside this command, in the build
/// tree, in the directory of libraries that goes with this `bin`, and at last wherever the loader looks.
pub fn find(named: Option<&Path>) -> Result<Library, Missing> {
    let from_environment = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let library = match (named, &from_environment) {
        (Some(path), _) => at(path, "--library")?,
        (None, Some(path)) => at(path, VARIABLE)?,
        (None, None) => look_around()?,
    };
    let forbidden = |byte: &u8| b" :$\t\n".contains(byte);
    if library.path.as_os_str().as_bytes().iter().any(forbidden) {
        return Err(Missing::Unspeakable { path: library.path });
    }
    Ok(library)
}

fn at(path: &Path, named_by: &'static str) -> Result<Library, Missing> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => return Err(Missing::Unreadable { path, named_by, error }),
    };
    match Elf::read(&file) {
        Ok(elf) if elf.is_liblinger => Ok(Library { path, elf }),
        _ => Err(Missing::SomethingElse { path, named_by }),
    }
}

fn look_around() -> Result<Library, Missing> {
    let us = std::env::current_exe().unwrap_or_default();
    let looked_in = directories(us.parent().unwrap_or(Path::new("/")));
    let candidates = looked_in.iter().flat_map(|directory| NAMES.map(|name| directory.join(name)));
    candidates
        .chain(ask_the_loader())
        .find_map(|path| at(&path, "").ok())
        .ok_or(Missing::Nowhere { looked_in })
}

/// `here` is the directory of this command: `bin` of an installation, or a profile's directory of the build tree, where
/// the release build is the library that is meant to be used.
fn directories(here: &Path) -> Vec<PathBuf> {
    let build_tree = here.parent().filter(|target| target.join("release/deps").is_dir());
    let beside = [Some(here.to_owned()), build_tree.map(|target| target.join("release"))];
    let installed = LIBRARY_DIRECTORIES.map(|relative| match relative.strip_prefix("../") {
        Some(below) => here.parent().unwrap_or(Path::new("/")).join(below),
        None => here.join(relative),
    });
    let mut directories: Vec<PathBuf> = beside.into_iter().flatten().chain(installed).collect();
    directories.dedup();
    directories
}

/// The one that the loader would find under its bare name: only the loader knows LD_LIBRARY_PATH, its cache and its own
/// directories. Loaded this way the library does nothing: its gate stays shut.
fn ask_the_loader() -> Option<PathBuf> {
    // SAFETY: the name is NUL-terminated. dlinfo fills in a pointer to a link_map, which lives as long as the object,
    // which is never closed; its name is a C string.
    let path = unsafe {
        let handle = libc::dlopen(c"liblinger.so.0".as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL);
        if handle.is_null() {
            return None;
        }
        let mut map: *const LinkMap = std::ptr::null();
        if libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) != 0 || map.is_null() {
            return None;
        }
        CStr::from_ptr((*map).name).to_bytes().to_vec()
    };
    Some(PathBuf::from(OsString::from_vec(path)))
}

/// The beginning of what `link.h` calls `struct link_map`.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const libc::c_char,
}

/// Whether a path's last part is a name that liblinger's files have.
pub fn is_called_liblinger(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let rest = name.strip_prefix(b"liblinger.so").unwrap_or(b"?");
    rest.is_empty() || rest.starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_has_its_library_beside_its_bin() {
        let looked_in = directories(Path::new("/opt/linger/bin"));
        assert_eq!(looked_in[0], Path::new("/opt/linger/bin"));
        for directory in ["/opt/linger/lib", "/opt/linger/lib64"] {
            assert!(looked_in.iter().any(|d| d == Path::new(directory)), "{directory} in {looked_in:?}");
        }
        assert!(looked_in.iter().any(|d| d.to_string_lossy().contains("linux-gnu")), "{looked_in:?}");
    }

    #[test]
    fn every_version_of_the_library_is_called_liblinger() {
        for (path, expected) in [
            ("/usr/lib/liblinger.so", true),
            ("liblinger.so.0", true),
            ("/x/liblinger.so.0.1.0", true),
            ("/x/liblinger.sox", false),
            ("/x/liblinger.so/", true),
            ("/x/mylibliger.so", false),
            ("/liblinger.so/other.so", false),
        ] {
            assert_eq!(is_called_liblinger(Path::new(path)), expected, "{path}");
        }
    }
}
