//! The report for programs. Its fields are documented in linger-probe(1); they may be added to, not changed.

use serde::Serialize;

use super::answer::Framing;
use super::findings::{Counts, Report, Summary};
use super::observation::{Provocation, TcpFacts};
use super::scenario::{Run, Scenario};
use super::target::Target;
use super::timeline::{Outcome, Row};
use super::trouble::Trouble;
use super::verdict::{Reference, Verdict};

/// Raised when a field changes its meaning.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    url: Option<String>,
    target: Option<&'a Target>,
    server: Option<&'a str>,
    reference: Option<Reference>,
    scenarios: Vec<SeriesFields<'a>>,
    summary: Option<Summary>,
    advice: Option<String>,
    error: Option<&'a Trouble>,
}

#[derive(Serialize)]
struct SeriesFields<'a> {
    scenario: Scenario,
    #[serde(flatten)]
    counts: Counts,
    results: Vec<RunFields<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RunFields<'a> {
    Made(Box<MadeFields<'a>>),
    Failed { error: &'a Trouble },
}

#[derive(Serialize)]
struct MadeFields<'a> {
    #[serde(flatten)]
    verdict: Verdict,
    provocation: Provocation,
    status: Option<u16>,
    said: Option<&'a str>,
    framing: Option<Framing>,
    received_bytes: u64,
    total_bytes: Option<u64>,
    fin_ms: Option<f64>,
    reset_ms: Option<f64>,
    send_failed: bool,
    sent_all: bool,
    close_notify: Option<bool>,
    tcp: TcpFacts,
    timeline: Vec<Row>,
}

/// What `--json` prints.
pub fn report(report: &Report) -> serde_json::Result<String> {
    let scenarios = report.series.iter().map(|one| SeriesFields {
        scenario: one.scenario,
        counts: one.count(),
        results: one.runs.iter().map(run_fields).collect(),
    });
    print(&Document {
        version: VERSION,
        url: Some(report.target.to_string()),
        target: Some(&report.target),
        server: report.server(),
        reference: report.reference,
        scenarios: scenarios.collect(),
        summary: Some(report.summarize()),
        advice: Some(report.advise()),
        error: None,
    })
}

/// What `--json` prints when nothing could be tested.
pub fn failure(target: Option<&Target>, trouble: &Trouble) -> serde_json::Result<String> {
    print(&Document {
        version: VERSION,
        url: target.map(ToString::to_string),
        target,
        server: None,
        reference: None,
        scenarios: Vec::new(),
        summary: None,
        advice: None,
        error: Some(trouble),
    })
}

fn print(document: &Document<'_>) -> serde_json::Result<String> {
    serde_json::to_string_pretty(document)
}

fn run_fields(run: &Result<Run, Trouble>) -> RunFields<'_> {
    match run {
        Err(error) => RunFields::Failed { error },
        Ok(run) => {
            let ms = |at: std::time::Duration| (at.as_secs_f64() * 10_000.0).round() / 10.0;
            let seen = &run.seen;
            RunFields::Made(Box::new(MadeFields {
                verdict: run.verdict,
                provocation: seen.provocation,
                status: seen.status,
                said: seen.said.as_deref(),
                framing: seen.framing,
                received_bytes: seen.received,
                total_bytes: seen.total,
                fin_ms: seen.fin.map(ms),
                reset_ms: seen.reset.map(ms),
                send_failed: seen.send_failed,
                sent_all: seen.sent_all,
                close_notify: seen.close_notify,
                tcp: seen.tcp,
                timeline: seen.timeline.rows(outcome(run)),
            }))
        }
    }
}

/// What a timeline needs to know of the end.
pub fn outcome(run: &Run) -> Outcome {
    Outcome { total: run.seen.total, lost: run.verdict.lost_bytes() }
}
