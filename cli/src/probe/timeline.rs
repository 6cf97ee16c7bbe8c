//! What happened on one connection, as the client saw it, in at most [`MOST_ROWS`] lines. Pure.

use std::time::Duration;

use serde::Serialize;

/// More would not be read.
pub const MOST_ROWS: usize = 25;

/// Of those, how many show the beginning when the middle is left out.
const FIRST_ROWS: usize = 12;

/// Which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Client to server.
    Sent,
    /// Server to client.
    Received,
    /// Nothing on the wire: what the client did or noticed.
    Client,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The client said this, all at once.
    Said(String),
    /// The client sent so many bytes of something large.
    Poured {
        /// Of this round.
        bytes: u64,
        /// What they are: `body`, `requests`.
        what: &'static str,
    },
    /// So many bytes were read.
    Read(u64),
    /// What was read means this.
    Heard(String),
    /// The client did or noticed this.
    Noted(String),
    /// The end of input was read.
    Fin,
    /// A reset was seen.
    Reset,
}

/// What is known only when all is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Bytes of the whole answer.
    pub total: Option<u64>,
    /// Bytes that did not arrive.
    pub lost: Option<u64>,
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Since the connection was begun; of the first event that it stands for.
    pub at_ms: f64,
    /// Which way.
    pub direction: Direction,
    /// What.
    pub what: String,
    #[serde(skip)]
    reset: bool,
}

/// What happened, in order.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    events: Vec<(Duration, Event)>,
}

impl Timeline {
    /// Adds what happened now. Neighbours of the same kind become one, so that an upload of any size needs no memory.
    pub fn add(&mut self, at: Duration, event: Event) {
        let joined = self.events.last_mut().is_some_and(|(_, last)| last.absorb(&event));
        if !joined {
            self.events.push((at, event));
        }
    }

    /// The lines, at most [`MOST_ROWS`].
    pub fn rows(&self, outcome: Outcome) -> Vec<Row> {
        let mut received = 0;
        let mut after_reset = false;
        let mut rows: Vec<Row> = Vec::new();
        for (at, event) in braided(&self.events) {
            let (direction, what) = match &event {
                Event::Said(what) => (Direction::Sent, what.clone()),
                Event::Poured { bytes, what } => (Direction::Sent, format!("{} of {what}", in_bytes(*bytes))),
                Event::Read(bytes) => {
                    received += bytes;
                    let kept = if after_reset { ", kept in the receive queue" } else { "" };
                    (Direction::Received, format!("{}{kept}", progress(*bytes, received, outcome.total)))
                }
                Event::Heard(what) => (Direction::Received, what.clone()),
                Event::Noted(what) => (Direction::Client, what.clone()),
                Event::Fin => (Direction::Received, "FIN: the server has said all it will".to_owned()),
                Event::Reset => (Direction::Received, reset(outcome.lost)),
            };
            let at_ms = (at.as_secs_f64() * 10_000.0).round() / 10.0;
            after_reset |= event == Event::Reset;
            rows.push(Row { at_ms, direction, what, reset: event == Event::Reset });
        }
        elide(rows)
    }
}

impl Row {
    /// A reset: the line to look at.
    pub fn is_reset(&self) -> bool {
        self.reset
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arrow = match self.direction {
            Direction::Sent => "->",
            Direction::Received => "<-",
            Direction::Client => "  ",
        };
        write!(f, "{:>8.1} ms  {arrow}  {}", self.at_ms, self.what)
    }
}

/// A client that sends and reads by turns makes a long braid of two kinds: one line for each.
fn braided(events: &[(Duration, Event)]) -> Vec<(Duration, Event)> {
    let mut merged: Vec<(Duration, Event)> = Vec::new();
    for (at, event) in events {
        let joined = match merged.as_mut_slice() {
            [.., (_, first), (_, second)] if second.is_bulk() => second.absorb(event) || first.absorb(event),
            [.., (_, last)] => last.absorb(event),
            [] => false,
        };
        if !joined {
            merged.push((*at, event.clone()));
        }
    }
    merged
}

impl Event {
    fn is_bulk(&self) -> bool {
        matches!(self, Event::Read(_) | Event::Poured { .. })
    }

    /// Becomes one with another of the same kind.
    fn absorb(&mut self, other: &Event) -> bool {
        match (self, other) {
            (Event::Read(sum), Event::Read(more)) => *sum += more,
            (Event::Poured { bytes, what }, Event::Poured { bytes: more, what: same }) if what == same => {
                *bytes += more;
            }
            _ => return false,
        }
        true
    }
}

fn elide(mut rows: Vec<Row>) -> Vec<Row> {
    if rows.len() > MOST_ROWS {
        let last = MOST_ROWS - FIRST_ROWS - 1;
        let left_out: Vec<Row> = rows.drain(FIRST_ROWS..rows.len() - last).collect();
        let what = format!("... {} more lines", left_out.len());
        let at_ms = left_out.first().map_or(0.0, |row| row.at_ms);
        let reset = left_out.iter().any(|row| row.reset);
        rows.insert(FIRST_ROWS, Row { at_ms, direction: Direction::Client, what, reset });
    }
    rows
}

fn progress(bytes: u64, received: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if bytes == total => format!("all {}", in_bytes(total)),
        Some(total) if bytes == received => format!("{} of {}", in_bytes(bytes), grouped(total)),
        Some(total) => format!("{}: {} of {}", in_bytes(bytes), grouped(received), grouped(total)),
        None if bytes == received => in_bytes(bytes),
        None => format!("{}: {} so far", in_bytes(bytes), grouped(received)),
    }
}

fn reset(lost: Option<u64>) -> String {
    match lost {
        Some(0) => "RST: nothing of the answer lost".to_owned(),
        Some(lost) => format!("RST: {} lost", in_bytes(lost)),
        None => "RST".to_owned(),
    }
}

/// `1 byte`, `3,000,000 bytes`.
pub fn in_bytes(bytes: u64) -> String {
    format!("{} byte{}", grouped(bytes), if bytes == 1 { "" } else { "s" })
}

/// `3,000,000`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timeline(events: &[Event]) -> Timeline {
        let mut timeline = Timeline::default();
        for (i, event) in events.iter().enumerate() {
            timeline.add(Duration::from_micros(i as u64 * 100), event.clone());
        }
        timeline
    }

    fn lines(events: &[Event], outcome: Outcome) -> Vec<String> {
        timeline(events).rows(outcome).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lost_answer_reads_like_this() {
        let said = Event::Said("GET / (Connection: close)".to_owned());
        let events = [
            said,
            Event::Read(40_000),
            Event::Read(48_000),
            Event::Noted("waits".to_owned()),
            Event::Reset,
            Event::Read(7),
        ];
        let outcome = Outcome { total: Some(3_000_000), lost: Some(2_912_000) };
        assert_eq!(
            lines(&events, outcome),
            [
                "     0.0 ms  ->  GET / (Connection: close)",
                "     0.1 ms  <-  88,000 bytes of 3,000,000",
                "     0.3 ms      waits",
                "     0.4 ms  <-  RST: 2,912,000 bytes lost",
                "     0.5 ms  <-  7 bytes: 88,007 of 3,000,000, kept in the receive queue",
            ]
        );
    }

    #[test]
    fn a_braid_of_reads_and_writes_is_two_lines() {
        let mut events = vec![Event::Said("POST /".to_owned())];
        for _ in 0..500 {
            events.push(Event::Poured { bytes: 1_000, what: "body" });
            events.push(Event::Read(10));
        }
        events.push(Event::Fin);
        let lines = lines(&events, Outcome { total: Some(5_000), lost: Some(0) });
        assert_eq!(
            lines[1..],
            [
                "     0.1 ms  ->  500,000 bytes of body",
                "     0.2 ms  <-  all 5,000 bytes",
                "   100.1 ms  <-  FIN: the server has said all it will",
            ]
        );
    }

    #[test]
    fn numbers_are_grouped() {
        let table = [
            (0, "0"),
            (12, "12"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1_000_000, "1,000,000"),
        ];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(in_bytes(1), "1 byte");
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1u64..1000).prop_map(Event::Read),
            (1u64..1000).prop_map(|bytes| Event::Poured { bytes, what: "body" }),
            "[a-z]{1,9}".prop_map(Event::Said),
            "[a-z]{1,9}".prop_map(Event::Noted),
            Just(Event::Reset),
        ]
    }

    proptest! {
        #[test]
        fn rows_are_few_in_order_and_a_reset_stays_visible(
            events in proptest::collection::vec(any_event(), 0..300),
        ) {
            let rows = timeline(&events).rows(Outcome::default());
            prop_assert!(rows.len() <= MOST_ROWS);
            prop_assert!(rows.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
            let has_reset = events.contains(&Event::Reset);
            prop_assert_eq!(rows.iter().any(Row::is_reset), has_reset);
        }

        #[test]
        fn merging_neither_loses_nor_invents_bytes(
            events in proptest::collection::vec(any_event(), 0..300),
        ) {
            let read = |events: &[(Duration, Event)]| -> u64 {
                events.iter().map(|(_, event)| if let Event::Read(bytes) = event { *bytes } else { 0 }).sum()
            };
            let given: Vec<_> = events.iter().map(|event| (Duration::ZERO, event.clone())).collect();
            let kept = timeline(&events).events;
            prop_assert_eq!(read(&kept), read(&given));
            prop_assert_eq!(read(&braided(&kept)), read(&given));
        }
    }
}
