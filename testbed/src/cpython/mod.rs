//! CPython's own tests, and what became of each of them, by its name.
//!
//! Some fail for reasons of the machine, and some now and then for reasons of its load. The former fail without the shim,
//! too, and are compared; for the latter see [`retrial`].
//!
//! **Invariant:** a run that was to be under the shim was: the process that ran the tests says so at its end, and how many
//! connections it handed to the drain thread.

mod retrial;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{ensure, Context, Result};

use crate::server::Preload;
use crate::settings;
use crate::specimens::suite_command;
use retrial::{differences, Retrial};

/// What became of each test.
pub type Results = BTreeMap<String, String>;

const PASSED: &str = "passed";
const FAILED: &str = "<failure";
const BROKE: &str = "<error";

/// How a run under the shim shows that the shim was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Connections lingered.
    Lingered,
    /// close() would have lingered, but the tests let go of no connection that could.
    On,
}

/// Suites to compare.
#[derive(Debug, Clone, Copy)]
pub struct Suites<'a> {
    /// As `python3 -m test` knows them.
    pub names: &'a [&'a str],
    /// So many tests must pass, skipped ones not counted: the report has been understood, and the machine lets them run.
    pub at_least: usize,
    /// Of the run under the shim.
    pub sign: Sign,
    /// Methods that pass only where a close() resets the peer: these must pass without the shim, and fail with it.
    pub expect_a_reset: &'a [&'a str],
}

/// One run.
#[derive(Debug)]
struct Run {
    results: Results,
    /// What liblinger said at the end, where it was there.
    shim: Option<Presence>,
}

/// What `programs/regrtest.py` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Presence {
    active: bool,
    lingered: u64,
}

/// Runs these suites; of their tests those with these names, or all.
fn run(suites: &[&str], only: &[&str], preload: &Preload) -> Result<Run> {
    let dir = tempfile::tempdir()?;
    let (report, presence) = (dir.path().join("report.xml"), dir.path().join("presence"));
    let mut command = suite_command(suites, only, &report, &presence)?;
    settings::apply(&mut command, preload, &[]);
    let output = command.current_dir(dir.path()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = fs::read_to_string(&report).with_context(|| format!("no report, but:\n{text}"))?;
    let results: Results = report.split("<testcase ").skip(1).filter_map(result).collect();
    let understood = output.status.success() || !failures(&results).is_empty();
    ensure!(understood, "{suites:?} ended with {}, and no test failed: {text}", output.status);
    let said =
        fs::read_to_string(&presence).with_context(|| format!("no word of liblinger, but:\n{text}"))?;
    Ok(Run { results, shim: presence_of(&said)? })
}

/// `absent`, or what linger_shim_active() and linger_stats() say: `1 42`.
fn presence_of(said: &str) -> Result<Option<Presence>> {
    if said.trim_end() == "absent" {
        return Ok(None);
    }
    let (active, lingered) = said.trim_end().split_once(' ').with_context(|| format!("it says {said:?}"))?;
    Ok(Some(Presence { active: active == "1", lingered: lingered.parse()? }))
}

/// `name="..." status="run" ...><skipped/>`
fn result(test: &str) -> Option<(String, String)> {
    let name = test.strip_prefix("name=\"")?.split('"').next()?;
    let outcome = [FAILED, BROKE, "<skipped"].into_iter().find(|tag| test.contains(tag));
    Some((name.to_owned(), outcome.unwrap_or(PASSED).to_owned()))
}

/// The names of the tests that did not pass, and were not skipped.
fn failures(results: &Results) -> BTreeSet<&str> {
    let failed = results.iter().filter(|(_, outcome)| matches!(&***outcome, FAILED | BROKE));
    failed.map(|(name, _)| name.as_str()).collect()
}

fn passed(results: &Results) -> usize {
    results.values().filter(|outcome| *outcome == PASSED).count()
}

/// The suites of which no test passed: Python leaves out a whole one where it misses something.
fn left_out<'a>(suites: &[&'a str], results: &Results) -> Vec<&'a str> {
    let is_of = |name: &str, suite: &str| {
        name.strip_prefix("test.").and_then(|name| name.strip_prefix(suite)?.strip_prefix('.')).is_some()
    };
    let ran = |suite: &str| results.iter().any(|(name, outcome)| outcome == PASSED && is_of(name, suite));
    suites.iter().copied().filter(|suite| !ran(suite)).collect()
}

impl Suites<'_> {
    /// Runs them without the shim and with it. A test with another result is tried again by itself, many times each way.
    ///
    /// # Panics
    ///
    /// If the shim makes a difference to a test, was not at work, or fewer tests pass than must.
    pub fn say_the_same_with_the_shim(&self) {
        let shim = Preload::shim().expect("shim");
        let bare = run(self.names, &[], &Preload::None).expect("CPython's tests without the shim");
        assert_eq!(bare.shim, None, "liblinger is there without being preloaded");
        let mut with = run(self.names, &[], &shim).expect("CPython's tests with the shim");
        println!(
            "{:?}: {} tests, {} pass; fail without the shim: {:?}; with it: {:?}",
            self.names,
            bare.results.len(),
            passed(&bare.results),
            failures(&bare.results),
            with.shim
        );
        self.was_at_work(with.shim);
        for run in [&bare, &with] {
            let passed = passed(&run.results);
            assert!(passed >= self.at_least, "{:?}: only {passed} tests pass: {run:?}", self.names);
            let missing = left_out(self.names, &run.results);
            assert!(missing.is_empty(), "no test of {missing:?} passes: {run:?}");
        }
        for method in self.expect_a_reset {
            accept_no_reset(method, &bare.results, &mut with.results);
        }
        let blamed: Vec<_> = differences(&bare.results, &with.results)
            .into_iter()
            .filter_map(|(name, first)| self.try_again(&name, first, &shim))
            .collect();
        assert!(blamed.is_empty(), "different with the shim: {blamed:#?}");
    }

    fn was_at_work(&self, shim: Option<Presence>) {
        let shim = shim.expect("liblinger was not there");
        assert!(shim.active, "close() was libc's: {:?}", self.names);
        if self.sign == Sign::Lingered {
            assert!(shim.lingered > 0, "nothing lingered in {:?}", self.names);
        }
    }

    /// What speaks against the shim, in words.
    fn try_again(
        &self,
        name: &str,
        first: (Option<String>, Option<String>),
        shim: &Preload,
    ) -> Option<String> {
        println!("{name}: {first:?} without the shim and with it; again, by itself");
        let mut retrial = Retrial::after(first.0);
        retrial.hold(|with_shim| {
            let preload = if with_shim { shim } else { &Preload::None };
            run(self.names, &[name], preload).map(|run| run.results.get(name).cloned())
        });
        println!("{name}: {retrial:?}");
        retrial.blames_the_shim().then(|| format!("{name}: {retrial:?}"))
    }
}

/// Takes the failure that is the shim's purpose for the success that it replaces.
fn accept_no_reset(method: &str, bare: &Results, preloaded: &mut Results) {
    let ours = |name: &&String| name.rsplit('.').next() == Some(method);
    let names: Vec<_> = bare.keys().filter(ours).cloned().collect();
    assert!(!names.is_empty(), "there is no {method}");
    for name in names {
        let (was, is) = (bare.get(&name), preloaded.get(&name));
        println!("{name}: {was:?}, and with the shim, which sends no reset, {is:?}");
        assert_eq!(was.map(String::as_str), Some(PASSED), "{name} fails without the shim");
        assert_eq!(is.map(String::as_str), Some(FAILED), "{name} expects a reset, but not with the shim");
        preloaded.insert(name, PASSED.to_owned());
    }
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
        assert_eq!(result(test), Some(("test.test_x.A.b".to_owned(), FAILED.to_owned())));
        assert_eq!(presence_of("absent\n").expect("words"), None);
        let presence = presence_of("1 42\n").expect("words");
        assert_eq!(presence, Some(Presence { active: true, lingered: 42 }));
    }

    #[test]
    fn only_what_passed_passed() {
        let results = results(&[("a", PASSED), ("b", "<skipped"), ("c", BROKE), ("d", FAILED)]);
        assert_eq!(passed(&results), 1);
        assert_eq!(failures(&results), BTreeSet::from(["c", "d"]));
    }

    #[test]
    fn a_suite_that_did_not_run_is_left_out() {
        let results = results(&[("test.test_x.A.b", PASSED), ("test.test_x2.A.b", "<skipped")]);
        assert_eq!(left_out(&["test_x", "test_x2", "test_"], &results), ["test_x2", "test_"]);
    }

    #[test]
    #[should_panic(expected = "fails without the shim")]
    fn a_test_that_always_fails_is_not_put_down_to_the_missing_reset() {
        let (bare, mut with) = (results(&[("x.y", FAILED)]), results(&[("x.y", FAILED)]));
        accept_no_reset("y", &bare, &mut with);
    }
}
