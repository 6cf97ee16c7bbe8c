//! What a library built with `--cfg linger_faults` called and was refused: the file that `LINGER_FAULTS_LOG` names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// The layout of `src/sys/faults/record.rs`.
const WORDS: usize = CALLS_AT + 2 * 512;
const PARTS_AT: usize = 8;
const REFUSALS: usize = 63;
const REFUSALS_AT: usize = 64;
const REFUSALS_KEPT: usize = 2048;
const CALLS_AT: usize = REFUSALS_AT + REFUSALS_KEPT;

/// Deleted on drop.
#[derive(Debug)]
pub struct Log {
    file: NamedTempFile,
}

/// How often something was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// The number of the system call.
    pub number: usize,
    /// Outside of the drain threads.
    pub by_callers: u64,
    /// In them.
    pub by_threads: u64,
}

impl Log {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// If there is no temporary directory.
    pub fn new() -> Result<Self> {
        let file = tempfile::Builder::new().prefix("linger-faults-").tempfile().context("temporary file")?;
        file.as_file().set_len((WORDS * 8) as u64)?;
        Ok(Self { file })
    }

    /// Its name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(self.file.path()).to_owned()
    }

    fn words(&self) -> Vec<u64> {
        let bytes = fs::read(self.file.path()).unwrap_or_default();
        let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
        words.map(u64::from_ne_bytes).collect()
    }

    /// Every call that was made, or would have been.
    #[must_use]
    pub fn calls(&self) -> Vec<Calls> {
        let words = self.words();
        let counts = words.get(CALLS_AT..).unwrap_or_default().chunks_exact(2).enumerate();
        counts
            .map(|(number, counts)| Calls { number, by_callers: counts[0], by_threads: counts[1] })
            .filter(|calls| calls.by_callers + calls.by_threads > 0)
            .collect()
    }

    /// How many calls this part of `LINGER_FAULTS` concerned, and how many it refused.
    #[must_use]
    pub fn part(&self, index: usize) -> (u64, u64) {
        let words = self.words();
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        (word(PARTS_AT + 2 * index), word(PARTS_AT + 2 * index + 1))
    }

    /// How many calls were refused, whatever the reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.words().get(REFUSALS).copied().unwrap_or(0)
    }

    /// The last refusals, oldest first: call number, errno, whether in a drain thread.
    #[must_use]
    pub fn refusals(&self) -> Vec<(i64, i32, bool)> {
        let words = self.words();
        let count = words.get(REFUSALS).copied().unwrap_or(0) as usize;
        let places = (count.saturating_sub(REFUSALS_KEPT)..count).map(|n| REFUSALS_AT + n % REFUSALS_KEPT);
        let entries = places.filter_map(|place| words.get(place));
        entries.map(|word| ((word >> 32) as i64 - 1, (word & 0xffff) as i32, word >> 16 & 1 == 1)).collect()
    }
}
