//! CPython's own tests, and what became of each of them, by its name.
//!
//! Some fail for reasons of the machine, and some now and then for reasons of its load. The former fail without the shim,
//! too, and are compared; the latter do not fail twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{ensure, Context, Result};

use crate::server::Preload;
use crate::settings;
use crate::specimens::suite_command;

/// What became of each test.
pub type Results = BTreeMap<String, String>;

/// Runs these suites.
///
/// # Errors
///
/// If they cannot be run to their end.
pub fn run(suites: &[&str], preload: &Preload) -> Result<Results> {
    let dir = tempfile::tempdir()?;
    let report = dir.path().join("report.xml");
    let mut command = suite_command(suites, &report)?;
    settings::apply(&mut command, preload, &[]);
    let output = command.current_dir(dir.path()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = fs::read_to_string(&report).with_context(|| format!("no report, but:\n{text}"))?;
    let results: Results = report.split("<testcase ").skip(1).filter_map(result).collect();
    let understood = output.status.success() || !failures(&results).is_empty();
    ensure!(understood, "{suites:?} ended with {}, and no test failed: {text}", output.status);
    Ok(results)
}

/// `name="..." status="run" ...><skipped/>`
fn result(test: &str) -> Option<(String, String)> {
    let name = test.strip_prefix("name=\"")?.split('"').next()?;
    let outcome = ["<failure", "<error", "<skipped"].into_iter().find(|tag| test.contains(tag));
    Some((name.to_owned(), outcome.unwrap_or("passed").to_owned()))
}

/// The names of the tests that did not pass, and were not skipped.
#[must_use]
pub fn failures(results: &Results) -> BTreeSet<&str> {
    let failed = results.iter().filter(|(_, outcome)| matches!(&***outcome, "<failure" | "<error"));
    failed.map(|(name, _)| name.as_str()).collect()
}

/// Runs the suites without the shim and with it; where the results differ, all of it once more.
///
/// # Panics
///
/// If the runs differ in the same test twice, or there are fewer tests than `at_least`.
pub fn says_the_same_with_the_shim(suites: &[&str], at_least: usize) {
    says_the_same_but_for_resets(suites, at_least, &[]);
}

/// The same, but for methods that pass only where a close() resets the peer: these must pass without the shim, and fail
/// with it.
///
/// # Panics
///
/// If the runs differ otherwise in the same test twice, or there are fewer tests than `at_least`.
pub fn says_the_same_but_for_resets(suites: &[&str], at_least: usize, expect_a_reset: &[&str]) {
    let shim = Preload::shim().expect("shim");
    let both = || {
        let bare = run(suites, &Preload::None).expect("CPython's tests without the shim");
        assert!(bare.len() >= at_least, "only {} tests: {suites:?}", bare.len());
        println!("{suites:?}: {} tests; fail without the shim: {:?}", bare.len(), failures(&bare));
        let mut preloaded = run(suites, &shim).expect("CPython's tests with the shim");
        for method in expect_a_reset {
            accept_no_reset(method, &bare, &mut preloaded);
        }
        differences(&bare, &preloaded)
    };
    let first = both();
    if first.is_empty() {
        return;
    }
    println!("{suites:?}: once more, because of {first:#?}");
    let second = both();
    let twice: Vec<_> = second.iter().filter(|(name, _)| first.contains_key(*name)).collect();
    assert!(twice.is_empty(), "different with the shim, twice: {twice:#?}");
}

/// Takes the failure that is the shim's purpose for the success that it replaces.
fn accept_no_reset(method: &str, bare: &Results, preloaded: &mut Results) {
    let ours = |name: &&String| name.rsplit('.').next() == Some(method);
    let names: Vec<_> = bare.keys().filter(ours).cloned().collect();
    assert!(!names.is_empty(), "there is no {method}");
    for name in names {
        let (was, is) = (bare.get(&name), preloaded.get(&name));
        println!("{name}: {was:?}, and with the shim, which sends no reset, {is:?}");
        let reset_missed = is.is_some_and(|outcome| outcome == "<failure");
        assert!(reset_missed, "{name} expects a reset, and with the shim it is {is:?}");
        if let Some(was) = was {
            preloaded.insert(name, was.clone());
        }
    }
}

/// The tests with other results, and both of them.
fn differences(bare: &Results, preloaded: &Results) -> BTreeMap<String, String> {
    let names: BTreeSet<_> = bare.keys().chain(preloaded.keys()).collect();
    let different = names.into_iter().filter(|name| bare.get(*name) != preloaded.get(*name));
    let both = |name: &String| format!("{:?}, with the shim {:?}", bare.get(name), preloaded.get(name));
    different.map(|name| (name.clone(), both(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(of: &[(&str, &str)]) -> Results {
        of.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect()
    }

    #[test]
    fn a_report_is_understood() {
        let test = r#"name="test.test_x.A.b" status="run" time="0.1"><failure>no</failure></testcase>"#;
        assert_eq!(result(test), Some(("test.test_x.A.b".to_owned(), "<failure".to_owned())));
    }

    #[test]
    fn what_is_missing_or_other_is_a_difference() {
        let bare = results(&[("a", "passed"), ("b", "passed"), ("c", "<error")]);
        let preloaded = results(&[("a", "passed"), ("b", "<failure"), ("d", "passed")]);
        let names: Vec<_> = differences(&bare, &preloaded).into_keys().collect();
        assert_eq!(names, ["b", "c", "d"]);
        assert!(differences(&bare, &bare).is_empty());
        assert_eq!(failures(&bare), BTreeSet::from(["c"]));
    }
}
