//! `--watch`: look after look, in place on a terminal, one block after the other elsewhere.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anstyle::Style;

use super::census::{Census, Question};
use super::pace::Pace;
use super::report::Report;
use super::screen::{self, Event, Screen};
use super::table::{Line, Span};
use super::{conclude, json, take, unprintable, write_lines};
use crate::failure::Failure;

/// Looks until somebody has seen enough, or none of the processes that were asked for is left.
struct Watch<'a> {
    question: &'a Question,
    interval: Duration,
    now: (Census, Instant),
    pace: Option<Pace>,
}

/// Shows people what happens.
pub fn show(question: &Question, interval: Duration) -> Result<ExitCode, Failure> {
    let mut watch = Watch::begin(question, interval)?;
    if watch.is_over() {
        return conclude(question, &watch.now.0);
    }
    if screen::is_terminal() {
        watch.show_live()?;
    } else {
        watch.repeat(|watch, out| {
            let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            let mut lines = vec![vec![Span::plain(time)]];
            lines.extend(watch.lines(None));
            lines.push(Line::new());
            write_lines(&lines, out)
        })?;
    }
    watch.end()
}

/// A document a line, for programs.
pub fn show_json(question: &Question, interval: Duration) -> Result<ExitCode, Failure> {
    let mut watch = Watch::begin(question, interval)?;
    if !watch.is_over() {
        watch.repeat(|watch, out| {
            serde_json::to_writer(&mut *out, &json::document(&watch.now.0, question.connections))?;
            writeln!(out)
        })?;
    }
    watch.end()
}

impl<'a> Watch<'a> {
    fn begin(question: &'a Question, interval: Duration) -> Result<Watch<'a>, Failure> {
        let now = (take(question)?, Instant::now());
        Ok(Watch { question, interval, now, pace: None })
    }

    fn look(&mut self) -> Result<(), Failure> {
        let now = (take(self.question)?, Instant::now());
        let elapsed = now.1.duration_since(self.now.1);
        self.pace = Some(Pace::between(&self.now.0.subjects, &now.0.subjects, elapsed));
        self.now = now;
        Ok(())
    }

    /// Whether none of the processes that were asked for can be watched.
    fn is_over(&self) -> bool {
        !self.question.pids.is_empty() && self.now.0.subjects.is_empty()
    }

    /// Those that were asked for and are not there any more are told of.
    fn end(&self) -> Result<ExitCode, Failure> {
        if self.question.pids.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        conclude(self.question, &self.now.0)
    }

    fn next(&self) -> Instant {
        self.now.1 + self.interval
    }

    fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let report = Report {
            census: &self.now.0,
            pace: self.pace.as_ref(),
            width,
            connections: self.question.connections,
        };
        let mut lines = report.lines();
        lines.extend(self.now.0.troubles.iter().map(|trouble| vec![Span::plain(trouble.message())]));
        lines
    }

    fn repeat(
        &mut self,
        write: impl Fn(&Watch<'a>, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        loop {
            let mut out = anstream::stdout().lock();
            match write(self, &mut out).and_then(|()| out.flush()) {
                // Nobody wants the rest.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other.map_err(|error| unprintable(&error))?,
            }
            drop(out);
            std::thread::sleep(self.next().saturating_duration_since(Instant::now()));
            self.look()?;
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn show_live(&mut self) -> Result<(), Failure> {
        let lost = |error: io::Error| unprintable(&error);
        let mut screen = Screen::enter().map_err(lost)?;
        loop {
            let width = screen::size().map(|(columns, _)| columns);
            let mut lines = vec![self.headline(), Line::new()];
            lines.extend(self.lines(width));
            screen.draw(&lines).map_err(lost)?;
            match screen.wait(self.next()).map_err(lost)? {
                Event::Due => self.look()?,
                Event::Changed => {}
                Event::Leave => return Ok(()),
            }
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn headline(&self) -> Line {
        let faint = Style::new().dimmed();
        let interval = humantime::format_duration(self.interval);
        vec![
            Span::new("linger stat", Style::new().bold()),
            Span::new(format!("  every {interval}; q leaves"), faint),
        ]
    }
}
