//! The environment that the program gets: ours, entry by entry and in its order, but for what is set here.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::library::is_called_liblinger;

/// Names what ld.so(8) loads before everything else.
pub const PRELOAD: &str = "LD_PRELOAD";

/// What separates names in LD_PRELOAD, and in /etc/ld.so.preload.
const SEPARATORS: &[u8] = b" :\t\n";

/// Entries as execve(2) takes them. Those that are no `NAME=value`, and those that come twice, are passed on as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment(Vec<CString>);

extern "C" {
    static environ: *const *const libc::c_char;
}

impl Environment {
    /// Our own.
    pub fn inherited() -> Environment {
        let mut entries = Vec::new();
        // SAFETY: environ(7) is null or an array of C strings that ends with null; there is one thread, and it changes
        // no variable.
        unsafe {
            let mut at = environ;
            while !at.is_null() && !(*at).is_null() {
                entries.push(CStr::from_ptr(*at).to_owned());
                at = at.add(1);
            }
        }
        Environment(entries)
    }

    /// For execve(2).
    pub fn entries(&self) -> &[CString] {
        &self.0
    }

    /// The value that getenv(3) would give.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find_map(|entry| value(entry, name)).map(OsStr::from_bytes)
    }

    /// Sets a variable where it stands, or at the end; a second entry of that name would make it ambiguous and goes.
    pub fn set(&mut self, name: &str, new: &OsStr) {
        let entry = [name.as_bytes(), b"=", new.as_bytes()].concat();
        // A name or a value with a NUL cannot come from arguments or paths, which are C strings themselves.
        let Ok(mut entry) = CString::new(entry).map(Some) else { return };
        self.0.retain_mut(|old| match value(old, name) {
            None => true,
            Some(_) => entry.take().map(|entry| *old = entry).is_some(),
        });
        self.0.extend(entry);
    }
}

fn value<'a>(entry: &'a CStr, name: &str) -> Option<&'a [u8]> {
    entry.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// A list for LD_PRELOAD, and what was taken out of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Preloads {
    pub list: Vec<u8>,
    /// Other copies of liblinger: two engines in one process would each have half of what they must know.
    pub replaced: Vec<PathBuf>,
}

/// Adds the library to what LD_PRELOAD holds: last, and never twice.
///
/// Last, because whoever wrote the list meant its order (AddressSanitizer insists on being first), and because liblinger
/// loses nothing by it: it has to come before libc only, and calls of other preloaded libraries that go on with
/// RTLD_NEXT reach it, as they would reach the kernel. The last of the list is also the first to be initialised, so
/// that the hooks are ready when constructors of the others run.
pub fn with_library(list: &OsStr, library: &Path) -> Preloads {
    let mut replaced = Vec::new();
    let mut named = false;
    let mut names: Vec<&[u8]> = Vec::new();
    for name in list.as_bytes().split(|byte| SEPARATORS.contains(byte)).filter(|name| !name.is_empty()) {
        let path = Path::new(OsStr::from_bytes(name));
        if !is_called_liblinger(path) && !is_same_file(path, library) {
            names.push(name);
            continue;
        }
        if !is_same_file(path, library) {
            replaced.push(path.to_owned());
        }
        // It keeps its place.
        if !std::mem::replace(&mut named, true) {
            names.push(library.as_os_str().as_bytes());
        }
    }
    if !named {
        names.push(library.as_os_str().as_bytes());
    }
    Preloads { list: names.join(&b':'), replaced }
}

/// A name without a slash is searched for by the loader, which finds a file of the same SONAME.
fn is_same_file(path: &Path, library: &Path) -> bool {
    if !path.as_os_str().as_bytes().contains(&b'/') {
        return is_called_liblinger(path);
    }
    match (path.metadata(), library.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => path == library,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(entries: &[&str]) -> Environment {
        Environment(entries.iter().map(|entry| CString::new(*entry).expect("no NUL")).collect())
    }

    fn preloads(list: &str, library: &str) -> (String, Vec<PathBuf>) {
        let Preloads { list, replaced } = with_library(OsStr::new(list), Path::new(library));
        (String::from_utf8(list).expect("text"), replaced)
    }

    #[test]
    fn a_variable_is_set_in_its_place_and_once() {
        let mut set = environment(&["A=1", "odd", "B=2", "A=3", "AB=4"]);
        set.set("A", OsStr::new("9"));
        assert_eq!(set, environment(&["A=9", "odd", "B=2", "AB=4"]));
        set.set("C", OsStr::new(""));
        assert_eq!(set, environment(&["A=9", "odd", "B=2", "AB=4", "C="]));
        assert_eq!(set.get("C"), Some(OsStr::new("")));
        assert_eq!(set.get("odd"), None);
    }

    #[test]
    fn the_library_comes_behind_what_is_there() {
        assert_eq!(preloads("", "/l/liblinger.so").0, "/l/liblinger.so");
        assert_eq!(preloads("/a.so b.so", "/l/liblinger.so").0, "/a.so:b.so:/l/liblinger.so");
        assert_eq!(preloads(" :/a.so: ", "/l/liblinger.so").0, "/a.so:/l/liblinger.so");
    }

    #[test]
    fn the_library_is_never_there_twice() {
        let list = "/l/liblinger.so /a.so";
        assert_eq!(preloads(list, "/l/liblinger.so"), ("/l/liblinger.so:/a.so".to_owned(), vec![]));
        let list = "/a.so:liblinger.so:liblinger.so.0";
        assert_eq!(preloads(list, "/l/liblinger.so"), ("/a.so:/l/liblinger.so".to_owned(), vec![]));
    }

    #[test]
    fn another_copy_is_replaced_and_said_to_be() {
        let (list, replaced) = preloads("/a.so:/old/liblinger.so.0", "/l/liblinger.so");
        assert_eq!(list, "/a.so:/l/liblinger.so");
        assert_eq!(replaced, [PathBuf::from("/old/liblinger.so.0")]);
    }

    #[test]
    fn the_same_file_under_another_name_is_the_same() {
        let directory = tempfile::tempdir().expect("directory");
        let (file, link) = (directory.path().join("liblinger.so.0"), directory.path().join("hook.so"));
        std::fs::write(&file, "").expect("write");
        std::os::unix::fs::symlink(&file, &link).expect("link");
        let Preloads { list, replaced } = with_library(link.as_os_str(), &file);
        assert_eq!(list, file.as_os_str().as_bytes());
        assert_eq!(replaced, Vec::<PathBuf>::new());
    }
}
