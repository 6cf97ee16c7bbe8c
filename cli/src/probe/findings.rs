//! All runs of all scenarios, counted. Pure.

use serde::Serialize;

use super::advice::{advise, Findings};
use super::scenario::{Baseline, Run, Scenario};
use super::target::{Protocol, Target};
use super::trouble::Trouble;
use super::verdict::{Reference, Verdict};

/// The runs of one scenario.
#[derive(Debug)]
pub struct Series {
    /// Which.
    pub scenario: Scenario,
    /// In order; a run that could not be made says why.
    pub runs: Vec<Result<Run, Trouble>>,
}

/// How they went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// All of them.
    pub runs: usize,
    /// Whole answers, nothing reset.
    pub complete: usize,
    /// Whole answers, but a reset.
    pub complete_but_reset: usize,
    /// Answers that did not arrive whole.
    pub lost: usize,
    /// Nothing decides.
    pub undecided: usize,
    /// Could not be made.
    pub failed: usize,
}

/// What it all comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Summary {
    /// Nothing was lost or reset.
    Clean,
    /// Something was lost.
    Lost,
    /// Nothing was lost, but connections were reset.
    Reset,
    /// Nothing was lost or reset, but not everything could be tested.
    Undecided,
}

impl Summary {
    /// Of the process, see linger-probe(1).
    pub fn exit_code(self) -> u8 {
        match self {
            Summary::Clean => 0,
            Summary::Lost | Summary::Reset => 1,
            Summary::Undecided => 2,
        }
    }
}

impl Series {
    /// How the runs went.
    pub fn count(&self) -> Counts {
        let mut counts = Counts { runs: self.runs.len(), ..Counts::default() };
        for run in &self.runs {
            match run.as_ref().map(|run| run.verdict) {
                Ok(Verdict::Complete) => counts.complete += 1,
                Ok(Verdict::CompleteButReset) => counts.complete_but_reset += 1,
                Ok(Verdict::Lost { .. }) => counts.lost += 1,
                Ok(Verdict::Undecided { .. }) => counts.undecided += 1,
                Err(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// The first of the worst: the one to show.
    pub fn worst(&self) -> Option<&Run> {
        let made = self.runs.iter().filter_map(|run| run.as_ref().ok());
        made.reduce(|worst, run| if run.verdict.badness() > worst.verdict.badness() { run } else { worst })
    }

    /// Why some runs could not be made.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.runs.iter().find_map(|run| run.as_ref().err())
    }
}

/// Everything that a report says.
#[derive(Debug)]
pub struct Report {
    /// Of what.
    pub target: Target,
    /// What a polite client gets.
    pub reference: Option<Reference>,
    /// Polite first.
    pub series: Vec<Series>,
}

impl Report {
    /// Begins with the polite run.
    pub fn new(target: Target, baseline: Option<Baseline>, scenarios: &[Scenario]) -> Report {
        let reference = baseline.as_ref().map(|baseline| baseline.reference);
        let polite = baseline.map(|it| Series { scenario: Scenario::Polite, runs: vec![Ok(it.run)] });
        let others = scenarios.iter().map(|&scenario| Series { scenario, runs: Vec::new() });
        Report { target, reference, series: polite.into_iter().chain(others).collect() }
    }

    /// How the server calls itself.
    pub fn server(&self) -> Option<&str> {
        let mut made = self.series.iter().flat_map(|series| &series.runs).flatten();
        made.find_map(|run| run.seen.server.as_deref())
    }

    /// What it all comes to.
    pub fn summarize(&self) -> Summary {
        let counts: Vec<_> = self.series.iter().map(Series::count).collect();
        if counts.iter().any(|counts| counts.lost > 0) {
            Summary::Lost
        } else if counts.iter().any(|counts| counts.complete_but_reset > 0) {
            Summary::Reset
        } else if counts.iter().any(|counts| counts.undecided + counts.failed > 0) {
            Summary::Undecided
        } else {
            Summary::Clean
        }
    }

    /// The reason why not one run could be made, if so.
    pub fn sole_trouble(&self) -> Option<Trouble> {
        let made = self.series.iter().any(|series| series.worst().is_some());
        if made {
            return None;
        }
        self.series.iter().find_map(Series::trouble).cloned()
    }

    /// One sentence.
    pub fn advise(&self) -> String {
        let protocol = match self.target.protocol {
            Protocol::Redis => "redis",
            Protocol::Postgres => "postgres",
            Protocol::Mysql => "mysql",
            Protocol::Http | Protocol::Smtp | Protocol::Tcp => "",
        };
        let verdicts = self.series.iter().filter_map(|series| Some(series.worst()?.verdict));
        let worst = verdicts.reduce(|worst, it| if it.badness() > worst.badness() { it } else { worst });
        let failed = self.series.iter().any(|series| series.trouble().is_some());
        if failed && matches!(worst, Some(Verdict::Complete)) {
            return "No loss was seen, but not every run could be made: see above.".to_owned();
        }
        advise(Findings { worst, server: self.server().unwrap_or(protocol) })
    }
}
