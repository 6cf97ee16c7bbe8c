//! A test that came out otherwise with the shim, tried again by itself: was it the shim, or the machine's load?
//!
//! No clock and no process in here.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Results, PASSED};

/// Each way. What fails three times in ten only with the shim passes all of them once in thirty-five.
const TRIALS: usize = 10;

/// What became of one test; `None` where it did not run.
type Outcome = Option<String>;

/// What became of the tests that came out otherwise, without the shim and with it.
pub(super) fn differences(bare: &Results, with: &Results) -> Vec<(String, (Outcome, Outcome))> {
    let names: BTreeSet<_> = bare.keys().chain(with.keys()).collect();
    let different = names.into_iter().filter(|name| bare.get(*name) != with.get(*name));
    let both = |name: &String| (bare.get(name).cloned(), with.get(name).cloned());
    different.map(|name| (name.clone(), both(name))).collect()
}

/// What came of the trials.
#[derive(Debug)]
pub(super) struct Retrial {
    bare: Vec<Outcome>,
    with: Vec<Outcome>,
}

impl Retrial {
    /// `bare` is what the whole run without the shim said. What the one with it said is what is to be found out.
    pub(super) fn after(bare: Outcome) -> Self {
        Self { bare: vec![bare], with: Vec::new() }
    }

    /// Runs the test in turns, so that the machine's load is the same for both; `true` is with the shim. A trial that
    /// cannot be carried out came to no result.
    pub(super) fn hold(&mut self, mut run: impl FnMut(bool) -> Result<Outcome>) {
        for _ in 0..TRIALS {
            self.bare.push(run(false).unwrap_or(None));
            self.with.push(run(true).unwrap_or(None));
        }
    }

    /// Whether anything but success came with the shim that never came without, or came several times as often.
    pub(super) fn blames_the_shim(&self) -> bool {
        let count = |trials: &[Outcome], outcome: &Outcome| trials.iter().filter(|o| *o == outcome).count();
        let passes = |outcome: &Outcome| outcome.as_deref() == Some(PASSED);
        self.with.iter().filter(|outcome| !passes(outcome)).any(|outcome| {
            let (bare, with) = (count(&self.bare, outcome), count(&self.with, outcome));
            bare == 0 || with > 2 * bare + 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::FAILED;
    use super::*;

    fn results(of: &[(&str, &str)]) -> Results {
        of.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect()
    }

    /// A test of which each way fails the trials whose numbers are named, after a pass without the shim.
    fn blamed(fails_bare: &[usize], fails_with: &[usize]) -> bool {
        let (mut number, mut retrial) = (0, Retrial::after(Some(PASSED.to_owned())));
        retrial.hold(|with_shim| {
            let fails = if with_shim { fails_with } else { fails_bare }.contains(&(number / 2));
            number += 1;
            Ok(Some(if fails { FAILED } else { PASSED }.to_owned()))
        });
        assert_eq!(number, 2 * TRIALS);
        retrial.blames_the_shim()
    }

    #[test]
    fn what_is_missing_or_other_is_a_difference() {
        let bare = results(&[("a", "passed"), ("b", "passed"), ("c", "<error")]);
        let with = results(&[("a", "passed"), ("b", "<failure"), ("d", "passed")]);
        let names: Vec<_> = differences(&bare, &with).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "c", "d"]);
        assert!(differences(&bare, &bare).is_empty());
    }

    #[test]
    fn a_test_that_fails_now_and_then_only_with_the_shim_is_the_shims_fault() {
        assert!(blamed(&[], &[2, 5, 9]));
        assert!(blamed(&[], &[9]));
        assert!(blamed(&[4], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), "and so is one that fails far more often");
    }

    #[test]
    fn a_test_that_fails_both_ways_or_never_again_is_not() {
        assert!(!blamed(&[], &[]));
        assert!(!blamed(&[1, 2, 3], &[4, 5]));
        assert!(!blamed(&[1], &[4, 5, 6]));
    }

    #[test]
    fn a_test_that_does_not_even_run_with_the_shim_is_the_shims_fault() {
        let mut retrial = Retrial::after(Some(PASSED.to_owned()));
        retrial.hold(|with_shim| {
            if with_shim {
                anyhow::bail!("it hung");
            }
            Ok(Some(PASSED.to_owned()))
        });
        assert!(retrial.blames_the_shim());
    }
}
