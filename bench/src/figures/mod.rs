//! The figures: what each measures, how, and what it must reach.

pub mod burst;
pub mod fairness;
pub mod fin_here;
pub mod latency;
pub mod scale;
pub mod servers;
pub mod startup;
pub mod untouched;
pub mod upload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use linger_testbed::server::Preload;
use serde::{Deserialize, Serialize};

use crate::samples::{Series, Summary};

/// How much is to be measured, and of which library.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often each contender takes its turn.
    pub rounds: usize,
    /// To see that everything works, not what comes out.
    pub quick: bool,
    /// The liblinger.so that is measured.
    pub library: PathBuf,
}

impl Plan {
    /// Its hooks on.
    #[must_use]
    pub fn shim(&self) -> Preload {
        Preload::Shim(self.library.clone())
    }

    /// How long a server is under load for one sample.
    #[must_use]
    pub fn load_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 2000 })
    }

    /// `full`, or `quick` of them where only the driver is tried out.
    #[must_use]
    pub fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick {
            quick
        } else {
            full
        }
    }
}

/// One of the figures.
pub struct Figure {
    /// What `--only` calls it.
    pub id: &'static str,
    /// What it is.
    pub title: &'static str,
    /// How it is measured, for the report.
    pub method: &'static str,
    /// Measures it.
    pub run: fn(&Plan, &mut Finding) -> Result<()>,
}

/// All of them, in the order of the report.
pub const FIGURES: &[Figure] = &[
    untouched::UNTOUCHED,
    fin_here::FIN_HERE,
    servers::KEEP_ALIVE,
    servers::CLOSE,
    servers::REDIS,
    servers::LIGHTTPD,
    servers::ECHO,
    latency::LATENCY,
    upload::UPLOAD,
    scale::MEMORY,
    scale::GROWTH,
    startup::STARTUP,
    burst::BURST,
    fairness::FAIRNESS,
];

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Of which figure.
    pub id: String,
    /// What the contenders showed.
    pub series: Vec<Series>,
    /// Round by round, one contender over another.
    pub ratios: Vec<Series>,
    /// What had to be reached, and whether it was.
    pub targets: Vec<Target>,
    /// What else was seen.
    pub remarks: Vec<String>,
    /// Whether the plot has a logarithmic axis.
    pub logarithmic: bool,
    /// Which of the series have the plot to themselves; none: all of the first one's unit.
    pub plotted: Vec<String>,
    /// When it was measured, in seconds since 1970.
    pub measured_at: u64,
    /// The library that was measured.
    pub library: String,
    /// Over how many rounds.
    pub rounds: usize,
    /// Whether only the driver was tried out.
    pub quick: bool,
}

/// What had to be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What is compared.
    pub subject: String,
    /// What it must reach, in words.
    pub must: String,
    /// What was measured.
    pub measured: Summary,
    /// Of what.
    pub unit: String,
    /// What part the median is of what the target allows; nothing where that is no limit to stay below.
    pub part: Option<f64>,
    /// Whether its median reaches it.
    pub reached: bool,
}

/// What a median must be to reach its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// This, or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
    /// Exactly this.
    Exactly(f64),
    /// This, or more.
    AtLeast(f64),
}

impl Bound {
    fn admits(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::Below(bound) => value < bound,
            Bound::Exactly(number) => value == number,
            Bound::AtLeast(least) => value >= least,
        }
    }

    /// What part of it the value is, where it is a limit to stay below.
    fn part(self, value: f64) -> Option<f64> {
        match self {
            Bound::AtMost(limit) | Bound::Below(limit) => Some(value / limit),
            Bound::Exactly(_) | Bound::AtLeast(_) => None,
        }
    }

    fn words(self, unit: &str) -> String {
        let (how, number) = match self {
            Bound::AtMost(number) => ("at most ", number),
            Bound::Below(number) => ("below ", number),
            Bound::Exactly(number) => ("", number),
            Bound::AtLeast(number) => ("at least ", number),
        };
        format!("{how}{number}{}{unit}", if unit.is_empty() { "" } else { " " })
    }
}

impl Finding {
    /// The series of this name, with `sample` as its next one.
    pub fn add(&mut self, name: &str, unit: &str, sample: f64) {
        let position = self.series.iter().position(|series| series.name == name);
        let position = position.unwrap_or_else(|| {
            self.series.push(Series::new(name, unit));
            self.series.len() - 1
        });
        self.series[position].samples.push(sample);
    }

    /// The series of this name.
    ///
    /// # Errors
    ///
    /// If it was not measured.
    pub fn series(&self, name: &str) -> Result<&Series> {
        self.series
            .iter()
            .find(|series| series.name == name)
            .with_context(|| format!("{name} was not measured"))
    }

    /// The ratio of two series, for the report.
    ///
    /// # Errors
    ///
    /// If one of them was not measured.
    pub fn compare(&mut self, one: &str, other: &str) -> Result<Series> {
        let ratio = self.series(one)?.over(self.series(other)?);
        if !self.ratios.iter().any(|known| known.name == ratio.name) {
            self.ratios.push(ratio.clone());
        }
        Ok(ratio)
    }

    /// The ratio of two series must reach `bound`.
    ///
    /// # Errors
    ///
    /// If one of them was not measured.
    pub fn require_ratio(&mut self, one: &str, other: &str, bound: Bound) -> Result<()> {
        let ratio = self.compare(one, other)?;
        self.require_of(&ratio, bound);
        Ok(())
    }

    /// A series must reach `bound`.
    ///
    /// # Errors
    ///
    /// If it was not measured.
    pub fn require(&mut self, name: &str, bound: Bound) -> Result<()> {
        let series = self.series(name)?.clone();
        self.require_of(&series, bound);
        Ok(())
    }

    /// What was worked out from the samples must reach `bound`.
    pub fn require_of(&mut self, series: &Series, bound: Bound) {
        let measured = series.summary();
        self.targets.push(Target {
            subject: series.name.clone(),
            must: bound.words(&series.unit),
            measured,
            unit: series.unit.clone(),
            part: bound.part(measured.median),
            reached: bound.admits(measured.median),
        });
    }

    /// The last `count` targets were not reached, whatever their figures are: what they ask for was not there.
    pub fn fail_last(&mut self, count: usize, because: &str) {
        for target in self.targets.iter_mut().rev().take(count) {
            target.reached = false;
            target.subject = format!("{} ({because})", target.subject);
        }
    }

    /// For whoever reads the report.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_reached_by_the_median_alone() {
        let mut finding = Finding::default();
        for (plain, with) in [(10.0, 10.0), (10.0, 10.9), (10.0, 30.0)] {
            finding.add("plain", "µs", plain);
            finding.add("with", "µs", with);
        }
        finding.require_ratio("with", "plain", Bound::AtMost(1.1)).expect("measured");
        finding.require_ratio("with", "plain", Bound::Below(1.09)).expect("measured");
        finding.require("with", Bound::AtMost(5.0)).expect("measured");
        let reached: Vec<_> = finding.targets.iter().map(|target| target.reached).collect();
        assert_eq!(reached, [true, false, false]);
        assert_eq!(finding.targets[2].must, "at most 5 µs");
        assert_eq!(finding.ratios.len(), 1, "the same comparison is shown once");
    }

    #[test]
    fn what_was_not_measured_is_not_reached() {
        let mut finding = Finding::default();
        assert!(finding.require("nothing", Bound::AtMost(1.0)).is_err());
        finding.require_of(&Series::new("empty", ""), Bound::AtMost(1.0));
        assert!(!finding.targets[0].reached);
    }
}
