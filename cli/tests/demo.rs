//! What people see of `linger demo`.

use std::process::{Command, Output};

use linger_testbed::server::Preload;

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_linger")).arg("demo").args(arguments).output().expect("run linger demo")
}

fn shim() -> String {
    match Preload::shim().expect("shim") {
        Preload::Shim(path) => path.display().to_string(),
        Preload::None => unreachable!("that is not a shim"),
    }
}

#[test]
fn without_a_library_it_says_how_to_get_one() {
    let output = demo(&["--library", "/nonexistent/liblinger.so"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("make install") && message.lines().count() == 1, "{message}");
}

#[test]
fn its_help_explains_what_is_shown() {
    let output = demo(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout);
    for word in ["pipeline", "upload", "late", "TCPAbortOnData", "Exit status"] {
        assert!(help.contains(word), "no {word} in:\n{help}");
    }
    assert!(!help.contains("\n  serve"), "what it starts itself for is nobody's business:\n{help}");
}

#[test]
fn json_says_that_the_shim_kept_everything() {
    let output = demo(&["--json", "--repeat", "1", "--library", &shim()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}{}", String::from_utf8_lossy(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["ok"], true);
    let rows = report["rows"].as_array().expect("rows");
    for row in rows.iter().filter(|row| row["shim"] == true) {
        assert_eq!(row["complete"], row["promised"], "{row}");
    }
    let lost = |row: &serde_json::Value| row["shim"] == false && row["complete"] != row["promised"];
    assert!(rows.iter().any(lost), "nothing was lost without the shim: {report}");
}

#[test]
fn the_table_is_plain_text_and_ends_with_a_conclusion() {
    let output = demo(&["--repeat", "1", "--scenario", "late", "--library", &shim()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains('\x1b'), "colour outside of a terminal");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.contains("Without the shim") && last.contains("With the shim"), "{text}");
}
