//! One life of `every-way`, with all its clients, and what must be so at the end.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::exchange::{Behaviour, Client, Got};
use super::launch::{Running, Surroundings};
use crate::DEADLINE;

/// A response: more than the client's window and what it has in its receive queue.
const RESPONSE: usize = 300_000;

/// Ways of a program under the preloaded library. The last word is a way of `every-way`.
pub const PRELOADED: &[&str] = &[
    "close",
    "shutdown",
    "dup2",
    "duplicated",
    "epoll",
    "syscall",
    "linger_close",
    "fork",
    "close",
    "exit",
    "linger_close_wait",
    "sandbox",
];

/// Ways of a program that only links it.
pub const LINKED: &[&str] = &["linger_close", "epoll_linger_close", "linger_close", "linger_close_wait"];

/// The drain thread's own descriptors, and its published file.
const THREAD_TABLE: usize = 9;

/// System calls of one kind in the turns of the drain threads, in one session; a thread that spins makes millions.
pub const MOST_CALLS: u64 = 20_000;

/// `struct linger_stats`.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Statistics {
    pub lingered: u64,
    pub pending: u64,
    pub fin: u64,
    pub reset: u64,
    pub idle: u64,
    pub timeout: u64,
    pub bytes: u64,
    pub evicted: u64,
    pub closed: u64,
    pub shared: u64,
    pub fallbacks: u64,
}

/// What `every-way` reports of itself.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Report {
    pub statistics: Statistics,
    pub pending: i32,
    pub more_descriptors: BTreeMap<i32, String>,
    pub fewer_descriptors: Vec<i32>,
    pub thread_tables: Vec<BTreeMap<i32, String>>,
    pub maps: usize,
    pub resident_kib: u64,
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
        return Ok(Conclusion { wrong, got: Vec::new(), report: None });
    };
    let address = first.strip_prefix("listening ").context(first.clone())?.parse()?;
    let mut session =
        Session { server, address, wrong: Vec::new(), got: Vec::new(), staying: Vec::new(), id: 0 };
    let mut report = None;
    let mut alive = true;
    for _ in 0..rounds {
        for (number, way) in ways.iter().enumerate() {
            // Everybody speaks late once: that is what is lost without the library.
            let second = [Behaves, Leaves, Stays][number % 3];
            for behaviour in [SpeaksLate, second] {
                // One complaint is enough, and silence takes its time.
                alive = alive && session.wrong.is_empty() && session.exchange(way, behaviour);
            }
        }
    }
    if alive {
        report = session.report();
    }
    let clients: Vec<_> = session.staying.drain(..).collect();
    session.conclude(&report);
    drop(clients);
    Ok(Conclusion { wrong: session.wrong, got: session.got, report })
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
                self.got.push((way.to_owned(), behaviour, got));
                self.staying.extend(stays);
            }
            Err(what) => self.wrong.push(format!("{way}, {behaviour:?}: {what}")),
        }
        true
    }

    /// Asks for the report; a last connection stays with the server until it ends.
    fn report(&mut self) -> Option<Report> {
        self.id += 1;
        let kept = Client::ask(self.address, "keep", self.id, RESPONSE).ok()?;
        self.expect(&format!("gone {}", self.id))?;
        Client::ask_for_report(self.address).ok()?;
        let report = self.expect("report ");
        match kept.hear(Behaviour::SpeaksLate) {
            Ok((got, _)) => self.got.push(("end of process".into(), Behaviour::SpeaksLate, got)),
            Err(what) => self.wrong.push(format!("end of process: {what}")),
        }
        serde_json::from_str(&report?).ok()
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

impl Report {
    fn complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.pending != 0 || self.statistics.pending != 0 {
            wrong.push(format!("{} still linger: {:?}", self.pending, self.statistics));
        }
        // The channel, and nothing else.
        let channels = self.more_descriptors.values().filter(|link| link.starts_with("socket:")).count();
        if self.more_descriptors.len() > 1 || channels < self.more_descriptors.len() {
            wrong.push(format!("descriptors are left: {:?}", self.more_descriptors));
        }
        if !self.fewer_descriptors.is_empty() {
            wrong.push(format!("descriptors of the program were closed: {:?}", self.fewer_descriptors));
        }
        for table in &self.thread_tables {
            if table.len() > THREAD_TABLE {
                wrong.push(format!("a thread's table is not empty: {table:?}"));
            }
        }
        let s = &self.statistics;
        let ends = s.fin + s.reset + s.idle + s.timeout + s.bytes + s.evicted + s.closed;
        if s.lingered > ends || s.fallbacks > s.closed {
            wrong.push(format!("the counters do not add up: {s:?}"));
        }
        wrong
    }
}
