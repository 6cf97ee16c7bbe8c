//! The report for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::answer::Framing;
use super::findings::{Counts, Report, Series};
use super::json::outcome;
use super::observation::Provocation;
use super::scenario::{Run, Scenario};
use super::timeline::in_bytes;
use super::verdict::{Cause, Doubt, Verdict};

/// An answer that is smaller than any useful window cannot show what a reset costs.
const TELLING: u64 = 64 * 1024;

const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const STRONG: Style = Style::new().bold();

/// Writes it; a stream that is no terminal has the colours taken out by its caller.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{STRONG}{}{STRONG:#}", report.target)?;
    if let Some(line) = introduction(report) {
        writeln!(out, "{line}")?;
    }
    for series in &report.series {
        write_series(series, out)?;
    }
    writeln!(out, "\n{STRONG}Advice:{STRONG:#} {}", report.advise())
}

fn introduction(report: &Report) -> Option<String> {
    let polite = report.series.iter().find(|series| series.scenario == Scenario::Polite)?.worst()?;
    let seen = &polite.seen;
    let server = seen.server.as_deref().unwrap_or("a server that does not say its name");
    let status = seen.status.map_or_else(String::new, |status| format!(" {status}"));
    let framing = match seen.framing {
        Some(Framing::Length) => " (Content-Length)",
        Some(Framing::Chunked) => " (chunked)",
        Some(Framing::UntilClose) => " (until the end of the connection)",
        Some(Framing::Message) | None => "",
    };
    let mut line = format!("{server} answers{status} with {} of body{framing}", in_bytes(seen.body));
    if seen.status.is_some_and(|status| status >= 300) {
        line.push_str("\nThat is no document: name one that is answered with 200.");
    } else if seen.body < TELLING {
        line.push_str(
            "\nThe answer is short and may reach the client before any reset: a file of 1 MB or more is a sharper test.",
        );
    }
    Some(line)
}

fn write_series(series: &Series, out: &mut impl Write) -> io::Result<()> {
    let counts = series.count();
    let name = series.scenario.name();
    if let Some(run) = series.worst() {
        let (style, text) = describe(run, counts);
        writeln!(out, "\n{STRONG}{name}{STRONG:#}: {style}{text}{style:#}")?;
        for note in notes(run) {
            writeln!(out, "  {note}")?;
        }
        for row in run.seen.timeline.rows(outcome(run)) {
            let style = if row.is_reset() { style } else { Style::new() };
            writeln!(out, "{style}{row}{style:#}")?;
        }
    } else {
        writeln!(out, "\n{STRONG}{name}{STRONG:#}: {DOUBTFUL}could not be tested{DOUBTFUL:#}")?;
    }
    if let Some(trouble) = series.trouble() {
        writeln!(out, "  {} of {} runs could not be made: {}", counts.failed, counts.runs, trouble.message)?;
    }
    Ok(())
}

fn describe(run: &Run, counts: Counts) -> (Style, String) {
    let of =
        |k: usize| if counts.runs == 1 { String::new() } else { format!(" in {k} of {} runs", counts.runs) };
    match run.verdict {
        Verdict::Complete => (GOOD, format!("complete{}", of(counts.complete))),
        Verdict::CompleteButReset => {
            let mut text = format!("complete, but reset{}", of(counts.complete_but_reset));
            if run.seen.send_failed {
                text.push_str("; a client that gives up when its send fails never sees the answer");
            }
            (DOUBTFUL, text)
        }
        Verdict::Lost { missing_bytes, cause } => {
            let what = match missing_bytes {
                Some(bytes) if run.seen.received == 0 => format!("{} LOST, or never sent", in_bytes(bytes)),
                Some(bytes) => format!("{} LOST", in_bytes(bytes)),
                None if run.seen.received == 0 => "the answer LOST, or never sent".to_owned(),
                None if run.seen.framing == Some(Framing::UntilClose) => {
                    "the end of the answer LOST: it has no length, so no client can know whether this was all"
                        .to_owned()
                }
                None => "the end of the answer LOST".to_owned(),
            };
            let how = match cause {
                Cause::Reset => "",
                Cause::EarlyFin => ", though the connection ended in order",
            };
            (BAD, format!("{what}{how}{}", of(counts.lost)))
        }
        Verdict::Undecided { reason } => {
            let why = match reason {
                Doubt::NoLength => "the answer has no length, and TLS ended without a close_notify",
                Doubt::LengthVaries => "the answer has no length, and polite clients get different ones",
                Doubt::TimedOut => "the answer had no end within the time that --timeout gives",
                Doubt::NoAnswer => "the server ended the connection in order, without an answer",
            };
            (DOUBTFUL, format!("undecided{}: {why}", of(counts.undecided)))
        }
    }
}

fn notes(run: &Run) -> Vec<String> {
    let seen = &run.seen;
    let mut notes = Vec::new();
    match seen.provocation {
        Provocation::Worked => {}
        Provocation::TookEverything => {
            notes.push("The server read all of it, so nothing was refused early.".to_owned())
        }
        Provocation::ServedInstead => {
            notes.push(
                "The server served this client, so nothing was refused: try again when it is full."
                    .to_owned(),
            );
        }
        Provocation::KeptAlive => notes.push("The server goes on after Connection: close.".to_owned()),
    }
    if seen.received == 0 && run.verdict == Verdict::Complete {
        notes.push(
            "The server ended the connection in order, without an answer: there was none to lose.".to_owned(),
        );
    }
    if seen.close_notify == Some(false) && seen.fin.is_some() {
        notes.push(
            "TLS ended without a close_notify: a client cannot tell this end from a truncation.".to_owned(),
        );
    }
    notes
}
