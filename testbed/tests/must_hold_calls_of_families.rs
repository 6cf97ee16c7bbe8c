//! Programs that are no servers, and everything they start, make the same system calls with the shim as without: shells,
//! git, a compiler, tar, scripts, threads. Files, pipes, forks and execs are none of the shim's business.

use std::fs;
use std::path::Path;
use std::process::Command;

use linger_testbed::family_trace::FamilyTrace;
use linger_testbed::server::{find_program, Preload};
use linger_testbed::trace::{name, Comparison, ADDED_AT_START};
use linger_testbed::transparency::succeed;
use tempfile::TempDir;

/// A fork's handlers run before anything else does, but for what libc itself does in a child.
const FIRST_CALLS: usize = 3;

/// For each program that is started.
const HANDFUL: usize = 32;

/// Nothing of who runs the tests has a say in what git does.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_AUTHOR_NAME", "A"),
    ("GIT_AUTHOR_EMAIL", "a@example.org"),
    ("GIT_COMMITTER_NAME", "A"),
    ("GIT_COMMITTER_EMAIL", "a@example.org"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

fn make_directory() -> TempDir {
    let directory = TempDir::new().expect("directory");
    let path = directory.path();
    for number in 0..20 {
        fs::write(path.join(format!("file-{number}")), format!("line {number}\n").repeat(1000))
            .expect("write");
    }
    fs::write(path.join("program.c"), "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n")
        .expect("write");
    directory
}

/// A child asks once who it is (pthread_atfork(3)), and close_range(2), which may name anything, is preceded by the same
/// question. Nothing else is added anywhere.
fn take_known_questions(comparison: &mut Comparison) {
    let is_question = |call: &String| name(call) == "getpid";
    let started_by_fork = comparison.bare.first().is_none_or(|call| name(call) != "execve");
    if comparison.added_at_start.is_empty() && started_by_fork {
        let first = comparison.preloaded.iter().take(FIRST_CALLS).position(is_question);
        let alone = !comparison.bare.iter().take(FIRST_CALLS).any(is_question);
        if let Some(place) = first.filter(|_| alone) {
            comparison.preloaded.remove(place);
        }
    }
    let followed = |calls: &[String], place: usize| calls.get(place + 1).map(|call| name(call).to_owned());
    let asked = |calls: &[String], place: usize| {
        calls.get(place).is_some_and(is_question) && followed(calls, place).as_deref() == Some("close_range")
    };
    for place in (0..comparison.preloaded.len()).rev() {
        if asked(&comparison.preloaded, place) && !asked(&comparison.bare, place) {
            comparison.preloaded.remove(place);
        }
    }
}

fn is_untouched(processes: usize, program: &[&str], directory: &Path) {
    let trace =
        |preload: &Preload| FamilyTrace::of(program, directory, &ENVIRONMENT, preload).expect("trace");
    // What the first run leaves behind is there in the second, so it is there in both.
    trace(&Preload::None);
    let bare = trace(&Preload::None);
    assert!(bare.processes() >= processes, "{program:?}: only {} processes", bare.processes());
    let mut comparisons = bare.compare(&trace(&Preload::shim().expect("shim"))).expect("comparison");
    for comparison in &mut comparisons {
        take_known_questions(comparison);
    }
    are_the_same(program, &comparisons);
    println!("{program:?}: {} processes, {} calls of their own", bare.processes(), calls(&comparisons));
}

fn calls(comparisons: &[Comparison]) -> usize {
    comparisons.iter().map(|comparison| comparison.bare.len()).sum()
}

fn are_the_same(program: &[&str], comparisons: &[Comparison]) {
    for comparison in comparisons {
        let added = &comparison.added_at_start;
        assert!(added.len() <= HANDFUL, "{program:?}: {} calls at start: {added:#?}", added.len());
        for call in added {
            assert!(ADDED_AT_START.contains(&name(call)), "{program:?}: {call} at start");
        }
        if let Some(difference) = comparison.first_difference() {
            panic!("{program:?}: {difference}");
        }
    }
}

#[test]
fn a_shell_with_children_and_pipes() {
    let directory = make_directory();
    let script =
        "for f in file-1 file-2; do cat $f > copy; done; (exit 3) || true; x=$(echo a); test -n \"$x\"; \
                  while read -r line; do :; done < file-3; exec 5<file-4; read -r y <&5; exec 5<&-";
    is_untouched(4, &["sh", "-c", script], directory.path());
}

#[test]
fn find_that_starts_programs() {
    let directory = make_directory();
    is_untouched(
        3,
        &["find", ".", "-name", "file-1?", "-exec", "head", "-n", "1", "{}", ";"],
        directory.path(),
    );
}

#[test]
fn small_tools() {
    let directory = make_directory();
    is_untouched(1, &["sed", "s/line/LINE/", "file-5"], directory.path());
    is_untouched(1, &["cut", "-c", "1-3", "file-5"], directory.path());
    is_untouched(1, &["cp", "file-6", "copy"], directory.path());
    is_untouched(1, &["sha256sum", "file-6", "file-7"], directory.path());
    is_untouched(3, &["xargs", "-a", "program.c", "-n", "3", "echo"], directory.path());
}

#[test]
fn tar_there_and_back() {
    let directory = make_directory();
    let files: Vec<_> = (0..20).map(|number| format!("file-{number}")).collect();
    let create: Vec<_> =
        ["tar", "cf", "all.tar"].into_iter().chain(files.iter().map(String::as_str)).collect();
    is_untouched(1, &create, directory.path());
    is_untouched(1, &["tar", "xf", "all.tar"], directory.path());
    is_untouched(1, &["gzip", "-kf", "all.tar"], directory.path());
}

#[test]
fn a_compiler_and_what_it_starts() {
    find_program("gcc", "gcc libc6-dev").expect("gcc");
    let directory = make_directory();
    // Temporary files with random names would differ.
    is_untouched(3, &["gcc", "-O1", "-save-temps", "-c", "program.c"], directory.path());
}

#[test]
fn git_looks_at_a_repository() {
    let git = find_program("git", "git").expect("git");
    let directory = make_directory();
    for arguments in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "files"]] {
        let mut command = Command::new(&git);
        succeed(command.args(arguments).current_dir(directory.path()).envs(ENVIRONMENT)).expect("git");
    }
    let git = git.to_str().expect("a path in UTF-8");
    for arguments in [&["log", "--stat"][..], &["status"], &["diff", "HEAD"], &["grep", "-c", "line 1"]] {
        let line = [&[git, "--no-pager", "-c", "grep.threads=1"], arguments].concat();
        is_untouched(1, &line, directory.path());
    }
}

#[test]
fn a_python_script_with_files_pipes_and_processes() {
    let directory = make_directory();
    let script = "
import os
r, w = os.pipe(); os.dup2(r, 50); os.close(50); os.close(r); os.close(w)
import json, socket, subprocess
with open('file-7') as f: n = len(f.read())
with open('out.json', 'w') as f: json.dump({'n': n}, f)
subprocess.run(['true'], check=True)
subprocess.run('wc -l < file-8 > count; true', shell=True, check=True, close_fds=True)
pid = os.fork()
if pid == 0: os._exit(0)
os.waitpid(pid, 0)
a, b = socket.socketpair()
a.sendall(b'x'); b.recv(1); a.close(); b.close()
";
    is_untouched(4, &["/usr/bin/python3", "-I", "-c", script], directory.path());
}

/// Of what is forgiven elsewhere nothing is forgiven here: threads are no children.
#[test]
fn a_program_with_threads() {
    let directory = make_directory();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/threads.c");
    let mut compiler = Command::new(find_program("gcc", "gcc libc6-dev").expect("gcc"));
    succeed(compiler.arg(source).args(["-pthread", "-o", "threads"]).current_dir(directory.path()))
        .expect("threads.c");
    let program = ["./threads"];
    // A thread's own heap would be cut to size from a mapping, in pieces that depend on where that lies.
    let environment = [("MALLOC_ARENA_MAX", "1")];
    // Whether one waits for the other's end, or finds that it has ended.
    let trace = |preload: &Preload| {
        let trace = FamilyTrace::of(&program, directory.path(), &environment, preload).expect("trace");
        trace.without("futex")
    };
    let bare = trace(&Preload::None);
    assert_eq!(bare.processes(), 4, "the first thread, and three");
    let comparisons = bare.compare(&trace(&Preload::shim().expect("shim"))).expect("comparison");
    are_the_same(&program, &comparisons);
    assert!(calls(&comparisons) > 50, "{comparisons:#?}");
}

#[test]
fn perl_that_forks_and_makes_pipes() {
    let directory = make_directory();
    let script =
        "open(my $f, '<', 'file-9'); my @l = <$f>; close $f; open(my $p, '-|', 'echo', 'x'); my $x = <$p>; \
                  close $p; my $pid = fork; exit 0 unless $pid; waitpid $pid, 0; print scalar @l;";
    is_untouched(3, &["perl", "-e", script], directory.path());
}
