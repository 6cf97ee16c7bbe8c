//! An aligned table.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// Between two columns.
const GAP: &str = "  ";

/// A piece of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub text: String,
    pub style: Style,
}

/// One line of the report.
pub type Line = Vec<Span>;

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A cell is a line's piece before it is filled up with spaces.
pub type Cell = Span;

/// Every row has a cell for each column.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl Span {
    /// `text` in this style.
    pub fn new(text: impl Into<String>, style: Style) -> Span {
        Span { text: text.into(), style }
    }

    /// `text` as it is.
    pub fn plain(text: impl Into<String>) -> Span {
        Span::new(text, Style::new())
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

impl Table {
    /// Without rows.
    pub fn new(columns: &[(&'static str, Side)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Appends a row.
    pub fn add(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Takes out the columns from `first` on of which every cell is `text` or empty, if it is wider than `most`, and says
    /// which.
    pub fn narrow(&mut self, text: &str, most: usize, first: usize) -> Vec<&'static str> {
        let mut taken = Vec::new();
        if self.width() <= most {
            return taken;
        }
        for index in (first..self.columns.len()).rev() {
            let mut cells = self.rows.iter().filter_map(|row| row.get(index));
            if cells.all(|cell| cell.text == text || cell.text.is_empty()) {
                taken.insert(0, self.columns.remove(index).0);
                self.rows.iter_mut().for_each(|row| drop(row.remove(index)));
            }
        }
        taken
    }

    fn widths(&self) -> Vec<usize> {
        let width = |(index, (name, _)): (usize, &(&str, Side))| {
            let cells = self.rows.iter().filter_map(|row| Some(row.get(index)?.width()));
            cells.chain([name.width()]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(width).collect()
    }

    fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
    }

    /// The header, in `style`, and the rows.
    pub fn lines(&self, style: Style) -> Vec<Line> {
        let widths = self.widths();
        let header: Vec<Cell> = self.columns.iter().map(|(name, _)| Span::new(*name, style)).collect();
        std::iter::once(&header).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> Line {
        let mut line = Line::new();
        let last = row.len().saturating_sub(1);
        for (index, (cell, (width, (_, side)))) in
            row.iter().zip(widths.iter().zip(&self.columns)).enumerate()
        {
            let fill = " ".repeat(width.saturating_sub(cell.width()));
            let gap = if index == last { "" } else { GAP };
            let (before, after) = match side {
                Side::Left if index == last => (String::new(), String::new()),
                Side::Left => (String::new(), fill + gap),
                Side::Right => (fill, gap.to_owned()),
            };
            line.extend([Span::plain(before), cell.clone(), Span::plain(after)]);
        }
        line.retain(|span| !span.text.is_empty());
        // Nothing but spaces at the end of a line is no part of it.
        while line.last().is_some_and(|span| span.text.trim().is_empty()) {
            line.pop();
        }
        line
    }
}

/// The beginning of a line that fits into `most` columns of a terminal.
pub fn cut(line: &Line, most: usize) -> Line {
    let mut left = most;
    let mut kept = Line::new();
    for span in line {
        let mut text = String::new();
        for c in span.text.chars() {
            let width = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
            if width > left {
                kept.push(Span::new(text, span.style));
                return kept;
            }
            left -= width;
            text.push(c);
        }
        kept.push(Span::new(text, span.style));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.iter().map(|span| span.text.as_str()).collect()).collect()
    }

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(&[("PID", Side::Right), ("COMMAND", Side::Left), ("FIN", Side::Right)]);
        for row in rows {
            table.add(row.iter().map(|text| Span::plain(*text)).collect());
        }
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = texts(&table(&[["7", "größe", "1,234"], ["4711", "日本", "0"]]).lines(Style::new()));
        assert_eq!(lines, [" PID  COMMAND    FIN", "   7  größe    1,234", "4711  日本         0"]);
    }

    #[test]
    fn nothing_trails() {
        let mut table = Table::new(&[("A", Side::Right), ("B", Side::Left)]);
        table.add(vec![Span::plain("1"), Span::plain("")]);
        table.add(vec![Span::plain("2"), Span::plain("long")]);
        assert_eq!(texts(&table.lines(Style::new())), ["A  B", "1", "2  long"]);
    }

    #[test]
    fn columns_of_nothing_are_taken_out_where_it_is_too_wide() {
        let rows = [["7", "0", "0"], ["8", "", "0"]];
        let mut wide = table(&rows);
        assert_eq!(wide.narrow("0", 17, 0), Vec::<&str>::new());
        assert_eq!(wide.narrow("0", 16, 2), ["FIN"]);
        assert_eq!(texts(&wide.lines(Style::new())), ["PID  COMMAND", "  7  0", "  8"]);
        let mut needed = table(&[["7", "a", "1"]]);
        assert_eq!(needed.narrow("0", 1, 0), Vec::<&str>::new());
    }

    #[test]
    fn lines_are_cut_at_the_edge_of_the_screen() {
        let line = vec![Span::plain("ab"), Span::plain("日本")];
        for (most, text) in
            [(0, ""), (1, "a"), (3, "ab"), (4, "ab日"), (5, "ab日"), (6, "ab日本"), (80, "ab日本")]
        {
            assert_eq!(texts(&[cut(&line, most)]), [text]);
        }
    }
}
