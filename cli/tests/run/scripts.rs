//! Scripts are judged by the program that runs them; what is run is still the script.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::stage::{linger_run, printed, stderr, stdout, Stage};

const NOTHING: &str = "int main(void) { return 0; }";

/// A script that prints its own name, its arguments and what it finds preloaded.
const TELLTALE: &str = "printf '%s\\n' \"$0\" \"$@\" \"${LD_PRELOAD##*/}\"\n";

#[test]
fn a_script_is_run_with_its_arguments() {
    let stage = Stage::new();
    let script = stage.executable("script", format!("#!/bin/sh\n{TELLTALE}"));
    let text = printed(linger_run().arg(&script).args(["a b", "--timeout"]));
    assert_eq!(text, format!("{}\na b\n--timeout\nliblinger.so\n", script.display()));
}

#[test]
fn a_script_without_a_first_line_is_the_shells_as_with_execvp() {
    let stage = Stage::new();
    let script = stage.executable("script", TELLTALE);
    let text = printed(linger_run().arg(&script).arg("x"));
    assert_eq!(text, format!("{}\nx\nliblinger.so\n", script.display()));
}

#[test]
fn a_script_with_a_static_interpreter_is_refused() {
    let stage = Stage::new();
    let interpreter = stage.compile("interpreter", NOTHING, &["-static"]);
    let script = stage.executable("script", format!("#!{}\n", interpreter.display()));
    let outer = stage.executable("outer", format!("#! {} -x\n", script.display()));
    for script in [script, outer] {
        let output = linger_run().arg(script).output().expect("run");
        assert_eq!(output.status.code(), Some(126));
        let message = stderr(&output);
        assert!(message.contains(&interpreter.display().to_string()), "{message}");
        assert!(message.contains("statically linked"), "{message}");
    }
}

#[test]
fn env_is_followed_to_what_it_runs() {
    let stage = Stage::new();
    let interpreter = stage.compile("interpreter", NOTHING, &["-static"]);
    let at = interpreter.display();
    let scripts = [
        format!("#!/usr/bin/env {at}\n"),
        format!("#!/usr/bin/env -S A=1 {at} -u 'x y'\n"),
        format!("#!/usr/bin/env -vS PATH={} interpreter\n", stage.root().display()),
        format!("#!/usr/bin/env -S -C {} ./interpreter\n", stage.root().display()),
    ];
    for text in scripts {
        let script = stage.executable("script", &text);
        let output = linger_run().arg(script).output().expect("run");
        assert_eq!(output.status.code(), Some(126), "{text}{}", stderr(&output));
        assert!(stderr(&output).contains("statically linked"), "{text}{}", stderr(&output));
    }
    let output = linger_run().args(["env", "A=1"]).arg(&interpreter).output().expect("run");
    assert!(stderr(&output).contains("statically linked"), "{}", stderr(&output));
}

#[test]
fn what_env_runs_is_preloaded() {
    let stage = Stage::new();
    let script = stage.executable("script", format!("#!/usr/bin/env -S B=2 sh -u\n{TELLTALE}"));
    let text = printed(linger_run().arg(&script));
    assert_eq!(text, format!("{}\nliblinger.so\n", script.display()));
}

#[test]
fn an_interpreter_that_cannot_be_run_is_named() {
    let stage = Stage::new();
    let missing = stage.executable("missing", "#!/nonexistent/perl -w\n");
    let unfound = stage.executable("unfound", "#!/usr/bin/env no-such-interpreter\n");
    let directory = stage.executable("directory", "#!/usr\n");
    for (script, code, word) in [
        (missing, 127, "/nonexistent/perl, which is not there"),
        (unfound, 127, "\"no-such-interpreter\": not found in PATH"),
        (directory, 126, "/usr is a directory"),
    ] {
        let output = linger_run().arg(&script).output().expect("run");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(word) && message.contains(&script.display().to_string()), "{message}");
    }
}

/// Each script of the chain is run by the one before.
fn chain(stage: &Stage, length: usize) -> PathBuf {
    let mut last = PathBuf::from("/bin/sh");
    for number in 0..length {
        last = stage.executable(&format!("script{number}"), format!("#!{}\n", last.display()));
    }
    fs::write(stage.path("script0"), "#!/bin/true\n").expect("write");
    last
}

#[test]
fn scripts_that_run_scripts_are_followed_as_far_as_the_kernel_does() {
    let stage = Stage::new();
    let mut verdicts = Vec::new();
    for length in 1..=8 {
        let script = chain(&stage, length);
        let kernel = Command::new(&script).status().is_ok_and(|status| status.success());
        let output = linger_run().arg("--dry-run").arg(&script).output().expect("run");
        assert_eq!(output.status.success(), kernel, "{length} scripts: {}", stderr(&output));
        verdicts.push(kernel);
    }
    assert!(verdicts.contains(&true) && verdicts.contains(&false), "{verdicts:?}");
}

#[test]
fn a_script_that_env_runs_for_ever_is_refused() {
    let stage = Stage::new();
    let script = stage.path("script");
    stage.executable("script", format!("#!/usr/bin/env {}\n", script.display()));
    // Never to be run: it would not end.
    let output = linger_run().arg("--dry-run").arg(&script).output().expect("run");
    assert_eq!(output.status.code(), Some(126), "{}", stderr(&output));
}

#[test]
fn a_dry_run_tells_the_route_and_runs_nothing() {
    let stage = Stage::new();
    let script = stage.executable("script", "#!/usr/bin/env -S sh -u\necho run\n");
    let output = linger_run().args(["--dry-run", "--idle", "3s"]).arg(&script).output().expect("run");
    let text = stdout(&output);
    assert!(!text.contains("run\nrun"), "{text}");
    assert!(text.contains(&format!("{}, run by /usr/bin/env, run by /", script.display())), "{text}");
    assert!(text.contains("\nLINGER_IDLE_MS=3000\n") && text.contains("\nLD_PRELOAD=/"), "{text}");
    let text = printed(linger_run().args(["--dry-run", "--json", "--idle", "3s"]).arg(&script));
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["file"], script.display().to_string());
    assert_eq!(report["route"].as_array().map(Vec::len), Some(3));
    assert_eq!(report["environment"]["LINGER_IDLE_MS"], "3000");
}
