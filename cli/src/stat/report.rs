//! The report for people.

use anstyle::{AnsiColor, Style};
use linger::drain::Outcome;

use super::census::{Census, Subject};
use super::counts::{Counts, OUTCOMES};
use super::listing;
use super::pace::Pace;
use super::table::{Cell, Line, Side, Span, Table};
use super::units;

/// So many columns are there, whatever they say.
const ALWAYS: usize = 5;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const NOTABLE: Style = AnsiColor::Yellow.on_default();
const GONE_WRONG: Style = AnsiColor::Red.on_default();

/// A report of a census.
pub struct Report<'a> {
    pub census: &'a Census,
    /// How fast the counters grow, where that is known.
    pub pace: Option<&'a Pace>,
    /// Columns of the terminal, if it is one.
    pub width: Option<usize>,
    /// Whether connections are listed.
    pub connections: bool,
}

impl Report<'_> {
    /// Its lines.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.census.subjects.is_empty() {
            lines.push(vec![Span::plain("No process runs with liblinger.")]);
        } else {
            lines.extend(self.table_of_subjects());
        }
        if self.connections {
            for subject in &self.census.subjects {
                lines.extend(listing::lines(subject));
            }
        }
        let notes: Vec<Line> = self.notes().into_iter().map(|note| vec![Span::new(note, FAINT)]).collect();
        if !notes.is_empty() {
            lines.push(Line::new());
            lines.extend(notes);
        }
        lines
    }

    fn table_of_subjects(&self) -> Vec<Line> {
        let mut columns = vec![
            ("PID", Side::Right),
            ("COMMAND", Side::Left),
            ("LINGERING", Side::Right),
            ("OLDEST", Side::Right),
            ("LINGERED", Side::Right),
        ];
        columns.extend(OUTCOMES.map(|outcome| (heading(outcome), Side::Right)));
        columns.extend(["DISCARDED", "FALLBACKS", "SHARED"].map(|name| (name, Side::Right)));
        let mut table = Table::new(&columns);
        for subject in &self.census.subjects {
            table.add(totals(subject));
            if let Some(pace) = self.pace {
                table.add(rates(pace, subject));
            }
        }
        let left_out = self.width.map_or_else(Vec::new, |width| table.narrow("0", width, ALWAYS));
        let mut lines = table.lines(STRONG);
        if !left_out.is_empty() {
            let names = left_out.join(", ").to_lowercase();
            lines.push(vec![Span::new(format!("left out, all zero: {names}"), FAINT)]);
        }
        lines
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let quiet = self.census.subjects.iter().filter(|subject| subject.version.is_none()).count();
        match quiet {
            0 => {}
            1 => notes.push("1 process has the library, and nothing has lingered yet.".to_owned()),
            many => notes.push(format!(
                "{} processes have the library, and nothing has lingered yet.",
                units::grouped(many as u64)
            )),
        }
        notes.extend(unreadable(self.census.unreadable).map(|text| format!("{text}.")));
        notes
    }
}

/// What is to be said of processes that may not be looked into.
pub fn unreadable(count: usize) -> Option<String> {
    let what = match count {
        0 => return None,
        1 => "1 process".to_owned(),
        many => format!("{} processes", units::grouped(many as u64)),
    };
    Some(format!("{what} could not be read: {}", advise(rustix::process::geteuid().is_root())))
}

/// To somebody who may not look into a process.
pub fn advise(root: bool) -> &'static str {
    if root {
        "not even by root in here: look from outside of this container or sandbox"
    } else {
        "run as root"
    }
}

fn heading(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Closed => "CLOSED",
        Outcome::Fin => "FIN",
        Outcome::Reset => "RESET",
        Outcome::Idle => "IDLE",
        Outcome::Timeout => "TIMEOUT",
        Outcome::Bytes => "BYTES",
        Outcome::Evicted => "EVICTED",
    }
}

/// What an operator may want to do something about.
fn emphasis(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Evicted | Outcome::Bytes | Outcome::Timeout => NOTABLE,
        Outcome::Closed | Outcome::Fin | Outcome::Reset | Outcome::Idle => Style::new(),
    }
}

fn number(number: u64, style: Style) -> Cell {
    Span::new(units::grouped(number), if number == 0 { FAINT } else { style })
}

fn totals(subject: &Subject) -> Vec<Cell> {
    let Subject { counts, .. } = subject;
    let oldest = subject.oldest.map_or_else(|| "-".to_owned(), units::age);
    let discarded = counts.discarded_bytes.saturating_add(subject.lingering_discarded_bytes);
    let mut row = vec![
        Span::plain(subject.pid.to_string()),
        Span::plain(units::printable(&subject.command)),
        number(subject.lingering, STRONG),
        Span::new(oldest, if subject.oldest.is_none() { FAINT } else { Style::new() }),
        number(counts.lingered, Style::new()),
    ];
    row.extend(OUTCOMES.map(|outcome| number(counts.outcomes.of(outcome), emphasis(outcome))));
    let discarded = match discarded {
        0 => Span::new("0", FAINT),
        bytes => Span::plain(units::bytes(bytes)),
    };
    row.extend([discarded, number(counts.fallbacks, GONE_WRONG), number(counts.shared, Style::new())]);
    row
}

fn rates(pace: &Pace, subject: &Subject) -> Vec<Cell> {
    let faint = |text: String| Span::new(text, FAINT);
    let Some((grown, discarded)) = pace.of(subject.pid) else {
        return vec![faint(String::new()); 8 + OUTCOMES.len()];
    };
    let rate = |number: fn(&Counts) -> u64| faint(units::rate(pace.per_second(number(&grown))));
    let mut row = vec![
        faint(String::new()),
        faint("  each second".to_owned()),
        faint(String::new()),
        faint(String::new()),
        rate(|counts| counts.lingered),
    ];
    row.extend(OUTCOMES.map(|outcome| faint(units::rate(pace.per_second(grown.outcomes.of(outcome))))));
    row.extend([
        faint(units::byte_rate(pace.per_second(discarded))),
        rate(|counts| counts.fallbacks),
        rate(|counts| counts.shared),
    ]);
    row
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::counts::Outcomes;
    use super::*;

    fn busy() -> Subject {
        Subject {
            version: Some("0.1.0".to_owned()),
            drain_threads: 1,
            lingering: 12,
            oldest: Some(Duration::from_millis(3250)),
            counts: Counts {
                lingered: 1234,
                outcomes: Outcomes { fin: 1200, reset: 20, timeout: 2, ..Outcomes::default() },
                discarded_bytes: 1 << 20,
                fallbacks: 0,
                shared: 3,
            },
            lingering_discarded_bytes: 512 << 10,
            ..Subject::new(4711, "nginx".to_owned())
        }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.iter().map(|span| span.text.as_str()).collect()).collect()
    }

    fn report(census: &Census) -> Report<'_> {
        Report { census, pace: None, width: None, connections: false }
    }

    #[test]
    fn totals_stand_under_their_names() {
        let subjects = vec![busy(), Subject::new(5, "lighttpd".to_owned())];
        let census = Census { subjects, unreadable: 3, troubles: Vec::new() };
        assert_eq!(
            texts(&report(&census).lines()),
            [
                " PID  COMMAND   LINGERING  OLDEST  LINGERED    FIN  RESET  IDLE  TIMEOUT  BYTES  EVICTED  CLOSED  DISCARDED  FALLBACKS  SHARED",
                "4711  nginx            12   3.2 s     1,234  1,200     20     0        2      0        0       0    1.5 MiB          0       3",
                "   5  lighttpd          0       -         0      0      0     0        0      0        0       0          0          0       0",
                "",
                "1 process has the library, and nothing has lingered yet.",
                &format!("{}.", unreadable(3).expect("there are some")),
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_is_spared_the_zeros() {
        let census = Census { subjects: vec![busy()], unreadable: 0, troubles: Vec::new() };
        assert_eq!(
            texts(&Report { width: Some(100), ..report(&census) }.lines()),
            [
                " PID  COMMAND  LINGERING  OLDEST  LINGERED    FIN  RESET  TIMEOUT  DISCARDED  SHARED",
                "4711  nginx           12   3.2 s     1,234  1,200     20        2    1.5 MiB       3",
                "left out, all zero: idle, bytes, evicted, closed, fallbacks",
            ]
        );
    }

    #[test]
    fn rates_stand_under_the_totals() {
        let mut before = busy();
        before.counts.lingered -= 10;
        before.counts.outcomes.fin -= 1;
        before.lingering_discarded_bytes = 0;
        let mut census = Census { subjects: vec![busy()], unreadable: 0, troubles: Vec::new() };
        let pace = Pace::between(&[before], &census.subjects, Duration::from_secs(2));
        let lines = texts(&Report { pace: Some(&pace), width: Some(100), ..report(&census) }.lines());
        assert_eq!(
            lines[..3],
            [
                " PID  COMMAND        LINGERING  OLDEST  LINGERED    FIN  RESET  TIMEOUT  DISCARDED  SHARED",
                "4711  nginx                 12   3.2 s     1,234  1,200     20        2    1.5 MiB       3",
                "        each second                        5.0/s  0.5/s                  256 KiB/s",
            ]
        );
        census.subjects[0].pid = 1;
        let lines = texts(&Report { pace: Some(&pace), ..report(&census) }.lines());
        assert_eq!(lines[2], "", "one that was not there before");
    }

    #[test]
    fn nobody_at_all() {
        let census = Census { unreadable: 1, ..Census::default() };
        let lines = texts(&report(&census).lines());
        let unread =
            format!("1 process could not be read: {}.", advise(rustix::process::geteuid().is_root()));
        assert_eq!(lines, ["No process runs with liblinger.", "", unread.as_str()]);
        assert_eq!(unreadable(0), None);
        assert!(unreadable(1234).is_some_and(|text| text.starts_with("1,234 processes could not be read: ")));
        assert_eq!(advise(false), "run as root");
        assert!(!advise(true).contains("as root"));
    }
}
