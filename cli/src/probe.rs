//! `linger probe`: does a server lose responses?
//!
//! Data flows one way: target, endpoint, a scenario on a connection, observation, verdict, findings, report. What
//! decides anything is pure: [`answer`], [`verdict`], [`timeline`], [`tongues`], [`advice`].

mod advice;
mod answer;
mod chunks;
mod connection;
mod dialogue;
mod endpoint;
mod exchange;
mod findings;
mod json;
mod late;
mod observation;
mod pouring;
mod raw;
mod report;
mod request;
mod scenario;
mod secure;
mod target;
mod tcp_info;
mod timeline;
mod tongues;
mod trouble;
mod verdict;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use endpoint::Endpoint;
use findings::Report;
use scenario::{Scenario, Setup};
use target::{Protocol, Target};
use trouble::{Kind, Trouble};

/// Of `--repeat`.
const MOST_RUNS: usize = 1000;
/// Of `--upload`, in bytes.
const LARGEST_UPLOAD: usize = 64 * 1024 * 1024;
/// Of `--timeout`.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

const EXIT_CODES: &str =
    "Exit status: 0 nothing was lost or reset, 1 responses were lost or connections reset, \
                          2 it could not be tested (--json says why in error.kind). See man linger-probe.";

/// Find out whether a server loses responses.
///
/// It sends bounded, harmless requests and says, with a timeline of what the client saw, whether the answers came whole
/// and how the connections ended.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    /// A URL (http, https, redis, rediss, postgres, mysql, smtp, smtps, tcp) or HOST:PORT
    #[arg(value_name = "URL|HOST:PORT")]
    target: String,
    /// What to try; may be given several times
    #[arg(long, value_enum, default_value = "all")]
    scenario: Vec<Choice>,
    /// What is spoken there, if neither the URL nor the port says so
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Speak TLS from the first byte
    #[arg(long)]
    tls: bool,
    /// Accept any certificate
    #[arg(long)]
    insecure: bool,
    /// How often each scenario is played
    #[arg(long, value_name = "N", default_value = "3")]
    repeat: String,
    /// How long nothing may happen on a connection: 500ms, 10s, 1m
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: String,
    /// How many MiB the upload scenario sends
    #[arg(long, value_name = "MIB", default_value = "8")]
    upload: String,
    /// What is said to a tcp:// server; \r, \n, \t, \0, \\ and \xHH stand for bytes
    #[arg(long, value_name = "TEXT", default_value = r"\r\n\r\n")]
    data: String,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// As it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Everything that the protocol has
    All,
    /// More requests behind the last one that the server takes
    Pipeline,
    /// A body that the server may refuse before it has read it
    Upload,
    /// Bytes that arrive after the server's close
    Late,
    /// A server that turns the client away
    Refusal,
}

/// Probes and prints the report.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut target = None;
    match probe(arguments, &mut target) {
        Ok(report) => {
            print_report(&report, arguments.json)?;
            Ok(ExitCode::from(report.summarize().exit_code()))
        }
        Err(trouble) => {
            if arguments.json {
                let text = json::failure(target.as_ref(), &trouble).map_err(|error| unprintable(&error))?;
                writeln!(io::stdout(), "{text}").map_err(|error| unprintable(&error))?;
            }
            Err(Failure::new(2, format!("probe: {}", trouble.message)))
        }
    }
}

fn probe(arguments: &Arguments, parsed: &mut Option<Target>) -> Result<Report, Trouble> {
    let target = Target::parse(&arguments.target, arguments.protocol, arguments.tls)?;
    *parsed = Some(target.clone());
    let timeout = parse_timeout(&arguments.timeout)?;
    let repeat = parse_number("--repeat", &arguments.repeat, MOST_RUNS)?;
    let upload = parse_number("--upload", &arguments.upload, LARGEST_UPLOAD >> 20)? << 20;
    let data = raw::unescape(&arguments.data)?;
    let scenarios = choose(&arguments.scenario, target.protocol)?;
    let endpoint = Endpoint::find(&target, arguments.insecure, timeout)?;
    let setup = Setup { endpoint, target: target.clone(), upload, data };
    play_all(&setup, &scenarios, repeat)
}

/// Interleaved, so that a server's bad minute does not fall on one scenario alone.
fn play_all(setup: &Setup, scenarios: &[Scenario], repeat: usize) -> Result<Report, Trouble> {
    let bar = ProgressBar::new((scenarios.len() * repeat + 1) as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.set_message("polite");
    let baseline = setup.fetch_reference()?;
    bar.inc(1);
    let mut report = Report::new(setup.target.clone(), baseline, scenarios);
    let reference = report.reference;
    for _ in 0..repeat {
        for series in report.series.iter_mut().filter(|series| series.scenario != Scenario::Polite) {
            bar.set_message(series.scenario.name());
            series.runs.push(setup.play(series.scenario, reference));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    match report.sole_trouble() {
        Some(trouble) => Err(trouble),
        None => Ok(report),
    }
}

fn print_report(report: &Report, as_json: bool) -> Result<(), Failure> {
    let printed = if as_json {
        let text = json::report(report).map_err(|error| unprintable(&error))?;
        writeln!(io::stdout(), "{text}")
    } else {
        report::write(report, &mut anstream::stdout().lock())
    };
    match printed {
        // `linger probe ... | head`: nobody wants the rest.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| unprintable(&error)),
    }
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(2, format!("probe: cannot print the report: {error}"))
}

fn choose(choices: &[Choice], protocol: Protocol) -> Result<Vec<Scenario>, Trouble> {
    let possible = Scenario::of(protocol);
    let mut chosen = Vec::new();
    for choice in choices {
        let wanted: &[Scenario] = match choice {
            Choice::All => possible,
            Choice::Pipeline => &[Scenario::Pipeline],
            Choice::Upload => &[Scenario::Upload],
            Choice::Late => &[Scenario::Late],
            Choice::Refusal => &[Scenario::Refusal],
        };
        for scenario in wanted {
            if !possible.contains(scenario) {
                let line = format!(
                    "--scenario {} is for HTTP: for this protocol there is only refusal",
                    scenario.name()
                );
                return Err(Trouble::new(Kind::BadOption, line));
            }
            if !chosen.contains(scenario) {
                chosen.push(*scenario);
            }
        }
    }
    Ok(chosen)
}

fn parse_timeout(text: &str) -> Result<Duration, Trouble> {
    let bad = |why: &str| {
        Trouble::new(Kind::BadDuration, format!("--timeout {text}: {why}: write 500ms, 10s or 1m"))
    };
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(bad("that is no time at all")),
        Ok(timeout) if timeout > LONGEST_TIMEOUT => Err(bad("that is more than an hour")),
        Ok(timeout) => Ok(timeout),
        Err(_) => Err(bad("not a duration")),
    }
}

fn parse_number(option: &str, text: &str, most: usize) -> Result<usize, Trouble> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| {
        Trouble::new(Kind::BadOption, format!("{option} {text}: write a number from 1 to {most}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_checked() {
        assert_eq!(parse_timeout("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_timeout("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "10", "10x", "-1s", "0s", "2h", "ten"] {
            assert_eq!(parse_timeout(wrong).expect_err(wrong).kind, Kind::BadDuration, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!(parse_number("--repeat", "7", 10), Ok(7));
        for wrong in ["0", "11", "-1", "x", ""] {
            assert_eq!(parse_number("--repeat", wrong, 10).expect_err(wrong).kind, Kind::BadOption);
        }
    }

    #[test]
    fn scenarios_are_those_of_the_protocol_and_each_comes_once() {
        use Scenario::{Late, Pipeline, Refusal, Upload};
        assert_eq!(choose(&[Choice::All], Protocol::Http), Ok(vec![Pipeline, Upload, Late, Refusal]));
        assert_eq!(choose(&[Choice::Late, Choice::Late], Protocol::Http), Ok(vec![Late]));
        assert_eq!(
            choose(&[Choice::Late, Choice::All], Protocol::Http),
            Ok(vec![Late, Pipeline, Upload, Refusal])
        );
        assert_eq!(choose(&[Choice::All], Protocol::Redis), Ok(vec![Refusal]));
        assert_eq!(choose(&[Choice::Late], Protocol::Redis).expect_err("late").kind, Kind::BadOption);
    }
}
