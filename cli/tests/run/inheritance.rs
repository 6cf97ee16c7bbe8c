//! The program is what it would have been without `linger run`, but for the library and the settings.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::stage::{library, linger_run, printed, Stage};

/// Runs the witness itself, and through `linger run`, in the same circumstances; returns what both print, without what must
/// differ.
fn both(
    words: &[&str],
    options: &[&str],
    stage: &Stage,
    circumstances: &dyn Fn(&mut Command),
) -> (String, String) {
    stage.witness();
    let path = format!("{}:/usr/bin:/bin", stage.root().display());
    let mut direct = Command::new("env");
    let mut through = Command::new("env");
    for command in [&mut direct, &mut through] {
        command.env_clear().env("PATH", &path).env("A", "1").env("LINGER_LIBRARY", library());
    }
    through.arg(env!("CARGO_BIN_EXE_linger")).arg("run").args(options);
    for command in [&mut direct, &mut through] {
        command.args(words);
        circumstances(command);
    }
    let ours = |line: &&str| !line.starts_with("pid: ");
    let text = |command| printed(command).lines().filter(ours).map(|line| format!("{line}\n")).collect();
    (text(&mut direct), text(&mut through))
}

fn with_preload(text: &str) -> String {
    format!("{text}entry: LD_PRELOAD={}\n", library().display())
}

#[test]
fn words_and_environment_are_the_same_but_for_the_library() {
    let stage = Stage::new();
    let words = ["witness", "a b", "", "--", "--timeout", "-x"];
    let (direct, through) = both(&words, &["--"], &stage, &|_| {});
    assert!(direct.contains("word: witness\n") && direct.contains("word: a b\n"), "{direct}");
    assert_eq!(through, with_preload(&direct));
}

#[test]
fn settings_are_added_behind() {
    let stage = Stage::new();
    let (direct, through) = both(&["witness"], &["--timeout", "90s", "--when=unread"], &stage, &|_| {});
    let settings = "entry: LINGER_TIMEOUT_MS=90000\nentry: LINGER_WHEN=unread\n";
    assert_eq!(through, with_preload(&direct) + settings);
}

fn set_broken_pipe(action: libc::sighandler_t) -> std::io::Result<()> {
    // SAFETY: SIG_DFL and SIG_IGN are no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, action) };
    Ok(())
}

#[test]
fn a_broken_pipe_is_a_signal_where_it_was_one() {
    let stage = Stage::new();
    let circumstances = |command: &mut Command| {
        // SAFETY: between fork and exec; signal(2) is async-signal-safe.
        unsafe { command.pre_exec(|| set_broken_pipe(libc::SIG_DFL)) };
    };
    let (direct, through) = both(&["witness"], &[], &stage, &circumstances);
    assert!(!direct.contains("ignored: 13"), "{direct}");
    assert_eq!(through, with_preload(&direct));
}

#[test]
fn a_broken_pipe_stays_ignored_where_it_was() {
    let stage = Stage::new();
    let circumstances = |command: &mut Command| {
        // SAFETY: between fork and exec; signal(2) is async-signal-safe.
        unsafe { command.pre_exec(|| set_broken_pipe(libc::SIG_IGN)) };
    };
    let (direct, through) = both(&["witness"], &[], &stage, &circumstances);
    assert!(direct.contains("ignored: 13"), "{direct}");
    assert_eq!(through, with_preload(&direct));
}

#[test]
fn blocked_signals_stay_blocked() {
    let stage = Stage::new();
    let circumstances = |command: &mut Command| {
        // SAFETY: sigset_t is plain data; sigprocmask(2) is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR1);
                libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
                Ok(())
            })
        };
    };
    let (direct, through) = both(&["witness"], &[], &stage, &circumstances);
    assert!(direct.contains("blocked: 10"), "{direct}");
    assert_eq!(through, with_preload(&direct));
}

#[test]
fn closed_descriptors_stay_closed() {
    let stage = Stage::new();
    let circumstances = |command: &mut Command| {
        // SAFETY: close(2) is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::close(0);
                libc::close(2);
                Ok(())
            })
        };
    };
    let (direct, through) = both(&["witness"], &[], &stage, &circumstances);
    assert!(direct.contains("closed: 0 2\n"), "{direct}");
    assert_eq!(through, with_preload(&direct));
}

#[test]
fn there_is_no_other_process() {
    let stage = Stage::new();
    let child = linger_run().arg(stage.witness()).stdout(Stdio::piped()).spawn().expect("run");
    let pid = child.id();
    let output = child.wait_with_output().expect("output");
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("pid: {pid}\n")));
}

#[test]
fn the_exit_code_is_the_programs() {
    let status = linger_run().args(["sh", "-c", "exit 7"]).status().expect("run");
    assert_eq!(status.code(), Some(7));
}

#[test]
fn the_library_comes_behind_other_preloads() {
    let stage = Stage::new();
    let other = stage.compile("other.so", "int other;", &["-shared"]);
    let text = printed(linger_run().env("LD_PRELOAD", &other).arg(stage.witness()));
    let expected = format!("entry: LD_PRELOAD={}:{}\n", other.display(), library().display());
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn within_itself_it_preloads_once() {
    let stage = Stage::new();
    let text = printed(linger_run().arg(env!("CARGO_BIN_EXE_linger")).arg("run").arg(stage.witness()));
    let expected = format!("entry: LD_PRELOAD={}\n", library().display());
    assert!(text.contains(&expected), "{text}");
    assert_eq!(text.matches("LD_PRELOAD=").count(), 1, "{text}");
}

#[test]
fn another_copy_of_the_library_is_replaced_with_a_word() {
    let stage = Stage::new();
    let copy = stage.executable("liblinger.so.0", std::fs::read(library()).expect("library"));
    let output = linger_run().env("LD_PRELOAD", &copy).arg(stage.witness()).output().expect("run");
    let expected = format!("entry: LD_PRELOAD={}\n", library().display());
    assert!(String::from_utf8_lossy(&output.stdout).contains(&expected));
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(warning.contains("warning") && warning.contains("replaced"), "{warning}");
}
