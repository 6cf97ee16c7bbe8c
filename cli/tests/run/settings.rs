//! Options become what the library understands.

use std::process::Command;

use crate::stage::{library, linger_run, stderr, Stage};

const EXTREMES: [[&str; 18]; 2] = [
    [
        "--timeout",
        "0",
        "--idle",
        "1ms",
        "--max-timeout",
        "0",
        "--exit-wait",
        "0",
        "--max-bytes",
        "0",
        "--max",
        "0",
        "--when",
        "open",
        "--side",
        "server",
        "--log",
        "info",
    ],
    [
        "--timeout",
        "2147483647ms",
        "--idle",
        "2147483647ms",
        "--max-timeout",
        "2147483647ms",
        "--exit-wait",
        "2147483647ms",
        "--max-bytes",
        "9223372036854775807",
        "--max",
        "1000000",
        "--when",
        "unread",
        "--side",
        "both",
        "--log",
        "debug",
    ],
];

#[test]
fn the_library_takes_the_least_and_the_most_of_everything() {
    for options in EXTREMES {
        let output = linger_run().args(options).arg("true").output().expect("run");
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("is on (Preloaded)"), "{said}");
        assert!(!said.contains("is not"), "the library rejects a value: {said}");
    }
}

#[test]
fn the_library_knows_every_variable_by_that_name() {
    let output = linger_run().args(["--dry-run"]).args(EXTREMES[0]).arg("true").output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let names: Vec<&&str> = names.iter().filter(|name| name.starts_with("LINGER_")).collect();
    assert_eq!(names.len(), EXTREMES[0].len() / 2, "{text}");
    for name in names {
        let output =
            Command::new("true").env("LD_PRELOAD", library()).env(name, "bogus").output().expect("true");
        assert!(stderr(&output).contains(&format!("{name}=\"bogus\" is not")), "{name}: {}", stderr(&output));
    }
}

#[test]
fn an_option_comes_before_what_the_environment_says() {
    let stage = Stage::new();
    let mut command = linger_run();
    command
        .env("LINGER_TIMEOUT_MS", "1")
        .env("LINGER_IDLE_MS", "2")
        .args(["--timeout", "7s"])
        .arg(stage.witness());
    let text = crate::stage::printed(&mut command);
    assert!(text.contains("entry: LINGER_TIMEOUT_MS=7000\n"), "{text}");
    assert!(text.contains("entry: LINGER_IDLE_MS=2\n"), "{text}");
}
