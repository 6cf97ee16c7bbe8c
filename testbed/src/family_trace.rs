//! The system calls of a program and of everything it starts, as `strace -ff` shows them, made comparable between two
//! runs.
//!
//! Each process is compared with the one that was made in its place in the other run, in the parts that execve(2) divides
//! it into: what a child does before it must be the same call for call, what a program does after it may have the shim's
//! start in front.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use tempfile::TempDir;

use crate::server::{find_program, Preload};
use crate::settings;
use crate::trace::{self, Comparison, Trace};

/// Calls that make a process or a thread.
const MAKE_PROCESSES: [&str; 4] = ["clone", "clone3", "fork", "vfork"];

/// The processes of one run, and their threads: each is followed by those it made, in the order in which it made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyTrace {
    processes: Vec<Vec<String>>,
}

impl FamilyTrace {
    /// Runs the program to its end, in `directory`, with these variables in its environment.
    ///
    /// # Errors
    ///
    /// If it or strace(1) cannot be run, or it fails.
    pub fn of(
        program: &[&str],
        directory: &Path,
        environment: &[(&str, &str)],
        preload: &Preload,
    ) -> Result<Self> {
        let logs = TempDir::new()?;
        let mut command = Command::new(find_program("strace", "strace")?);
        // One file for each process: their calls are not interleaved.
        command.arg("-ff").arg("-o").arg(logs.path().join("strace"));
        if let Preload::Shim(path) = preload {
            command.arg("-E").arg(format!("LD_PRELOAD={}", path.display()));
        }
        command.arg("--").args(program).current_dir(directory);
        settings::apply(&mut command, &Preload::None, &[]);
        command.env("PERL_HASH_SEED", "0").env("PYTHONHASHSEED", "0").envs(environment.iter().copied());
        let output = command.stdin(Stdio::null()).output().context("run strace")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program:?} ended with {}: {errors}", output.status);
        let mut texts = BTreeMap::new();
        for entry in fs::read_dir(logs.path())? {
            let path = entry?.path();
            let pid = path.extension().and_then(|pid| pid.to_str()).context("strace names no process")?;
            // What a program writes need not be UTF-8.
            texts.insert(pid.parse()?, String::from_utf8_lossy(&fs::read(&path)?).into_owned());
        }
        Ok(Self::parse(&texts))
    }

    fn parse(texts: &BTreeMap<u32, String>) -> Self {
        let order = in_order(texts);
        let pids: Vec<_> = order.iter().map(u32::to_string).collect();
        let process = |pid: &u32| {
            let mut calls = Vec::new();
            for line in texts[pid].lines().filter(|line| is_a_call(line)) {
                let mut call = comparable(line, &pids);
                trace::forget_random(&mut call, &calls);
                if trace::name(&call) != "brk" {
                    calls.push(call);
                }
            }
            calls
        };
        Self { processes: order.iter().map(process).collect() }
    }

    /// Leaves out what depends on which thread comes first.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        for calls in &mut self.processes {
            calls.retain(|call| trace::name(call) != name);
        }
        self
    }

    /// How many processes there were; a thread counts as one.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    /// Compares the run with one under the shim, part by part.
    ///
    /// # Errors
    ///
    /// If there are not the same processes in both, or it cannot be seen where the shim's start ends.
    pub fn compare(&self, preloaded: &Self) -> Result<Vec<Comparison>> {
        let (bare, with) = (self.processes(), preloaded.processes());
        ensure!(bare == with, "{bare} processes, with the shim {with}");
        let mut comparisons = Vec::new();
        for (bare, preloaded) in self.processes.iter().zip(&preloaded.processes) {
            let (bare, preloaded) = (parts(bare), parts(preloaded));
            ensure!(bare.len() == preloaded.len(), "not the same programs: {bare:#?}\n{preloaded:#?}");
            for (bare, preloaded) in bare.into_iter().zip(preloaded) {
                comparisons.push(compare_parts(bare, preloaded)?);
            }
        }
        Ok(comparisons)
    }
}

fn compare_parts(bare: &[String], preloaded: &[String]) -> Result<Comparison> {
    if bare.first().is_some_and(|call| is_exec(call)) {
        return Trace::of_calls(bare.to_vec()).compare(&Trace::of_calls(preloaded.to_vec()));
    }
    Ok(Comparison { added_at_start: Vec::new(), bare: bare.to_vec(), preloaded: preloaded.to_vec() })
}

/// The calls before the first successful execve(2), and those from each of them on.
fn parts(calls: &[String]) -> Vec<&[String]> {
    let mut parts = Vec::new();
    let mut rest = calls;
    while let Some(next) = rest.iter().skip(1).position(|call| is_exec(call)) {
        let (part, after) = rest.split_at(next + 1);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

fn is_exec(call: &str) -> bool {
    trace::name(call) == "execve" && call.ends_with("= 0")
}

/// The kernel begins with small numbers again after the largest, so what is younger may have the smaller one.
fn in_order(texts: &BTreeMap<u32, String>) -> Vec<u32> {
    let made: BTreeMap<_, Vec<_>> = texts.iter().map(|(pid, text)| (*pid, made_by(text))).collect();
    let has_no_maker = |pid: &&u32| !made.values().flatten().any(|child| child == *pid);
    let mut next: Vec<_> = texts.keys().rev().filter(has_no_maker).copied().collect();
    let mut order = Vec::new();
    while let Some(pid) = next.pop() {
        let is_new = |child: &&u32| texts.contains_key(child) && !order.contains(*child);
        next.extend(made[&pid].iter().rev().filter(is_new));
        order.push(pid);
    }
    order
}

/// What the calls of one process say they made.
fn made_by(text: &str) -> Vec<u32> {
    let makes = |line: &&str| MAKE_PROCESSES.contains(&trace::name(line));
    let result = |line: &str| line.rsplit_once("= ")?.1.trim().parse().ok();
    text.lines().filter(makes).filter_map(result).collect()
}

fn comparable(line: &str, pids: &[String]) -> String {
    let call = trace::comparable(line);
    match trace::name(&call) {
        // The first one's is strace.
        "getppid" => "getppid".to_owned(),
        name if MAKE_PROCESSES.contains(&name) => {
            let (made, number) = call.rsplit_once("= ").unwrap_or((&call, ""));
            format!("{}= {}", without_thread_number(made), without_processes(number, pids))
        }
        name if trace::names_processes(name) => without_processes(&call, pids),
        _ => without_count_of_variables(&call),
    }
}

/// Signals and ends are no calls, and come when they come; so do interrupted calls, which are made again.
fn is_a_call(line: &str) -> bool {
    let signal = line.starts_with("---") || line.starts_with("+++") || trace::name(line) == "rt_sigreturn";
    !signal && !line.contains("= ? ERESTART")
}

/// `/* 20 vars */`: LD_PRELOAD is one more.
fn without_count_of_variables(call: &str) -> String {
    without(call, "/* ", " vars */")
}

/// `parent_tid=[78]`: a thread that has ended before strace looks there has cleared it. The call's result says it, too.
fn without_thread_number(call: &str) -> String {
    without(call, "parent_tid=[", "]")
}

/// Without what is after the first `before` and before the `after` that follows it, and without `before`.
fn without(call: &str, before: &str, after: &str) -> String {
    let found = call.find(before).and_then(|from| Some((from, from + call[from..].find(after)?)));
    match found {
        Some((from, to)) => format!("{}{}", &call[..from], &call[to..]),
        None => call.to_owned(),
    }
}

/// Every number that is one of `pids` becomes its place among them.
fn without_processes(call: &str, pids: &[String]) -> String {
    let mut text = String::with_capacity(call.len());
    let mut rest = call;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (number, after) = digits.split_at(end);
        text.push_str(before);
        match pids.iter().position(|pid| pid == number) {
            Some(place) => text.push_str(&format!("PROCESS-{place}")),
            None => text.push_str(number),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(texts: &[(u32, &[&str])]) -> FamilyTrace {
        FamilyTrace::parse(&texts.iter().map(|(pid, lines)| (*pid, lines.join("\n"))).collect())
    }

    #[test]
    fn processes_are_known_by_their_order() {
        let one =
            family(&[(77, &["vfork() = 78", "wait4(78, NULL, 0, NULL) = 78"]), (78, &["getpid() = 78"])]);
        let other = family(&[(5, &["vfork() = 9", "wait4(9, NULL, 0, NULL) = 9"]), (9, &["getpid() = 9"])]);
        assert_eq!(one, other);
        assert_eq!(one.processes(), 2);
    }

    #[test]
    fn numbers_begin_again_after_the_largest() {
        let parent = ["vfork() = 32767", "vfork() = 301"];
        let wrapped = family(&[(32766, &parent), (32767, &["getpid() = 32767"]), (301, &["close(3) = 0"])]);
        let parent = ["vfork() = 6", "vfork() = 7"];
        let other = family(&[(5, &parent), (6, &["getpid() = 6"]), (7, &["close(3) = 0"])]);
        assert_eq!(wrapped, other);
        assert_eq!(wrapped.processes(), 3);
    }

    #[test]
    fn a_length_that_happens_to_be_a_number_of_a_process_stays() {
        let reads = |pid: u32| family(&[(pid, &["read(3) = 832", "getpid() = 9"])]);
        assert_eq!(reads(832), reads(7));
        let thread = |pid: u32| {
            let made = format!("clone3({{}} => {{parent_tid=[{pid}]}}, 88) = {pid}");
            family(&[(3, &[&made]), (pid, &["gettid()"])])
        };
        assert_eq!(thread(88), thread(7));
    }

    #[test]
    fn a_thread_that_ended_before_strace_looked_is_no_difference() {
        let clone = |seen| format!("clone3({{flags=CLONE_VM}} => {{parent_tid=[{seen}]}}, 88) = 8");
        let (in_time, late, another) = (clone("8"), clone("0"), clone("8").replace("= 8", "= -1 EAGAIN"));
        assert_eq!(family(&[(7, &[&in_time])]), family(&[(7, &[&late])]));
        assert_ne!(family(&[(7, &[&in_time])]), family(&[(7, &[&another])]));
    }

    #[test]
    fn one_call_more_before_exec_is_a_difference() {
        let child = ["close(3) = 0", "execve(\"x\", [], 0x1 /* 1 vars */) = -1 ENOENT"];
        let bare = family(&[(7, &child)]);
        let preloaded = family(&[(7, &[child[0], "getpid() = 7", child[1]])]);
        let comparisons = bare.compare(&preloaded).expect("comparison");
        assert!(comparisons.iter().any(|comparison| comparison.first_difference().is_some()));
        let same = bare.compare(&bare).expect("comparison");
        assert!(same.iter().all(|comparison| comparison.first_difference().is_none()));
    }

    #[test]
    fn parts_begin_with_what_execve_started() {
        let calls = ["dup2(4, 1) = 1", "execve(\"a\") = 0", "mmap() = 1", "execve(\"b\") = 0"];
        let calls: Vec<_> = calls.iter().map(|call| (*call).to_owned()).collect();
        let lengths: Vec<_> = parts(&calls).iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [1, 2, 1]);
    }
}
