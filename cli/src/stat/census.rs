//! Which processes run with liblinger, and what each of them did.

use std::collections::HashMap;
use std::time::Duration;

use linger::publication::Published;

use super::clock::Clock;
use super::counts::Counts;
use super::ends::{self, Ends};
use super::memory::{version, Found, Held, Memory};
use super::process::Process;
use super::trouble::{Kind, Trouble};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// Those of whom to tell; all, if there are none.
    pub pids: Vec<i32>,
    /// Whether each connection is to be listed.
    pub connections: bool,
}

/// What was found, at one moment.
#[derive(Debug, Default)]
pub struct Census {
    /// By number, or in the order in which they were asked for.
    pub subjects: Vec<Subject>,
    /// How many processes may not be looked into, where all were asked for.
    pub unreadable: usize,
    /// What is wrong with those that were asked for, or that seem to run with the library.
    pub troubles: Vec<Trouble>,
}

/// A process that runs with the library.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub pid: i32,
    pub command: String,
    /// `None` where nothing has lingered yet.
    pub version: Option<String>,
    pub drain_threads: usize,
    pub lingering: u64,
    pub oldest: Option<Duration>,
    pub counts: Counts,
    /// Bytes of connections that linger now; [`Counts::discarded_bytes`] has those of the others.
    pub lingering_discarded_bytes: u64,
    /// Empty where nobody asked. The oldest first.
    pub connections: Vec<Connection>,
}

/// A connection that lingers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// `None` where the kernel's tables of TCP sockets do not have it, as for MPTCP.
    pub ends: Option<Ends>,
    pub age: Duration,
    pub deadline: Duration,
    pub discarded_bytes: u64,
    pub unacknowledged_bytes: u32,
}

impl Census {
    /// Looks into the processes.
    pub fn take(question: &Question) -> Result<Census, Trouble> {
        let mut census = Census::default();
        if question.pids.is_empty() {
            let this = std::process::id() as i32;
            for process in Process::all()?.into_iter().filter(|process| process.pid != this) {
                census.add_found(process, examine(process, question.connections));
            }
        } else {
            for pid in &question.pids {
                match examine(Process { pid: *pid }, question.connections) {
                    Ok(subject) => census.subjects.push(subject),
                    Err(trouble) => census.troubles.push(trouble),
                }
            }
        }
        Ok(census)
    }

    fn add_found(&mut self, process: Process, found: Result<Subject, Trouble>) {
        match found {
            Ok(subject) => self.subjects.push(subject),
            Err(trouble) => match trouble.kind {
                Kind::Gone | Kind::NotLiblinger => {}
                Kind::NotPermitted if process.is_kernel_thread() => {}
                Kind::NotPermitted => self.unreadable += 1,
                Kind::OtherLayout(_) | Kind::Unpublished | Kind::System(_) => self.troubles.push(trouble),
            },
        }
    }
}

/// What the drain threads of a process publish.
struct Publications {
    threads: usize,
    memories: Vec<Memory>,
    /// One has another layout, and this version.
    other_layout: Option<Option<String>>,
}

/// A drain thread publishes at its very start: one that does not is looked at once more.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Publications {
    fn of(process: Process) -> Result<Publications, Trouble> {
        for _ in 1..LOOKS {
            let found = Publications::find(process)?;
            if found.threads == 0 || !found.memories.is_empty() || found.other_layout.is_some() {
                return Ok(found);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Publications::find(process)
    }

    fn find(process: Process) -> Result<Publications, Trouble> {
        let threads = process.drain_threads()?;
        let mut found = Publications { threads: threads.len(), memories: Vec::new(), other_layout: None };
        for thread in &threads {
            match Memory::find(thread) {
                Ok(Found::Memory(memory)) => found.memories.push(memory),
                Ok(Found::OtherLayout(version)) => found.other_layout = Some(version),
                Ok(Found::Nothing) => {}
                Err(error) => match process.trouble(&error) {
                    // The thread is, and the process need not be: the next look tells.
                    Trouble { kind: Kind::Gone, .. } => {}
                    trouble => return Err(trouble),
                },
            }
        }
        Ok(found)
    }
}

fn examine(process: Process, with_connections: bool) -> Result<Subject, Trouble> {
    let Publications { threads, memories, other_layout } = Publications::of(process)?;
    if let Some(version) = other_layout {
        return Err(process.with_trouble(Kind::OtherLayout(version)));
    }
    if memories.is_empty() && !process.has_library()? {
        return Err(process.with_trouble(Kind::NotLiblinger));
    }
    if memories.is_empty() && threads > 0 {
        return Err(process.with_trouble(Kind::Unpublished));
    }
    let command = process.command().ok_or_else(|| process.with_trouble(Kind::Gone))?;
    let mut subject = Subject::new(process.pid, command);
    let clock = Clock::of(process);
    for memory in &memories {
        subject.add(memory, clock).map_err(|error| process.trouble(&error))?;
        if with_connections {
            subject.list(memory, clock).map_err(|error| process.trouble(&error))?;
        }
    }
    subject.connections.sort_by_key(|connection| std::cmp::Reverse(connection.age));
    Ok(subject)
}

impl Subject {
    /// Of which nothing is known yet.
    pub fn new(pid: i32, command: String) -> Subject {
        Subject {
            pid,
            command,
            version: None,
            drain_threads: 0,
            lingering: 0,
            oldest: None,
            counts: Counts::default(),
            lingering_discarded_bytes: 0,
            connections: Vec::new(),
        }
    }

    /// What one more drain thread did. Only the first of those that share a channel counts; the others publish zeros.
    fn add(&mut self, memory: &Memory, clock: Clock) -> std::io::Result<()> {
        memory.for_each_record(|_, record| {
            self.oldest = self.oldest.max(Some(clock.age(record.started)));
            self.lingering_discarded_bytes = self.lingering_discarded_bytes.saturating_add(record.discarded);
        })?;
        self.add_published(&memory.published);
        Ok(())
    }

    fn add_published(&mut self, published: &Published) {
        self.version = Some(version(published));
        self.drain_threads += 1;
        self.lingering = self.lingering.saturating_add(published.lingering);
        self.counts = self.counts.plus(&Counts::of(published));
    }

    /// The connections of one more drain thread.
    fn list(&mut self, memory: &Memory, clock: Clock) -> std::io::Result<()> {
        let mut held = Vec::new();
        memory.for_each_record(|number, record| held.extend(memory.held(number, &record)))?;
        let mut ends: HashMap<u64, Ends> = HashMap::new();
        let inodes: std::collections::HashSet<u64> = held.iter().map(|held: &Held| held.inode).collect();
        if !inodes.is_empty() {
            for table in memory.tables_of_sockets() {
                match ends::find(&table, |inode| inodes.contains(&inode), &mut ends) {
                    // A kernel without IPv6 has no such table.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    other => other?,
                }
            }
        }
        self.connections.extend(held.iter().map(|Held { inode, record }| Connection {
            ends: ends.get(inode).copied(),
            age: clock.age(record.started),
            deadline: Duration::from_millis(record.deadline_ms.into()),
            discarded_bytes: record.discarded,
            unacknowledged_bytes: record.unacknowledged,
        }));
        Ok(())
    }
}
