//! execve(2), for good: this process becomes the program.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::environment::Environment;
use crate::inheritance;

/// What execvp(3) has read a file that the kernel does not know how to run.
const SHELL: &str = "/bin/sh";

/// Runs `file` with `words`, the first of which is the name it is called by. Returns only if it cannot be run.
pub fn become_program(file: &Path, words: &[OsString], environment: &Environment) -> io::Error {
    inheritance::restore();
    let error = execute(file, words.iter().map(OsString::as_os_str), environment);
    if error.raw_os_error() != Some(libc::ENOEXEC) {
        return error;
    }
    let arguments = words.iter().skip(1).map(OsString::as_os_str);
    let words = [OsStr::new(SHELL), file.as_os_str()].into_iter().chain(arguments);
    execute(Path::new(SHELL), words, environment)
}

fn execute<'a>(file: &Path, words: impl Iterator<Item = &'a OsStr>, environment: &Environment) -> io::Error {
    let Ok(file) = CString::new(file.as_os_str().as_bytes()) else {
        return io::ErrorKind::InvalidInput.into();
    };
    let words: Result<Vec<CString>, _> = words.map(|word| CString::new(word.as_bytes())).collect();
    let Ok(words) = words else { return io::ErrorKind::InvalidInput.into() };
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (words, environment) = (pointers(&words), pointers(environment.entries()));
    // SAFETY: C strings, and arrays of pointers to C strings that end with null; all of them live until the call returns.
    unsafe { libc::execve(file.as_ptr(), words.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}
