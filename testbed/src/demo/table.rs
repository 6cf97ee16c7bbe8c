//! The table for people.

use std::fmt::{self, Display};

use anstyle::{AnsiColor, Style};

use super::measure::Row;

const HEADER: [&str; 9] = [
    "scenario",
    "server",
    "shim",
    "complete",
    "bytes lost",
    "client resets",
    "TCPAbortOnClose",
    "TCPAbortOnData",
    "OutRsts",
];

/// The columns before this one are words; it and those after it are numbers, set to the right.
const NUMBERS: usize = 3;

/// What a cell says about its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Neutral,
    Good,
    Bad,
}

impl Verdict {
    fn style(self) -> Style {
        match self {
            Verdict::Neutral => Style::new(),
            Verdict::Good => AnsiColor::Green.on_default(),
            Verdict::Bad => AnsiColor::Red.on_default(),
        }
    }
}

#[derive(Debug)]
struct Cell {
    text: String,
    verdict: Verdict,
}

/// Rows of text with colours, with the scenarios set apart. Print it with anstream, which keeps colours for terminals.
pub(crate) struct Table {
    rows: Vec<[Cell; HEADER.len()]>,
}

impl Table {
    pub(crate) fn new(rows: &[Row]) -> Self {
        Self { rows: rows.iter().map(cells).collect() }
    }

    fn widths(&self) -> [usize; HEADER.len()] {
        let mut widths = HEADER.map(str::len);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.len());
            }
        }
        widths
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (column, (name, width)) in HEADER.iter().zip(widths).enumerate() {
            write!(f, "{}{}", gap(column), aligned(column, name, width))?;
        }
        let mut scenario = "";
        for row in &self.rows {
            writeln!(f)?;
            if row[0].text != scenario {
                scenario = &row[0].text;
                let line: usize = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
                writeln!(f, "{}", "-".repeat(line))?;
            }
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                let style = cell.verdict.style();
                let text = aligned(column, &cell.text, width);
                write!(f, "{}{style}{text}{style:#}", gap(column))?;
            }
        }
        Ok(())
    }
}

fn gap(column: usize) -> &'static str {
    if column == 0 {
        ""
    } else {
        "  "
    }
}

fn aligned(column: usize, text: &str, width: usize) -> String {
    if column < NUMBERS {
        format!("{text:<width$}")
    } else {
        format!("{text:>width$}")
    }
}

fn cells(row: &Row) -> [Cell; HEADER.len()] {
    let neutral = |text: String| Cell { text, verdict: Verdict::Neutral };
    let whole = row.complete == row.promised;
    [
        neutral(format!("{:?}", row.scenario).to_lowercase()),
        neutral(row.server.to_owned()),
        neutral(if row.shim { "with" } else { "without" }.to_owned()),
        Cell {
            text: format!("{}/{}", row.complete, row.promised),
            verdict: if whole { Verdict::Good } else { Verdict::Bad },
        },
        bad_if_any(row.bytes_lost),
        bad_if_any(row.resets_seen as u64),
        bad_if_any(row.kernel.abort_on_close),
        bad_if_any(row.kernel.abort_on_data),
        bad_if_any(row.kernel.out_rsts),
    ]
}

fn bad_if_any(number: u64) -> Cell {
    let verdict = if number == 0 { Verdict::Neutral } else { Verdict::Bad };
    Cell { text: with_spaces(number), verdict }
}

/// 2935196 -> 2 935 196
pub(crate) fn with_spaces(number: u64) -> String {
    let digits = number.to_string();
    let threes: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    threes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;
    use crate::scenario::Scenario;

    fn rows() -> [Row; 1] {
        [Row {
            scenario: Scenario::Late,
            server: "embedded",
            shim: false,
            connections: 1,
            promised: 1,
            complete: 0,
            bytes_lost: 2_935_196,
            resets_seen: 1,
            kernel: Counters::default(),
        }]
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(with_spaces(0), "0");
        assert_eq!(with_spaces(100), "100");
        assert_eq!(with_spaces(2_935_196), "2 935 196");
    }

    #[test]
    fn columns_line_up() {
        let text = anstream::adapter::strip_str(&Table::new(&rows()).to_string()).to_string();
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths, vec![widths[0]; 3], "{text}");
    }

    #[test]
    fn what_is_lost_is_red() {
        assert!(Table::new(&rows()).to_string().contains("\x1b[31m"));
    }
}
