//! The report for people.

use anstyle::{AnsiColor, Style};
use linger::drain::Outcome;

use super::census::{Census, Connection, Subject};
use super::counts::{Counts, OUTCOMES};
use super::pace::Pace;
use super::table::{Cell, Line, Side, Span, Table};
use super::units;

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
                lines.extend(list(subject));
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
        let left_out = self.width.map_or_else(Vec::new, |width| table.narrow("0", width));
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
    match count {
        0 => None,
        1 => Some("1 process could not be read: run as root".to_owned()),
        many => Some(format!("{} processes could not be read: run as root", units::grouped(many as u64))),
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

fn list(subject: &Subject) -> Vec<Line> {
    let count = subject.connections.len();
    let who = format!("{} {}", subject.pid, units::printable(&subject.command));
    let what = match count {
        0 => "no connection lingers".to_owned(),
        1 => "1 connection lingers".to_owned(),
        many => format!("{} connections linger", units::grouped(many as u64)),
    };
    let mut lines = vec![Line::new(), vec![Span::new(who, STRONG), Span::plain(format!(": {what}"))]];
    if count > 0 {
        let names = ["PEER", "LOCAL", "STATE"].map(|name| (name, Side::Left));
        let numbers = ["AGE", "DISCARDED", "UNACKED"].map(|name| (name, Side::Right));
        let mut table = Table::new(&[names, numbers].concat());
        subject.connections.iter().for_each(|connection| table.add(cells(connection)));
        lines.extend(table.lines(STRONG));
    }
    lines
}

fn cells(connection: &Connection) -> Vec<Cell> {
    let [peer, local, state] = match connection.ends {
        Some(ends) => [ends.peer.to_string(), ends.local.to_string(), ends.state.to_owned()],
        None => ["?".to_owned(), "?".to_owned(), "?".to_owned()],
    };
    vec![
        Span::plain(peer),
        Span::plain(local),
        Span::plain(state),
        Span::plain(units::age(connection.age)),
        Span::plain(units::bytes(connection.discarded_bytes)),
        Span::plain(units::bytes(connection.unacknowledged_bytes.into())),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::counts::Outcomes;
    use super::super::ends::Ends;
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
                "3 processes could not be read: run as root.",
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
    fn connections_are_listed_by_process() {
        let mut subject = busy();
        let ends = Ends {
            local: "[::1]:80".parse().expect("address"),
            peer: "[2001:db8::7]:50082".parse().expect("address"),
            state: "FIN-WAIT-2",
        };
        let known = Connection {
            ends: Some(ends),
            age: Duration::from_secs(75),
            deadline: Duration::from_secs(30),
            discarded_bytes: 5000,
            unacknowledged_bytes: 1,
        };
        let unknown = Connection { ends: None, discarded_bytes: 0, ..known };
        subject.connections = vec![known, unknown];
        let subjects = vec![subject, Subject::new(5, "a\u{1b}[2J".to_owned())];
        let census = Census { subjects, unreadable: 0, troubles: Vec::new() };
        let lines = texts(&Report { connections: true, ..report(&census) }.lines());
        assert_eq!(
            lines[4..10],
            [
                "4711 nginx: 2 connections linger",
                "PEER                 LOCAL     STATE            AGE  DISCARDED  UNACKED",
                "[2001:db8::7]:50082  [::1]:80  FIN-WAIT-2  1 m 15 s    4.9 KiB      1 B",
                "?                    ?         ?           1 m 15 s        0 B      1 B",
                "",
                "5 a\\u{1b}[2J: no connection lingers",
            ]
        );
    }

    #[test]
    fn nobody_at_all() {
        let census = Census { unreadable: 1, ..Census::default() };
        let lines = texts(&report(&census).lines());
        assert_eq!(
            lines,
            ["No process runs with liblinger.", "", "1 process could not be read: run as root."]
        );
    }
}
