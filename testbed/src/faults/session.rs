//! One life of `every-way`, with all its clients, and what must be so at the end.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::exchange::{Behaviour, Client, Got};
use super::holdings::{Footprint, Holdings};
use super::launch::{Running, Surroundings};
use crate::interface::Statistics;
use crate::{pause, DEADLINE};

/// A response: more than the client's window and what it has in its receive queue.
pub const RESPONSE: usize = 300_000;

/// Ways of a program under the preloaded library. The last word is a way of `every-way`.
pub const PRELOADED: &[&str] = &[
    "close",
    "shutdown",
    "dup2",
    "duplicated",
    "epoll",
    "syscall",
    "close_range",
    "fclose",
    "linger_close",
    "fork",
    "close",
    "exit",
    "linger_close_wait",
    "sandbox",
];

/// Ways of a program that only links it.
pub const LINKED: &[&str] = &["linger_close", "epoll_linger_close", "linger_close", "linger_close_wait"];

/// System calls of one kind in the turns of the drain threads, in one session; a thread that spins makes millions.
pub const MOST_CALLS: u64 = 20_000;

/// What `every-way` reports of itself, and what it holds then.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Report {
    pub statistics: Statistics,
    pub pending: i32,
    pub own: Vec<i32>,
    #[serde(skip)]
    pub held: Holdings,
}

/// How a session went.
#[derive(Debug)]
pub struct Conclusion {
    /// What must never be.
    pub wrong: Vec<String>,
    /// What every client got, by the way the server let go.
    pub got: Vec<(String, Behaviour, Got)>,
    /// Absent if the server did not come so far.
    pub report: Option<Report>,
    /// At the end of the second round and of each that follows.
    pub footprints: Vec<Footprint>,
}

impl Conclusion {
    /// Responses that did not arrive whole, though their clients wanted them. Not those of a program that sandboxes itself
    /// right after: what lingers then is closed, see liblinger(7).
    #[must_use]
    pub fn lost(&self) -> usize {
        self.got.iter().filter(|(way, _, got)| way != "sandbox" && matches!(got, Got::Reset(_))).count()
    }
}

/// A session being played.
struct Session {
    server: Running,
    address: SocketAddr,
    wrong: Vec<String>,
    got: Vec<(String, Behaviour, Got)>,
    staying: Vec<TcpStream>,
    id: usize,
}

/// Plays all behaviours with all `ways`, `rounds` times.
///
/// # Errors
///
/// If the server could not even be started.
pub fn play(program: &str, surroundings: &Surroundings, ways: &[&str], rounds: usize) -> Result<Conclusion> {
    use Behaviour::{Behaves, Leaves, SpeaksLate, Stays};
    let server = Running::start(program, surroundings)?;
    let Some(first) = server.line(DEADLINE) else {
        let mut server = server;
        let wrong = vec![format!("it did not start: {:?}, {:?}", server.end(DEADLINE), server.errors())];
        return Ok(Conclusion { wrong, got: Vec::new(), report: None, footprints: Vec::new() });
    };
    let address = first.strip_prefix("listening ").context(first.clone())?.parse()?;
    let mut session =
        Session { server, address, wrong: Vec::new(), got: Vec::new(), staying: Vec::new(), id: 0 };
    let mut report = None;
    let mut alive = true;
    let mut footprints = Vec::new();
    for round in 0..rounds {
        for (number, way) in ways.iter().enumerate() {
            // Everybody speaks late once: that is what is lost without the library.
            let second = [Behaves, Leaves, Stays][number % 3];
            for behaviour in [SpeaksLate, second] {
                // One complaint is enough, and silence takes its time.
                alive = alive && session.wrong.is_empty() && session.exchange(way, behaviour);
            }
        }
        // The first round makes what stays: a thread, its memory, what libc keeps.
        if alive && round > 0 {
            footprints.extend(session.look());
        }
    }
    if alive {
        report = session.report();
    }
    let clients: Vec<_> = session.staying.drain(..).collect();
    session.conclude(&report);
    drop(clients);
    Ok(Conclusion { wrong: session.wrong, got: session.got, report, footprints })
}

impl Session {
    /// Waits for a line that begins so; complaints come in between. `None` if the server is silent or gone.
    fn expect(&mut self, beginning: &str) -> Option<String> {
        loop {
            match self.server.line(DEADLINE) {
                Some(line) if line.starts_with("wrong") => self.wrong.push(line),
                Some(line) => {
                    if let Some(rest) = line.strip_prefix(beginning) {
                        return Some(rest.to_owned());
                    }
                    self.wrong.push(format!("it says {line:?} in place of {beginning:?}"));
                }
                None => return None,
            }
        }
    }

    /// False once nothing more is to be had from the server.
    fn exchange(&mut self, way: &str, behaviour: Behaviour) -> bool {
        self.id += 1;
        // Descriptors get scarce: no response.
        let (way, bytes) = match way.split_once(' ') {
            Some((way, number)) => (way, number.parse().unwrap_or(0)),
            None => (way, RESPONSE),
        };
        let client = match Client::ask(self.address, way, self.id, bytes) {
            Ok(client) => client,
            Err(error) => {
                self.wrong.push(format!("{way}: no connection: {error:#}"));
                return false;
            }
        };
        // The server waits for this one.
        let waits = way == "linger_close_wait" && behaviour == Behaviour::Leaves;
        if waits {
            let _ = client.hear(behaviour);
            return self.expect(&format!("gone {}", self.id)).is_some();
        }
        if self.expect(&format!("gone {}", self.id)).is_none() {
            self.wrong.push(format!("{way}: the server did not come back from letting go"));
            return false;
        }
        if way == "fill" {
            return true;
        }
        match client.hear(behaviour) {
            Ok((got, stays)) => {
                self.wrong.extend(
                    got.worse_than_plain(behaviour).map(|what| format!("{way}, {behaviour:?}: {what}")),
                );
                self.got.push((way.to_owned(), behaviour, got));
                self.staying.extend(stays);
            }
            Err(what) => self.wrong.push(format!("{way}, {behaviour:?}: {what}")),
        }
        true
    }

    /// What it takes up once nothing lingers.
    fn look(&mut self) -> Option<Footprint> {
        Client::request(self.address, "look").ok()?;
        let Some(pending) = self.expect("looked ") else {
            self.wrong.push("it does not say that nothing lingers".into());
            return None;
        };
        if pending != "0" {
            self.wrong.push(format!("{pending} still linger"));
        }
        let footprint = Footprint::of(self.server.pid());
        footprint.map_err(|error| self.wrong.push(format!("its memory cannot be looked at: {error}"))).ok()
    }

    /// Asks for the report; a last connection stays with the server until it ends.
    fn report(&mut self) -> Option<Report> {
        self.id += 1;
        let kept = Client::ask(self.address, "keep", self.id, RESPONSE).ok()?;
        self.expect(&format!("gone {}", self.id))?;
        Client::request(self.address, "report").ok()?;
        let line = self.expect("report ")?;
        let report = Report::of(&line, &self.server);
        let report = report.map_err(|error| self.wrong.push(format!("no report: {error:#}"))).ok();
        Client::request(self.address, "end").ok()?;
        match kept.hear(Behaviour::SpeaksLate) {
            Ok((got, _)) => {
                let worse = got.worse_than_plain(Behaviour::SpeaksLate);
                self.wrong.extend(worse.map(|what| format!("end of process: {what}")));
                self.got.push(("end of process".into(), Behaviour::SpeaksLate, got));
            }
            Err(what) => self.wrong.push(format!("end of process: {what}")),
        }
        report
    }

    fn conclude(&mut self, report: &Option<Report>) {
        match self.server.end(DEADLINE) {
            Ok(rest) => self.wrong.extend(rest.into_iter().filter(|line| line.starts_with("wrong"))),
            Err(how) => self.wrong.push(how),
        }
        let said = |line: &String| line.contains("panicked") || line.contains("allocation");
        let panics = self.server.errors().into_iter().filter(said);
        self.wrong.extend(panics);
        match report {
            Some(report) => self.wrong.extend(report.complaints()),
            None => self.wrong.push("there is no report".into()),
        }
    }
}

/// How long a drain thread may take to leave the table it was started in, or to end, when nothing lingers any more.
const SETTLING: Duration = Duration::from_secs(5);

impl Report {
    /// From what the server said, and what it holds now.
    ///
    /// # Errors
    ///
    /// If that cannot be understood or looked at.
    pub fn of(line: &str, server: &Running) -> Result<Self> {
        let mut report: Self = serde_json::from_str(line).context("report")?;
        let until = Instant::now() + SETTLING;
        loop {
            report.held = Holdings::of(server.pid()).context("what it holds")?;
            if Instant::now() >= until || report.held.complaints(&report.own).is_empty() {
                return Ok(report);
            }
            pause(Duration::from_millis(20), "a thread is just starting or ending");
        }
    }

    /// What must never be.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.pending != 0 || self.statistics.pending != 0 {
            wrong.push(format!("{} still linger: {:?}", self.pending, self.statistics));
        }
        wrong.extend(self.held.complaints(&self.own));
        let s = &self.statistics;
        let ends = s.fin + s.reset + s.idle + s.timeout + s.bytes + s.evicted + s.closed;
        if s.lingered > ends || s.fallbacks > s.closed {
            wrong.push(format!("the counters do not add up: {s:?}"));
        }
        wrong
    }
}
