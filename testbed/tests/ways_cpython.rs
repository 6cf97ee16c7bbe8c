//! CPython's own tests of sockets and socket servers: among them threads that are woken by another's shutdown or close,
//! duplicated and passed descriptors, and servers of every kind. With the shim they say what they say without it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{ensure, Context, Result};
use linger_testbed::netns::isolated;
use linger_testbed::server::Preload;
use linger_testbed::specimens::suite_command;

const SUITES: [&str; 2] = ["test_socket", "test_socketserver"];

/// Far fewer than there are: the report has been understood.
const AT_LEAST: usize = 500;

/// What became of each test, by its name.
fn run(preload: &Preload) -> Result<BTreeMap<String, String>> {
    let dir = tempfile::tempdir()?;
    let report = dir.path().join("report.xml");
    let mut command = suite_command(&SUITES, &report)?;
    command.current_dir(dir.path());
    match preload {
        Preload::None => command.env_remove("LD_PRELOAD"),
        Preload::Shim(path) => command.env("LD_PRELOAD", path),
    };
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = fs::read_to_string(&report).with_context(|| format!("no report, but:\n{text}"))?;
    let results: BTreeMap<_, _> = report.split("<testcase ").skip(1).filter_map(result).collect();
    ensure!(output.status.success(), "{}: {text}", output.status);
    Ok(results)
}

/// `name="..." status="run" ...><skipped/>`
fn result(test: &str) -> Option<(String, String)> {
    let name = test.strip_prefix("name=\"")?.split('"').next()?;
    let outcome = ["<failure", "<error", "<skipped"].into_iter().find(|tag| test.contains(tag));
    Some((name.to_owned(), outcome.unwrap_or("passed").to_owned()))
}

#[test]
fn test_socket_and_test_socketserver_say_the_same_with_the_shim() {
    isolated(|| {
        let bare = run(&Preload::None).expect("CPython's tests without the shim");
        assert!(bare.len() > AT_LEAST, "only {} tests", bare.len());
        let preloaded = run(&Preload::shim().expect("shim")).expect("CPython's tests with the shim");
        assert_eq!(bare, preloaded);
    });
}
