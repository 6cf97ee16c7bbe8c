//! What the server and its threads hold, looked up from outside: what fails inside cannot hide anything here, and nothing is
//! asked of the server that its surroundings may have forbidden it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Numbers, and what is behind them.
pub type Table = BTreeMap<i32, String>;

const EVENT_SET: &str = "anon_inode:[eventpoll]";
const EVENT_COUNTER: &str = "anon_inode:[eventfd]";
const PUBLICATION: &str = "/memfd:linger (deleted)";

/// The numbers of a drain thread's table (`src/reaper/table.rs`), and what may be behind each. What is not there of the bell,
/// stderr and /proc is an empty epoll set.
const CHANNEL: i32 = 4;
const BELL: i32 = 5;
const STDERR: i32 = 6;
const PROC: i32 = 7;

/// At one moment.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// The main thread's table.
    pub program: Table,
    /// Those of the other threads.
    pub threads: Vec<Table>,
    /// Unix datagram sockets that are bound, of the whole network namespace: a channel is one.
    datagram: BTreeSet<String>,
}

/// What can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Lines of /proc/PID/maps.
    pub maps: usize,
    /// Memory in use.
    pub resident_kib: u64,
}

impl Holdings {
    /// Of this process.
    ///
    /// # Errors
    ///
    /// If a table cannot be read: that is not an empty one.
    pub fn of(pid: u32) -> io::Result<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let mut threads = Vec::new();
        for thread in fs::read_dir(process.join("task"))? {
            let thread = thread?;
            if thread.file_name().to_string_lossy() == pid.to_string() {
                continue;
            }
            match table(&thread.path().join("fd")) {
                Ok(table) => threads.push(table),
                // It ended meanwhile.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { program: table(&process.join("fd"))?, threads, datagram: datagram_sockets(&process)? })
    }

    /// What should not be there, or be missing, where the program itself has these numbers.
    #[must_use]
    pub fn complaints(&self, own: &[i32]) -> Vec<String> {
        let mut wrong = Vec::new();
        let more: Table = self
            .program
            .iter()
            .filter(|(number, _)| !own.contains(number))
            .map(|(n, l)| (*n, l.clone()))
            .collect();
        let channels: Vec<_> = more.values().filter(|link| self.datagram.contains(*link)).collect();
        if more.len() > 1 || channels.len() < more.len() {
            wrong.push(format!("the program holds more than a channel: {more:?}"));
        }
        let fewer: Vec<_> = own.iter().filter(|number| !self.program.contains_key(number)).collect();
        if !fewer.is_empty() {
            wrong.push(format!("descriptors of the program were closed: {fewer:?}"));
        }
        for table in &self.threads {
            let expected = |(number, link): (&i32, &String)| match *number {
                // All drain threads of a process listen to the channel it sends to.
                CHANNEL => channels == [link],
                BELL => link == EVENT_COUNTER || link == EVENT_SET,
                STDERR => link == EVENT_SET || link.starts_with("pipe:"),
                PROC => link == EVENT_SET || link == "/proc",
                0..=3 => link == EVENT_SET,
                _ => link == PUBLICATION,
            };
            let published = table.values().filter(|link| *link == PUBLICATION).count();
            if !table.iter().all(expected) || published > 1 || !(0..=PROC).all(|n| table.contains_key(&n)) {
                wrong.push(format!(
                    "a drain thread's table is not as it begins: {table:?}, channel {channels:?}"
                ));
            }
        }
        wrong
    }
}

impl Footprint {
    /// Of this process.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?.lines().count();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident_kib = resident
            .and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("no VmRSS"))?;
        Ok(Self { maps, resident_kib })
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn table(directory: &Path) -> io::Result<Table> {
    let mut table = Table::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        match fs::read_link(entry.path()) {
            Ok(link) => drop(table.insert(number, link.to_string_lossy().into_owned())),
            // It was closed meanwhile.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(table)
}

/// Of its network namespace.
fn datagram_sockets(process: &Path) -> io::Result<BTreeSet<String>> {
    let mut sockets = BTreeSet::new();
    // Num RefCount Protocol Flags Type St Inode Path; unix_seq_show
    for line in fs::read_to_string(process.join("net/unix"))?.lines().skip(1) {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        if let [_, _, _, _, "0002", _, inode, _, ..] = words[..] {
            sockets.insert(format!("socket:[{inode}]"));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(links: &[(i32, &str)]) -> Table {
        links.iter().map(|(number, link)| (*number, (*link).to_owned())).collect()
    }

    fn begins() -> Holdings {
        let thread = [
            (0, EVENT_SET),
            (1, EVENT_SET),
            (2, EVENT_SET),
            (3, EVENT_SET),
            (4, "socket:[7]"),
            (5, EVENT_COUNTER),
            (6, EVENT_SET),
            (7, EVENT_SET),
            (8, PUBLICATION),
        ];
        Holdings {
            program: table(&[(0, "/dev/null"), (3, "socket:[5]"), (1015, "socket:[7]")]),
            threads: vec![table(&thread)],
            datagram: ["socket:[7]".to_owned()].into(),
        }
    }

    #[test]
    fn the_channel_and_a_thread_at_rest_are_expected() {
        assert_eq!(begins().complaints(&[0, 3]), Vec::<String>::new());
    }

    /// Each by itself, also in the place of something that could not be had.
    #[test]
    fn what_is_left_behind_is_seen() {
        let changes: [fn(&mut Holdings); 8] = [
            |held| drop(held.program.insert(9, "socket:[8]".into())),
            |held| drop(held.program.insert(1015, "socket:[8]".into())),
            |held| drop(held.program.remove(&3)),
            |held| drop(held.threads[0].insert(5, "socket:[8]".into())),
            |held| drop(held.threads[0].insert(8, "socket:[8]".into())),
            |held| drop(held.threads[0].insert(9, PUBLICATION.into())),
            |held| drop(held.threads[0].remove(&5)),
            |held| held.threads[0].clear(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut held = begins();
            change(&mut held);
            assert!(!held.complaints(&[0, 3]).is_empty(), "change {number}: {held:?}");
        }
    }
}
