//! The system calls of a program, as `strace -f` shows them, made comparable between two runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure, Context, Result};
use tempfile::TempDir;

use crate::server::{find_program, Preload};
use crate::settings;

/// What is different in every run of one and the same program.
const NEVER_THE_SAME: [&str; 6] = ["getrandom", "sysinfo", "clock_gettime", "getrusage", "statfs", "fstatfs"];

/// Calls that have numbers of processes among their arguments or as their result.
const NAME_PROCESSES: [&str; 14] = [
    "clone",
    "clone3",
    "fork",
    "vfork",
    "wait4",
    "waitid",
    "getpid",
    "getppid",
    "gettid",
    "getpgrp",
    "kill",
    "tgkill",
    "set_tid_address",
    "setpgid",
];

/// What the shim's constructor asks last, before anything of the program's own runs: whether descriptor 0 is a
/// connection, as under inetd.
const LAST_AT_START: &str = "getsockopt(0, SOL_TCP, TCP_INFO";

/// What the loader does to map two libraries, ours and libgcc's, and what our constructor asks.
pub const ADDED_AT_START: [&str; 11] = [
    "openat",
    "read",
    "newfstatat",
    "fstat",
    "mmap",
    "mprotect",
    "close",
    "munmap",
    "getpid",
    "gettid",
    "getsockopt",
];

/// So many calls are enough to find the same place in both runs.
const MARK: usize = 8;

/// The calls of one run in order, without addresses, process numbers and times, and without brk(2): programs copy their
/// environment to the heap, so that one variable more lets it grow a little sooner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    calls: Vec<String>,
}

/// What the calls of a run with the shim are, compared with those of one without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Calls there are more of before the program's own begin.
    pub added_at_start: Vec<String>,
    /// The program's own, without the shim.
    pub bare: Vec<String>,
    /// The same with the shim, and whatever the shim added or changed.
    pub preloaded: Vec<String>,
}

impl Trace {
    /// Runs the program to its end, in `directory`.
    ///
    /// # Errors
    ///
    /// If it or strace(1) cannot be run, it fails, or it starts a thread or a process.
    pub fn of(program: &[&str], directory: &Path, preload: &Preload) -> Result<Self> {
        let logs = TempDir::new()?;
        let log = logs.path().join("strace");
        let mut command = Command::new(find_program("strace", "strace")?);
        command.arg("-f").arg("-o").arg(&log);
        if let Preload::Shim(path) = preload {
            command.arg("-E").arg(format!("LD_PRELOAD={}", path.display()));
        }
        command.arg("--").args(program);
        // strace(1) itself stays bare.
        settings::apply(&mut command, &Preload::None, &[]);
        // Perl's hashes have another order, and so another size, in every run otherwise.
        command.env("PERL_HASH_SEED", "0").current_dir(directory);
        let output = command.stdin(Stdio::null()).output().context("run strace")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program:?} ended with {}: {errors}", output.status);
        Self::parse(&fs::read_to_string(&log)?)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut only = None;
        let mut calls = Vec::new();
        for line in text.lines() {
            let (pid, call) = line.split_once(' ').with_context(|| format!("strace says {line:?}"))?;
            if *only.get_or_insert(pid) != pid {
                bail!("a second thread or process: {line:?}");
            }
            let mut call = comparable(call);
            if names_processes(name(&call)) {
                let words = call.split(' ').map(|word| if word == pid { "PID" } else { word });
                call = words.collect::<Vec<_>>().join(" ");
            }
            if name(&call) == "brk" {
                continue;
            }
            forget_random(&mut call, &calls);
            calls.push(call);
        }
        Ok(Self { calls })
    }

    /// Calls that were made comparable already.
    pub(crate) fn of_calls(calls: Vec<String>) -> Self {
        Self { calls }
    }

    /// Compares the run of a program with its run under the shim.
    ///
    /// # Errors
    ///
    /// If it cannot be seen where the shim's start ends, or where the program goes on from there without it.
    pub fn compare(&self, preloaded: &Trace) -> Result<Comparison> {
        let last = preloaded.calls.iter().rposition(|call| call.starts_with(LAST_AT_START));
        let (start, own) = preloaded.calls.split_at(last.context("the shim did not start")? + 1);
        let mark = own.get(..MARK).unwrap_or(own);
        let goes_on = self.calls.windows(mark.len().max(1)).position(|calls| calls == mark);
        let goes_on = goes_on.with_context(|| format!("without the shim there is no {mark:#?}"))?;
        let (bare_start, bare) = self.calls.split_at(goes_on);
        // With a library more the loader may need more room for what it needed room for anyway, so each call that there
        // was before accounts for one of its name.
        let mut before: Vec<_> = bare_start.iter().map(|call| name(call)).collect();
        let mut added_at_start = start.to_vec();
        added_at_start.retain(|call| match before.iter().position(|known| *known == name(call)) {
            Some(place) => {
                before.swap_remove(place);
                false
            }
            None => true,
        });
        ensure!(before.is_empty(), "with the shim the program's start lacks {before:?}");
        Ok(Comparison { added_at_start, bare: bare.to_vec(), preloaded: own.to_vec() })
    }
}

/// The name of a call.
#[must_use]
pub fn name(call: &str) -> &str {
    call.split('(').next().unwrap_or_default()
}

impl Comparison {
    /// The first call in which the runs differ, for messages.
    #[must_use]
    pub fn first_difference(&self) -> Option<String> {
        let longest = self.bare.len().max(self.preloaded.len());
        let number = (0..longest).find(|n| self.bare.get(*n) != self.preloaded.get(*n))?;
        let call = |calls: &[String]| calls.get(number).cloned().unwrap_or_else(|| "nothing".to_owned());
        let (bare, preloaded) = (call(&self.bare), call(&self.preloaded));
        let more = self.preloaded.len() as i64 - self.bare.len() as i64;
        Some(format!("call {number} is\n  {bare}\nand with the shim\n  {preloaded}\n({more:+} calls in all)"))
    }
}

/// What is read from /dev/urandom is never the same.
pub(crate) fn forget_random(call: &mut String, before: &[String]) {
    let random = |call: &String| call.contains("/dev/urandom");
    if before.iter().rev().take(2).any(random) && name(call) == "read" {
        call.truncate("read".len());
    }
}

/// Whether a number in it may be a process's.
pub(crate) fn names_processes(name: &str) -> bool {
    NAME_PROCESSES.contains(&name)
}

/// The call without what differs between any two runs, but for the numbers of processes.
pub(crate) fn comparable(call: &str) -> String {
    let call = call.trim_start();
    if NEVER_THE_SAME.contains(&name(call)) {
        return name(call).to_owned();
    }
    let words = call.split_ascii_whitespace().map(without_addresses);
    words.collect::<Vec<_>>().join(" ")
}

fn without_addresses(word: &str) -> String {
    let mut pieces = word.split("0x");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str("ADDRESS");
        text.push_str(piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &[&str]) -> Trace {
        let text: Vec<_> = lines.iter().map(|line| format!("77  {line}")).collect();
        Trace::parse(&text.join("\n")).expect("trace")
    }

    #[test]
    fn what_differs_between_any_two_runs_is_left_out() {
        let calls = trace(&["mmap(0x55d0a1)   = 0x55d0a2", "getpid() = 77", "sysinfo({uptime=1}) = 0"]).calls;
        assert_eq!(calls, ["mmap(ADDRESS) = ADDRESS", "getpid() = PID", "sysinfo"]);
    }

    #[test]
    fn a_length_that_happens_to_be_the_number_of_the_process_stays() {
        assert_eq!(trace(&["read(3, 832) = 77"]).calls, ["read(3, 832) = 77"]);
    }

    #[test]
    fn calls_added_at_start_and_later_are_told_apart() {
        let own: Vec<_> = (0..MARK).map(|n| format!("write({n})")).collect();
        let own = own.iter().map(String::as_str);
        let shown = ["execve(2)", "mmap(1)", "close(3)"].into_iter();
        let bare: Vec<_> = shown.chain(own.clone()).chain(["exit_group(0)"]).collect();
        let start =
            ["execve(3)", "mmap(1)", "mmap(9)", "close(3)", "getsockopt(0, SOL_TCP, TCP_INFO, 0x7f, [1])"];
        let preloaded: Vec<_> = start.into_iter().chain(own).chain(["getpid()", "exit_group(0)"]).collect();
        let comparison = trace(&bare).compare(&trace(&preloaded)).expect("comparison");
        assert_eq!(comparison.added_at_start.len(), 2, "{comparison:?}");
        let difference = comparison.first_difference().expect("difference");
        assert!(difference.starts_with(&format!("call {MARK} is\n  exit_group(0)\n")), "{difference}");
        assert!(difference.ends_with("(+1 calls in all)"), "{difference}");
    }

    #[test]
    fn a_second_thread_is_noticed() {
        assert!(Trace::parse("77  clone3() = 78\n78  read(0) = 0\n").is_err());
    }
}
