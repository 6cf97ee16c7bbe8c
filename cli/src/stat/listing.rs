//! The connections of a process, one by one, for people.

use anstyle::Style;

use super::census::{Connection, Subject};
use super::table::{Cell, Line, Side, Span, Table};
use super::units;

const STRONG: Style = Style::new().bold();

/// An empty line, how many there are, and a table of them.
pub fn lines(subject: &Subject) -> Vec<Line> {
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

    use super::super::ends::Ends;
    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.iter().map(|span| span.text.as_str()).collect()).collect()
    }

    #[test]
    fn every_connection_has_a_line() {
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
        let subject = Subject { connections: vec![known, unknown], ..Subject::new(4711, "nginx".to_owned()) };
        assert_eq!(
            texts(&lines(&subject)),
            [
                "",
                "4711 nginx: 2 connections linger",
                "PEER                 LOCAL     STATE            AGE  DISCARDED  UNACKED",
                "[2001:db8::7]:50082  [::1]:80  FIN-WAIT-2  1 m 15 s    4.9 KiB      1 B",
                "?                    ?         ?           1 m 15 s        0 B      1 B",
            ]
        );
    }

    #[test]
    fn none_has_no_table() {
        let lines = lines(&Subject::new(5, "a\u{1b}[2J".to_owned()));
        assert_eq!(texts(&lines), ["", "5 a\\u{1b}[2J: no connection lingers"]);
    }
}
