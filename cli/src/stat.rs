//! `linger stat`: what the processes that run with liblinger did.
//!
//! Data flows one way: [`process`] and [`memory`] look, [`census`] collects, [`report`], [`json`] or [`exposition`] says it.
//! Nothing is asked of the processes themselves, and nothing in them is changed.

mod census;
mod clock;
mod counts;
mod ends;
mod exposition;
mod json;
mod listing;
mod memory;
mod pace;
mod process;
mod report;
mod screen;
mod table;
mod trouble;
mod units;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::failure::Failure;
use census::{Census, Question};
use report::Report;
use table::Line;

/// There was nothing to tell of.
const NOTHING_FOUND: u8 = 1;
/// stdout does not take it.
const UNPRINTABLE: u8 = 8;
/// Of `--watch`, in seconds.
const INTERVALS: std::ops::RangeInclusive<f64> = 0.1..=86_400.0;

const EXIT_CODES: &str = "Exit status: 0 told, 1 no process runs with liblinger, 3 there is no such process, 4 it may not be \
                          looked into, 5 it does not run with liblinger, 6 it runs with another version's layout, 7 it \
                          publishes nothing, 8 anything else. See man linger-stat.";

/// Show what the programs that run with liblinger did.
///
/// How many connections linger now, how the others ended, how much was discarded: of all processes one may look into, or of
/// those that are named.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    /// Processes; all that run with liblinger, if none is named
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pids: Vec<i32>,
    /// Look again and again, every second or as often as is said
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = parse_interval, conflicts_with = "prometheus")]
    watch: Option<Duration>,
    /// Print the text exposition format of Prometheus
    #[arg(long, conflicts_with_all = ["json", "connections"])]
    prometheus: bool,
    /// List each connection that lingers
    #[arg(long)]
    connections: bool,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Looks and tells.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut pids: Vec<i32> = Vec::new();
    for pid in &arguments.pids {
        if !pids.contains(pid) {
            pids.push(*pid);
        }
    }
    let question = Question { pids, connections: arguments.connections };
    match arguments.watch {
        Some(interval) if arguments.json => watch::show_json(&question, interval),
        Some(interval) => watch::show(&question, interval),
        None => {
            let census = take(&question)?;
            print(&census, arguments)?;
            conclude(&question, &census)
        }
    }
}

fn take(question: &Question) -> Result<Census, Failure> {
    Census::take(question)
        .map_err(|trouble| Failure::new(trouble.kind.exit_code(), format!("stat: {}", trouble.message())))
}

fn print(census: &Census, arguments: &Arguments) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let printed = if arguments.json {
        let text = serde_json::to_string_pretty(&json::document(census, arguments.connections));
        text.map_err(io::Error::from).and_then(|text| writeln!(out, "{text}"))
    } else if arguments.prometheus {
        let mut text = String::new();
        exposition::write(census, &mut text).map_err(io::Error::other).and_then(|()| write!(out, "{text}"))
    } else if census.subjects.is_empty() {
        // The failure says it.
        Ok(())
    } else {
        let width = screen::size().map(|(columns, _)| columns);
        let report = Report { census, pace: None, width, connections: arguments.connections };
        write_lines(&report.lines(), &mut out)
    };
    match printed.and_then(|()| out.flush()) {
        // `linger stat | head`: nobody wants the rest.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| unprintable(&error)),
    }
}

fn write_lines(lines: &[Line], out: &mut dyn Write) -> io::Result<()> {
    for line in lines {
        for span in line {
            write!(out, "{}{}{:#}", span.style, span.text, span.style)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(UNPRINTABLE, format!("stat: cannot print the report: {error}"))
}

/// Says on stderr what could not be told, a line each. The first one decides, where a process was asked for or nothing else
/// was found.
fn conclude(question: &Question, census: &Census) -> Result<ExitCode, Failure> {
    for trouble in &census.troubles {
        eprintln!("linger: stat: {}", trouble.message());
    }
    let first = match census.troubles.first() {
        Some(first) => first,
        None if census.subjects.is_empty() => return Err(nothing_found(census)),
        None => return Ok(ExitCode::SUCCESS),
    };
    let told = question.pids.is_empty() && !census.subjects.is_empty();
    Ok(ExitCode::from(if told { 0 } else { first.kind.exit_code() }))
}

fn nothing_found(census: &Census) -> Failure {
    let line = match report::unreadable(census.unreadable) {
        Some(unreadable) => format!("stat: no process that can be read runs with liblinger; {unreadable}"),
        None => "stat: no process runs with liblinger: start one with linger run".to_owned(),
    };
    Failure::new(NOTHING_FOUND, line)
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| INTERVALS.contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds, from 0.1 to 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_checked() {
        assert_eq!(parse_interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_interval("86400"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "0", "0.05", "-1", "1e9", "NaN", "inf", "x"] {
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }
}
