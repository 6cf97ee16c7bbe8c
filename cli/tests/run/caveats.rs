//! What is run all the same, with a word of warning.

use std::process::Command;

use crate::refusals::add_go_section;
use crate::stage::{linger_run, stderr, stdout, Stage};

/// The only line on stderr, of a program that was run.
fn warning(command: &mut Command) -> String {
    let output = command.output().expect("run");
    let message = stderr(&output);
    assert!(output.status.success(), "{message}");
    assert!(message.starts_with("linger: warning: ") && message.lines().count() == 1, "{message:?}");
    assert!(!stdout(&output).contains("warning"), "stdout is the program's");
    message
}

#[test]
fn env_that_takes_the_library_away() {
    for words in
        [&["env", "-i", "true"][..], &["env", "-u", "LD_PRELOAD", "true"], &["env", "LD_PRELOAD=", "true"]]
    {
        let message = warning(linger_run().args(words));
        assert!(message.contains("behind env"), "{message}");
    }
}

#[test]
fn programs_that_clean_the_environment() {
    let stage = Stage::new();
    for name in ["sshd", "systemd-run", "sudo", "inetd", "dovecot"] {
        let program = stage.executable(name, "#!/bin/sh\n");
        let message = warning(linger_run().arg(program));
        assert!(message.contains(&format!("{name} does not pass its environment on")), "{message}");
    }
    let inetd = stage.compile("inetd", "int main(void) { return 0; }", &[]);
    assert!(warning(linger_run().arg(&inetd)).contains("-E"));
    let output = linger_run().arg(inetd).arg("-E").output().expect("run");
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_dynamic_go_program() {
    let stage = Stage::new();
    let program = stage.compile("go", "int main(void) { return 0; }", &[]);
    add_go_section(&stage, &program);
    let message = warning(linger_run().arg(program));
    assert!(message.contains("Go program"), "{message}");
}

#[test]
fn a_variable_that_turns_the_library_off() {
    let message = warning(linger_run().env("LINGER_PRELOAD", "0").arg("true"));
    assert!(message.contains("LINGER_PRELOAD=0"), "{message}");
}

#[test]
fn nothing_is_said_where_nothing_is_wrong() {
    let output = linger_run().args(["sh", "-c", "env | sort"]).output().expect("run");
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_loader_itself_preloads_into_what_it_loads() {
    let loader = stdout(
        &Command::new("sh")
            .args(["-c", "ls /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.*"])
            .output()
            .expect("ls"),
    );
    let loader = loader.lines().next().expect("a loader").to_owned();
    let output = linger_run().args(["--log", "info", &loader, "/bin/true"]).output().expect("run");
    assert!(stderr(&output).contains("is on (Preloaded)"), "{}", stderr(&output));
}
