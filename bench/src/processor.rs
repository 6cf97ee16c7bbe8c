//! Processor time of a program: of all its processes, and of all their threads, those that have ended included.
//!
//! Read from the kernel's processor clock of each process (`clock_getcpuclockid(3)`), in nanoseconds. That is the sum
//! which `/proc/PID/stat` divides into `utime` and `stime` and rounds to ticks of 10 ms, before it is rounded.
//!
//! **In it:** what the kernel does for the process, and what interrupts do while it runs: on loopback that is
//! the other end's share of a segment, too, for all contenders alike.

use std::fs;
use std::io;

use anyhow::{bail, Context, Result};

/// A process and its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    root: u32,
}

impl Family {
    /// Of the process with this number, which must outlive what is asked here.
    #[must_use]
    pub fn of(root: u32) -> Self {
        Self { root }
    }

    /// Their numbers now.
    ///
    /// # Errors
    ///
    /// If /proc cannot be read.
    pub fn members(self) -> Result<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // It may have ended since the directory was read.
            if let Some(parent) = fs::read_to_string(entry.path().join("stat")).ok().and_then(|s| parent(&s))
            {
                parents.push((pid, parent));
            }
        }
        let mut members = vec![self.root];
        let mut next = 0;
        while let Some(member) = members.get(next).copied() {
            members.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(pid, _)| *pid));
            next += 1;
        }
        Ok(members)
    }

    /// Nanoseconds of processor time they have used until now.
    ///
    /// # Errors
    ///
    /// If one of them ends meanwhile: its time would be missing.
    pub fn nanoseconds(self) -> Result<u64> {
        self.members()?.into_iter().map(processor_ns).sum()
    }

    /// How often their threads have gone to sleep until now.
    ///
    /// # Errors
    ///
    /// If one of them ends meanwhile.
    pub fn sleeps(self) -> Result<u64> {
        let mut sleeps = 0;
        for pid in self.members()? {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
                sleeps += voluntary_switches(&thread.path().join("status"))?;
            }
        }
        Ok(sleeps)
    }
}

/// Voluntary context switches of the thread whose `status` this is: each is a sleep that a wake-up ended.
///
/// # Errors
///
/// If it has ended.
pub fn voluntary_switches(status: &std::path::Path) -> Result<u64> {
    let text = fs::read_to_string(status).with_context(|| format!("read {}", status.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.context("no voluntary_ctxt_switches")?.trim().parse().context("voluntary_ctxt_switches")
}

/// The fourth field of `/proc/PID/stat`; the second, a name in parentheses, may contain anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn processor_ns(pid: u32) -> Result<u64> {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock's number and the time live until the calls return.
    let failed = unsafe {
        match libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) {
            0 => libc::clock_gettime(clock, &mut time) != 0,
            error => bail!("process {pid}: {}", io::Error::from_raw_os_error(error)),
        }
    };
    if failed {
        bail!("process {pid}: {}", io::Error::last_os_error());
    }
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_whatever_the_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
    }

    #[test]
    fn our_own_time_passes_and_a_child_is_of_the_family() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let family = Family::of(std::process::id());
        assert!(family.members().expect("members").contains(&child.id()));
        let before = processor_ns(std::process::id()).expect("time");
        let mut sum = 0u64;
        while processor_ns(std::process::id()).expect("time") < before + 1_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        drop(child.stdin.take());
        child.wait().expect("end");
    }
}
