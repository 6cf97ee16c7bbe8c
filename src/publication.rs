//! What a drain thread lets others see: the counters of its process, and a record of each connection that lingers.
//!
//! It is an unnamed file of memory (memfd_create(2)) in the thread's private descriptor table. Whoever may look into the
//! process (ptrace(2), PTRACE_MODE_READ) opens it through `/proc/PID/task/TID/fd`; nobody else can, there is no name to
//! guess, nothing to clean up, and it goes with the thread. The counters and records are in it from the start, so that
//! publishing costs nothing.
//!
//! **Promises:** nobody but this process can write to it or change its length (F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK).
//! Where it cannot be had, the same memory is private, and nothing is published.
//!
//! **Invariants:** numbers are in the machine's byte order. A reader sees each number whole, but not all of one moment. A
//! record whose `cap` is 0 is not in use.

use crate::drain::Drain;
use crate::stats::Counters;
use crate::sys::memory::{Mapping, Region};
use crate::sys::{self, Fd};
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};

/// The name of the file, as `/proc/PID/task/TID/fd` shows it.
pub const LINK: &str = "/memfd:linger (deleted)";
const NAME: &core::ffi::CStr = c"linger";
/// The first eight bytes.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"LINGER\0\x01");

/// The beginning of the file; the records follow at `records_at`.
#[repr(C)]
pub struct Header {
    magic: AtomicU64,
    /// Where the records begin, in bytes, how many places there are, and how long each is.
    records_at: AtomicU64,
    places: AtomicU64,
    record_bytes: AtomicU64,
    pid: AtomicU64,
    /// Which of the process's drain threads this is. The first one has the counters.
    index: AtomicU64,
    /// The monotonic clock when the thread began, milliseconds.
    started_ms: AtomicU64,
    /// How many connections linger here.
    lingering: AtomicU64,
    /// Places at or above this one were never used.
    used: AtomicU64,
    /// The library's version: three numbers of 16 bits.
    version: AtomicU64,
    counters: Counters,
}

/// Room for the header, so that records begin on a page.
const HEADER_BYTES: usize = 4096;

/// The memory of one drain thread.
pub struct Publication {
    header: Option<Mapping>,
    /// The records, by number in the thread's table.
    pub records: Region<Drain>,
    used: u64,
    /// Somebody has the address of the counters.
    counted: bool,
}

impl Publication {
    /// Places for `ids` records.
    pub fn new(index: u32, ids: usize, now_ms: u64) -> sys::Result<Publication> {
        match Publication::shared(index, ids, now_ms) {
            Ok(published) => Ok(published),
            Err(_) => Ok(Publication { header: None, records: Region::new(ids)?, used: 0, counted: false }),
        }
    }

    fn shared(index: u32, ids: usize, now_ms: u64) -> sys::Result<Publication> {
        let fd = sys::memory::sealed_file(NAME, HEADER_BYTES + ids * size_of::<Drain>())?;
        let mapped = Mapping::of_file(fd, 0, HEADER_BYTES)
            .and_then(|header| Ok((header, Region::of_file(fd, HEADER_BYTES, ids)?)))
            .and_then(|mapped| sys::memory::seal_writing(fd).map(|()| mapped));
        let (mapping, records) = mapped.inspect_err(|_| {
            let _ = sys::close(fd);
        })?;
        let header = header(&mapping);
        let version = |part: &str| part.parse::<u64>().unwrap_or(0);
        let settings = [
            (&header.records_at, HEADER_BYTES as u64),
            (&header.places, ids as u64),
            (&header.record_bytes, size_of::<Drain>() as u64),
            (&header.pid, sys::process::pid() as u64),
            (&header.index, index.into()),
            (&header.started_ms, now_ms),
            (
                &header.version,
                version(env!("CARGO_PKG_VERSION_MAJOR")) << 32
                    | version(env!("CARGO_PKG_VERSION_MINOR")) << 16
                    | version(env!("CARGO_PKG_VERSION_PATCH")),
            ),
        ];
        for (place, value) in settings {
            place.store(value, Ordering::Relaxed);
        }
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Publication { header: Some(mapping), records, used: 0, counted: false })
    }

    /// The counters in it, which outlive the thread: the mapping is never undone.
    pub fn counters(&mut self) -> Option<&'static Counters> {
        let mapping = self.header.as_ref()?;
        self.counted = true;
        // SAFETY: the mapping stays for the life of the process (see `Drop`), and holds a `Header`, zeros at first.
        Some(unsafe { &(*mapping.start().cast::<Header>()).counters })
    }

    /// How many linger now.
    pub fn lingering(&self, count: usize) {
        if let Some(mapping) = &self.header {
            header(mapping).lingering.store(count as u64, Ordering::Relaxed);
        }
    }

    /// The place `fd` is about to be used.
    pub fn use_place(&mut self, fd: Fd) {
        let after = fd as u64 + 1;
        if after > self.used {
            self.used = after;
            if let Some(mapping) = &self.header {
                header(mapping).used.store(after, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        // A thread that counts right now still has the address.
        if let Some(mapping) = self.header.take().filter(|_| self.counted) {
            mapping.keep();
        }
    }
}

fn header(mapping: &Mapping) -> &Header {
    // SAFETY: the mapping has room for a header, is aligned to a page and holds zeros or what was stored since.
    unsafe { &*mapping.start().cast::<Header>() }
}

/// A published file as somebody else reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The process.
    pub pid: u64,
    /// Which of its drain threads.
    pub index: u64,
    /// The monotonic clock when the thread began, milliseconds.
    pub started_ms: u64,
    /// Connections that linger in this thread.
    pub lingering: u64,
    /// Records that were ever used.
    pub used: u64,
    /// Where the records begin.
    pub records_at: u64,
    /// The length of a record.
    pub record_bytes: u64,
    /// The library's version: major, minor, patch.
    pub version: [u16; 3],
    /// Connections handed to the drain threads, those left to another holder, those that should have lingered and could not,
    /// and bytes discarded.
    pub lingered: u64,
    /// See `lingered`.
    pub shared: u64,
    /// See `lingered`.
    pub fallbacks: u64,
    /// See `lingered`.
    pub discarded: u64,
    /// By [`crate::drain::Outcome`].
    pub outcomes: [u64; 7],
}

/// How much of the file [`Published::read`] wants.
pub const READ_BYTES: usize = size_of::<Header>();

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

impl Published {
    /// From the first [`READ_BYTES`] of the file; `None` where it is not one, or of another layout.
    pub fn read(bytes: &[u8]) -> Option<Published> {
        let counter = |at: usize| number(bytes, offset_of!(Header, counters) + at);
        if number(bytes, offset_of!(Header, magic)) != Some(MAGIC) {
            return None;
        }
        let version = number(bytes, offset_of!(Header, version))?;
        let mut outcomes = [0; 7];
        for (i, outcome) in outcomes.iter_mut().enumerate() {
            *outcome = counter(offset_of!(Counters, outcomes) + 8 * i)?;
        }
        Some(Published {
            pid: number(bytes, offset_of!(Header, pid))?,
            index: number(bytes, offset_of!(Header, index))?,
            started_ms: number(bytes, offset_of!(Header, started_ms))?,
            lingering: number(bytes, offset_of!(Header, lingering))?,
            used: number(bytes, offset_of!(Header, used))?.min(number(bytes, offset_of!(Header, places))?),
            records_at: number(bytes, offset_of!(Header, records_at))?,
            record_bytes: number(bytes, offset_of!(Header, record_bytes))?,
            version: [(version >> 32) as u16, (version >> 16) as u16, version as u16],
            lingered: counter(offset_of!(Counters, lingered))?,
            shared: counter(offset_of!(Counters, shared))?,
            fallbacks: counter(offset_of!(Counters, fallbacks))?,
            discarded: counter(offset_of!(Counters, discarded))?,
            outcomes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::{Deadline, Limits, Outcome, Record};
    use std::os::fd::AsRawFd;

    #[test]
    fn what_is_counted_and_recorded_can_be_read_by_others_but_not_written() {
        let mut publication = Publication::new(0, 1000, 77).unwrap();
        let link =
            |fd: &std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|l| l.to_str() == Some(LINK));
        let file = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok).find(link).unwrap();
        let counters = publication.counters().unwrap();
        counters.outcomes[Outcome::Fin as usize].fetch_add(3, Ordering::Relaxed);
        counters.discarded.fetch_add(5000, Ordering::Relaxed);
        publication.use_place(41);
        publication.lingering(1);
        let limits = Limits { idle_ms: 5000, timeout_ms: 30_000, max_ms: 120_000, max_bytes: 0, max_rate: 0 };
        publication.records[41] = Drain::new(1234, Deadline::Default, 99, &limits);

        let bytes = std::fs::read(file.path()).unwrap();
        let published = Published::read(&bytes[..READ_BYTES]).unwrap();
        assert_eq!((published.outcomes[1], published.discarded, published.started_ms), (3, 5000, 77));
        assert_eq!((published.lingering, published.used, published.pid), (1, 42, std::process::id().into()));
        let at = published.records_at as usize + 41 * published.record_bytes as usize;
        let record = Record::read(&bytes[at..]).unwrap();
        assert_eq!((record.started, record.deadline_ms, record.unacknowledged), (1234, 30_000, 99));
        assert_eq!(Record::read(&bytes[at + published.record_bytes as usize..]), None, "a place not in use");

        let writer = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        assert!(std::io::Write::write(&mut &writer, b"x").is_err(), "sealed against writing");
        assert!(writer.set_len(0).is_err(), "sealed against shrinking");
        // SAFETY: a mapping nobody uses.
        let mapped = unsafe {
            libc::mmap(core::ptr::null_mut(), 4096, libc::PROT_WRITE, libc::MAP_SHARED, writer.as_raw_fd(), 0)
        };
        assert_eq!(mapped, libc::MAP_FAILED);
        let mode = std::os::unix::fs::MetadataExt::mode(&writer.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn anything_else_is_not_read() {
        assert_eq!(Published::read(&[0; 4096]), None);
        assert_eq!(Published::read(&[]), None);
        assert_eq!(Published::read(&MAGIC.to_ne_bytes()), None);
    }
}
