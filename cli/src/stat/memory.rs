//! The memory that a drain thread publishes, read by somebody else.
//!
//! **Invariants:** nothing in it is believed: whoever runs a process can lay out such a file as he likes. What is read and
//! what is kept is bounded, and nothing is opened that is not such a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use linger::drain::{Drain, Record};
use linger::publication::{Published, LINK, MAGIC, READ_BYTES};
use rustix::fs::{fcntl_get_seals, SealFlags};

/// More descriptors than this one table does not have (fs.nr_open is 2^20).
const MOST_PLACES: u64 = 1 << 22;
const RECORD_BYTES: usize = size_of::<Drain>();

/// What one drain thread publishes.
pub struct Memory {
    file: File,
    /// The thread's directory in /proc.
    thread: PathBuf,
    /// Its beginning, as it was when it was opened.
    pub published: Published,
}

/// What was found in a thread's table.
pub enum Found {
    /// Its counters and records.
    Memory(Memory),
    /// Those of a library that lays them out otherwise, and its version where that can be told.
    OtherLayout(Option<String>),
    /// Nothing of the kind.
    Nothing,
}

/// The connection behind a number of the thread's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub inode: u64,
    pub record: Record,
}

impl Memory {
    /// Finds it in the table of the thread with this directory in /proc.
    pub fn find(thread: &Path) -> io::Result<Found> {
        let entries = fs::read_dir(thread.join("fd"))?;
        // It is among the first, and the connections may be many.
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let linked = |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target.as_os_str() == LINK);
        match paths.find(linked) {
            Some(path) => Memory::open(&path, thread),
            None => Ok(Found::Nothing),
        }
    }

    fn open(path: &Path, thread: &Path) -> io::Result<Found> {
        // A pipe or a device could bear that name, too, and opening one would wait or have effects.
        if !fs::metadata(path)?.is_file() {
            return Ok(Found::Nothing);
        }
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        if !fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK | SealFlags::GROW)) {
            return Ok(Found::Nothing);
        }
        let mut header = [0; READ_BYTES];
        let length = read_fully(&file, &mut header, 0)?;
        Ok(understand(&header[..length]).map_or_else(Found::OtherLayout, |published| {
            Found::Memory(Memory { file, thread: thread.to_owned(), published })
        }))
    }

    /// Every record that is in use, with its number in the thread's table.
    pub fn for_each_record(&self, mut take: impl FnMut(u64, Record)) -> io::Result<()> {
        let mut chunk = [0; 2048 * RECORD_BYTES];
        let places = self.published.used.min(MOST_PLACES);
        for first in (0..places).step_by(chunk.len() / RECORD_BYTES) {
            let Some(at) = self.place(first) else { break };
            let wanted = ((places - first) as usize * RECORD_BYTES).min(chunk.len());
            let length = read_fully(&self.file, &mut chunk[..wanted], at)?;
            for (number, bytes) in (first..).zip(chunk[..length].chunks_exact(RECORD_BYTES)) {
                if let Some(record) = Record::read(bytes) {
                    take(number, record);
                }
            }
            if length < wanted {
                break;
            }
        }
        Ok(())
    }

    /// The connection that `number` is, if it still is the one whose record was `seen`: the record of a connection is
    /// there before its number is looked at, and after.
    pub fn held(&self, number: u64, seen: &Record) -> Option<Held> {
        let target = fs::read_link(self.thread.join("fd").join(number.to_string())).ok()?;
        let inode = inode_of(target.to_str()?)?;
        let mut bytes = [0; RECORD_BYTES];
        read_fully(&self.file, &mut bytes, self.place(number)?).ok()?;
        let record = Record::read(&bytes).filter(|record| record.started == seen.started)?;
        Some(Held { inode, record })
    }

    fn place(&self, number: u64) -> Option<u64> {
        let at = self.published.records_at.checked_add(number.checked_mul(RECORD_BYTES as u64)?)?;
        // No file is longer.
        (at < i64::MAX as u64 / 2).then_some(at)
    }

    /// The tables of the network namespace that the thread is in.
    pub fn tables_of_sockets(&self) -> [PathBuf; 2] {
        ["net/tcp", "net/tcp6"].map(|table| self.thread.join(table))
    }
}

/// The beginning of such a file; otherwise the version of the library that wrote it, where that can be told.
fn understand(header: &[u8]) -> Result<Published, Option<String>> {
    // Any layout that is not this one may have its version anywhere.
    if header.get(..MAGIC.to_ne_bytes().len()) != Some(&MAGIC.to_ne_bytes()) {
        return Err(None);
    }
    match Published::read(header) {
        Some(published) if published.record_bytes == RECORD_BYTES as u64 => Ok(published),
        Some(other) => Err(Some(version(&other))),
        None => Err(None),
    }
}

/// `0.1.0`
pub fn version(published: &Published) -> String {
    let [major, minor, patch] = published.version;
    format!("{major}.{minor}.{patch}")
}

/// Fewer bytes only where the file ends.
fn read_fully(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(length as u64)) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Of `socket:[INODE]`.
fn inode_of(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the layout that `linger::publication` has: a test there holds it to the names of the fields.
    fn file_of(words: &[u64]) -> File {
        let file = tempfile::tempfile().expect("file");
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        file.write_all_at(&bytes, 0).expect("write");
        file
    }

    fn memory(file: File, used: u64, records_at: u64) -> Memory {
        let mut header = [0; READ_BYTES];
        header[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        let published = Published::read(&header).expect("zeros are numbers");
        Memory { file, thread: PathBuf::new(), published: Published { used, records_at, ..published } }
    }

    fn records(memory: &Memory) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        memory.for_each_record(|number, record| found.push((number, record.discarded))).expect("read");
        found
    }

    #[test]
    fn records_in_use_are_found_beyond_the_first_chunk() {
        let in_use = |discarded: u64| [discarded, 1 << 32 | 5, 1, 0];
        let mut words = vec![0; 4 * 5000];
        for number in [7, 2048, 4999] {
            words[4 * number..][..4].copy_from_slice(&in_use(number as u64 * 10));
        }
        let all = [(7, 70), (2048, 20_480), (4999, 49_990)];
        assert_eq!(records(&memory(file_of(&words), 5000, 0)), all);
        assert_eq!(records(&memory(file_of(&words), 4999, 0)), all[..2], "places that were never used");
    }

    #[test]
    fn a_file_that_lies_about_its_length_costs_little() {
        let words = [7, 1 << 32, 1, 0];
        assert_eq!(records(&memory(file_of(&words), u64::MAX, 0)), [(0, 7)]);
        assert_eq!(records(&memory(file_of(&words), u64::MAX, u64::MAX - 40)), []);
        assert_eq!(records(&memory(file_of(&[]), 1, 4096)), []);
    }

    #[test]
    fn another_layout_is_told_with_its_version_where_it_can_be() {
        assert_eq!(understand(&[0; READ_BYTES]), Err(None));
        assert_eq!(understand(&MAGIC.to_ne_bytes()), Err(None));
        let mut header = [0; READ_BYTES];
        header[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        assert_eq!(understand(&header), Err(Some("0.0.0".to_owned())), "records of no length");
        header[..8].copy_from_slice(b"LINGER\0\x02");
        assert_eq!(understand(&header), Err(None));
    }

    #[test]
    fn sockets_have_inodes() {
        assert_eq!(inode_of("socket:[4711]"), Some(4711));
        for other in ["pipe:[4711]", "socket:[]", "anon_inode:[eventpoll]", LINK] {
            assert_eq!(inode_of(other), None);
        }
    }
}
