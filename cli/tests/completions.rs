//! What shells get from `linger completions`.

use std::io::Write;
use std::process::{Command, Stdio};

fn script(shell: &str) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_linger")).args(["completions", shell]).output().expect("run");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_shell_learns_the_subcommands_and_their_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for word in ["run", "probe", "stat", "demo", "completions", "exit-wait", "dry-run"] {
            assert!(script.contains(word), "no {word} for {shell}");
        }
        assert!(!script.contains('\x1b'));
        assert!(!script.contains("so-linger"), "what linger demo starts itself for is nobody's business");
    }
}

#[test]
fn bash_completes_subcommands_and_values() {
    let mut bash = Command::new("bash")
        .arg("--norc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash");
    let mut text = script("bash");
    for words in ["linger de", "linger run --when un", "linger run --dry"] {
        text += &format!(
            "COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
             _linger linger \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"
             echo \"${{COMPREPLY[*]}}\"\n"
        );
    }
    bash.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("write");
    let output = bash.wait_with_output().expect("output");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "demo\nunread\n--dry-run\n");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let mut linger = Command::new(env!("CARGO_BIN_EXE_linger"));
    let output =
        linger.args(["completions", "bash"]).stdout(writer).stderr(Stdio::piped()).output().expect("run");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = linger.stdout(full).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to stdout"));
}

#[test]
fn an_unknown_shell_is_answered_with_those_that_are_known() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_linger")).args(["completions", "csh"]).output().expect("run");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("fish"));
}
