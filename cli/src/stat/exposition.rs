//! The text exposition format of Prometheus, version 0.0.4.

use std::fmt::{self, Write};

use super::census::{Census, Subject};
use super::counts::OUTCOMES;

/// A metric that every process has.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// As it is printed: every digit of a counter.
    value: fn(&Subject) -> String,
}

const FAMILIES: [Family; 8] = [
    Family {
        name: "linger_connections",
        kind: "gauge",
        help: "Connections that linger now.",
        value: |subject| subject.lingering.to_string(),
    },
    Family {
        name: "linger_oldest_seconds",
        kind: "gauge",
        help: "How long the oldest of them has lingered; 0 where none does.",
        value: |subject| subject.oldest.unwrap_or_default().as_secs_f64().to_string(),
    },
    Family {
        name: "linger_connections_discarded_bytes",
        kind: "gauge",
        help: "Bytes that were discarded of connections that linger now.",
        value: |subject| subject.lingering_discarded_bytes.to_string(),
    },
    Family {
        name: "linger_drain_threads",
        kind: "gauge",
        help: "Drain threads of the process; 0 where nothing has lingered yet.",
        value: |subject| subject.drain_threads.to_string(),
    },
    Family {
        name: "linger_lingered_total",
        kind: "counter",
        help: "Connections that were handed to the drain threads.",
        value: |subject| subject.counts.lingered.to_string(),
    },
    Family {
        name: "linger_discarded_bytes_total",
        kind: "counter",
        help: "Bytes that were discarded of connections that have ended.",
        value: |subject| subject.counts.discarded_bytes.to_string(),
    },
    Family {
        name: "linger_fallbacks_total",
        kind: "counter",
        help: "Connections that should have lingered and could not.",
        value: |subject| subject.counts.fallbacks.to_string(),
    },
    Family {
        name: "linger_shared_total",
        kind: "counter",
        help: "Connections that were left to another holder.",
        value: |subject| subject.counts.shared.to_string(),
    },
];

/// What `--prometheus` prints.
pub fn write(census: &Census, out: &mut String) -> fmt::Result {
    for family in &FAMILIES {
        introduce(family.name, family.kind, family.help, out)?;
        for subject in &census.subjects {
            writeln!(out, "{}{{{}}} {}", family.name, labels(subject), (family.value)(subject))?;
        }
    }
    let ended = "linger_ended_total";
    introduce(ended, "counter", "Connections that ended, by outcome: see liblinger(7).", out)?;
    for subject in &census.subjects {
        for outcome in OUTCOMES {
            let labels = labels(subject);
            let number = subject.counts.outcomes.of(outcome);
            writeln!(out, "{ended}{{{labels},outcome=\"{}\"}} {number}", outcome.name())?;
        }
    }
    let unreadable = "linger_unreadable_processes";
    introduce(unreadable, "gauge", "Processes that could not be read for lack of privilege.", out)?;
    writeln!(out, "{unreadable} {}", census.unreadable)
}

fn introduce(name: &str, kind: &str, help: &str, out: &mut String) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn labels(subject: &Subject) -> String {
    format!("pid=\"{}\",comm=\"{}\"", subject.pid, escape(&subject.command))
}

/// The format knows three escapes; other control characters are none of a name, and a reader of lines may stumble over them.
fn escape(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str(r"\n"),
            c if c.is_control() => text.push(char::REPLACEMENT_CHARACTER),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::counts::Counts;
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        for (value, text) in [
            ("nginx", "nginx"),
            ("a\"b", "a\\\"b"),
            ("a\\b", "a\\\\b"),
            ("a\nb", "a\\nb"),
            ("a\rb\u{1b}", "a\u{fffd}b\u{fffd}"),
        ] {
            assert_eq!(escape(value), text);
        }
    }

    #[test]
    fn every_process_is_in_every_family() {
        let counts = Counts { lingered: 1 << 60, discarded_bytes: 1_000_000_007, ..Counts::default() };
        let oldest = Some(Duration::from_millis(1500));
        let first = Subject { counts, oldest, ..Subject::new(7, "a".to_owned()) };
        let subjects = vec![first, Subject::new(8, "b".to_owned())];
        let mut text = String::new();
        write(&Census { subjects, unreadable: 2, troubles: Vec::new() }, &mut text).expect("text");
        for line in [
            "linger_oldest_seconds{pid=\"7\",comm=\"a\"} 1.5",
            "linger_oldest_seconds{pid=\"8\",comm=\"b\"} 0",
            "linger_lingered_total{pid=\"7\",comm=\"a\"} 1152921504606846976",
            "linger_discarded_bytes_total{pid=\"7\",comm=\"a\"} 1000000007",
            "linger_ended_total{pid=\"8\",comm=\"b\",outcome=\"fin\"} 0",
            "linger_unreadable_processes 2",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is missing:\n{text}");
        }
    }
}
