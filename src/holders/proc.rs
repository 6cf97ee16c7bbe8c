//! What /proc says, read without allocating: names on the stack, directories entry by entry.
//!
//! **Promises:** every descriptor that is opened here is closed here.

use crate::sys::{self, process, Errno, Fd};
use core::ffi::CStr;
use core::fmt::Write;

/// A text on the stack, NUL-terminated.
pub(super) struct Path {
    bytes: [u8; 48],
    length: usize,
}

impl Path {
    /// From format arguments; what does not fit is cut (no path here is longer).
    pub(super) fn new(text: core::fmt::Arguments<'_>) -> Path {
        let mut path = Path { bytes: [0; 48], length: 0 };
        let _ = path.write_fmt(text);
        path
    }

    /// As a C string.
    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            // The last byte stays NUL.
            if self.length + 1 < self.bytes.len() {
                if let Some(place) = self.bytes.get_mut(self.length) {
                    *place = byte;
                    self.length += 1;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// The inode in `socket:[123]`, as /proc/PID/fd shows sockets (proc(5)).
pub(super) fn socket_inode(link: &[u8]) -> Option<u64> {
    decimal(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

/// The inode of the socket that number `fd` of process `pid` refers to; `None` where it refers to something else, or to nothing.
pub(super) fn socket_of(proc: Fd, pid: i32, fd: Fd) -> sys::Result<Option<u64>> {
    let mut link = [0u8; 64];
    let path = Path::new(format_args!("{pid}/fd/{fd}"));
    match sys::read_link(proc, path.as_c_str(), &mut link) {
        Ok(length) => Ok(link.get(..length).and_then(socket_inode)),
        Err(e) if has_ended(e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The process did so meanwhile.
pub(super) fn has_ended(error: Errno) -> bool {
    error.is(libc::ENOENT) || error.is(libc::ESRCH)
}

/// The numbers of the threads of a process, as far as there is room for them; how many there are.
pub(super) fn threads_of(proc: Fd, pid: i32, threads: &mut [i32]) -> sys::Result<usize> {
    let path = Path::new(format_args!("{pid}/task"));
    let directory = sys::open_at(proc, path.as_c_str(), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut count = 0;
    let listed = each_number(directory, &mut |number| {
        if let Some(place) = threads.get_mut(count) {
            *place = i32::try_from(number).unwrap_or(0);
        }
        count += 1;
        Ok(())
    });
    let _ = sys::close(directory);
    listed.map(|()| count)
}

/// Whether this /proc shows the processes of our namespace: in another's our number is somebody else's.
pub(super) fn is_ours(proc: Fd) -> sys::Result<bool> {
    let mut name = [0u8; 16];
    let length = sys::read_link(proc, c"self", &mut name)?;
    Ok(name.get(..length).and_then(decimal) == Some(process::pid() as u64))
}

/// How many threads of this process are not `ours`; more than one may be counted as one.
pub fn other_threads(kept: Option<Fd>, ours: &dyn Fn(i32) -> bool) -> sys::Result<usize> {
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let proc = kept.map_or_else(|| sys::open_at(libc::AT_FDCWD, c"/proc", directory), Ok)?;
    let mut threads = [0i32; 128];
    let count = match is_ours(proc) {
        Ok(true) => threads_of(proc, process::pid(), &mut threads),
        Ok(false) => Err(Errno(libc::ENOENT)),
        Err(error) => Err(error),
    };
    if kept.is_none() {
        let _ = sys::close(proc);
    }
    let count = count?;
    // There are fewer of ours.
    if count > threads.len() {
        return Ok(1);
    }
    Ok(threads.into_iter().take(count).filter(|thread| !ours(*thread)).count())
}

/// Calls `visit` with every entry of an open directory whose name is a number, until it fails.
pub(super) fn each_number(directory: Fd, visit: &mut dyn FnMut(u64) -> sys::Result<()>) -> sys::Result<()> {
    let mut buffer = [0u8; 4096];
    loop {
        let length = sys::directory_entries(directory, &mut buffer)?;
        let mut rest = buffer.get(..length).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(());
        }
        // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name (getdents(2)).
        while let Some(&[low, high]) = rest.get(16..18) {
            let record = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(19..record).unwrap_or(&[]);
            if let Some(number) = name.split(|b| *b == 0).next().and_then(decimal) {
                visit(number)?;
            }
            rest = rest.get(record.max(19)..).unwrap_or(&[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(socket_inode(b"socket:[123]"), Some(123));
        for other in [&b"pipe:[123]"[..], b"socket:[]", b"socket:[12", b"/tmp/socket:[1]", b"socket:[x]"] {
            assert_eq!(socket_inode(other), None);
        }
    }
}
