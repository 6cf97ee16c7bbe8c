//! A process, as /proc shows it to whoever may look (proc(5)).
//!
//! **Invariant:** a process or a thread may end between any two looks: that is an answer here, not an error.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{test_kill_process, Pid};

use super::trouble::{Kind, Trouble};

/// What a drain thread is called.
const THREAD: &str = "linger";
/// What the library's file is called, whatever follows.
const LIBRARY: &[u8] = b"liblinger.so";
/// Of /proc/PID/stat: a thread of the kernel (PF_KTHREAD in include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// One process, which may be gone.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pub pid: i32,
}

impl Process {
    /// All that /proc shows, by number.
    pub fn all() -> Result<Vec<Process>, Trouble> {
        let unlisted = |error: io::Error| Trouble {
            pid: std::process::id() as i32,
            command: None,
            kind: Kind::System(error.to_string()),
        };
        let names =
            fs::read_dir("/proc").map_err(unlisted)?.filter_map(|entry| Some(entry.ok()?.file_name()));
        let mut pids: Vec<i32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
        if pids.is_empty() {
            return Err(unlisted(ErrorKind::NotFound.into()));
        }
        pids.sort_unstable();
        Ok(pids.into_iter().map(|pid| Process { pid }).collect())
    }

    fn path(self, rest: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{rest}", self.pid))
    }

    /// The name of its program.
    pub fn command(self) -> Option<String> {
        read_name(&self.path("comm"))
    }

    /// Whether it is a thread of the kernel, which runs no library.
    pub fn is_kernel_thread(self) -> bool {
        fs::read_to_string(self.path("stat")).is_ok_and(|stat| kernel_thread(&stat))
    }

    /// The directories of the threads that are called as a drain thread is. The first thread of a process never is one.
    pub fn drain_threads(self) -> Result<Vec<PathBuf>, Trouble> {
        let tasks = fs::read_dir(self.path("task")).map_err(|error| self.trouble(&error))?;
        let mut threads: Vec<PathBuf> = tasks.filter_map(|task| Some(task.ok()?.path())).collect();
        threads.retain(|thread| {
            !thread.ends_with(self.pid.to_string())
                && read_name(&thread.join("comm")).is_some_and(|name| name == THREAD)
        });
        threads.sort();
        Ok(threads)
    }

    /// Whether the library is mapped.
    pub fn has_library(self) -> Result<bool, Trouble> {
        let maps = fs::File::open(self.path("maps")).map_err(|error| self.trouble(&error))?;
        for line in BufReader::new(maps).split(b'\n') {
            if names_library(&line.map_err(|error| self.trouble(&error))?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What an error of /proc means.
    pub fn trouble(self, error: &io::Error) -> Trouble {
        let kind = match (error.kind(), Errno::from_io_error(error)) {
            (ErrorKind::PermissionDenied, _) => Kind::NotPermitted,
            (ErrorKind::NotFound, _) | (_, Some(Errno::SRCH)) if self.is_hidden() => Kind::NotPermitted,
            (ErrorKind::NotFound, _) | (_, Some(Errno::SRCH)) => Kind::Gone,
            _ => Kind::System(error.to_string()),
        };
        self.with_trouble(kind)
    }

    /// This, of this process.
    pub fn with_trouble(self, kind: Kind) -> Trouble {
        Trouble { pid: self.pid, command: self.command(), kind }
    }

    /// Whether it is there, though /proc (mounted with hidepid, proc(5)) does not show it.
    fn is_hidden(self) -> bool {
        let pid = Pid::from_raw(self.pid);
        pid.is_some_and(|pid| matches!(test_kill_process(pid), Err(Errno::PERM)))
    }

    /// The milliseconds that its monotonic clock is ahead of the machine's (time_namespaces(7)).
    pub fn clock_offset_ms(self) -> i64 {
        fs::read_to_string(self.path("timens_offsets")).map_or(0, |text| offset_ms(&text))
    }
}

/// Without the newline that /proc adds. A name need not be text.
fn read_name(path: &Path) -> Option<String> {
    let name = fs::read(path).ok()?;
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    Some(String::from_utf8_lossy(name).into_owned())
}

/// By the flags in /proc/PID/stat, which follow a name that may have anything in it.
fn kernel_thread(stat: &str) -> bool {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let flags = after_name.split_ascii_whitespace().nth(6).and_then(|flags| flags.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

/// Whether a line of /proc/PID/maps does.
fn names_library(line: &[u8]) -> bool {
    let Some(start) = line.iter().position(|byte| *byte == b'/') else { return false };
    let path = Path::new(std::ffi::OsStr::from_bytes(&line[start..]));
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(LIBRARY))
}

/// Of /proc/PID/timens_offsets: `monotonic SECONDS NANOSECONDS`.
fn offset_ms(text: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix("monotonic"));
    let mut numbers = line.unwrap_or("").split_ascii_whitespace().map_while(|word| word.parse::<i64>().ok());
    let seconds = numbers.next().unwrap_or(0);
    let nanoseconds = numbers.next().unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_the_kernel_is_told_by_its_flags() {
        assert!(kernel_thread("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0"));
        assert!(!kernel_thread("1 (init) S 0 1 1 0 -1 4194560 0 0"));
        assert!(!kernel_thread("7 (a) S 0 0 0 0 -1 2129984) S 0 1 1 0 -1 4194560 0"));
        assert!(!kernel_thread(""));
    }

    #[test]
    fn the_library_is_known_by_the_name_of_its_file() {
        let line = |path: &str| format!("7f00-7f01 r-xp 00000000 08:01 42                 {path}");
        for path in ["/usr/lib/liblinger.so.0", "/opt/a b/liblinger.so", "/x/liblinger.so.0.1.0 (deleted)"] {
            assert!(names_library(line(path).as_bytes()), "{path}");
        }
        for path in ["/usr/lib/libc.so.6", "/srv/liblinger.so/other", "/x/libmyliblinger.so", "[heap]", ""] {
            assert!(!names_library(line(path).as_bytes()), "{path}");
        }
    }

    #[test]
    fn clocks_of_time_namespaces_are_read() {
        assert_eq!(offset_ms("monotonic           0         0\nboottime 0 0\n"), 0);
        assert_eq!(offset_ms("monotonic    -1000 500000000\nboottime 7 0\n"), -999_500);
        assert_eq!(offset_ms(""), 0);
    }

    #[test]
    fn a_name_is_read_without_the_newline_that_was_added() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("comm");
        fs::write(&path, b"a\n\xff\n").expect("write");
        assert_eq!(read_name(&path).as_deref(), Some("a\n\u{fffd}"));
    }
}
