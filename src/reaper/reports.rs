//! Who wants to know how a connection ended.
//!
//! **Invariant:** each entry owns one descriptor of the drain thread's table, which counts as one it has no room for.

use crate::drain::Outcome;
use crate::sys::memory::Region;
use crate::sys::{self, passing, Fd};

/// The reports that are to be made, by the connection's number in the drain thread's table.
pub(super) struct Reports {
    ids: usize,
    /// The report's number plus 1; 0 for none. Taken at the first report that is wanted.
    noted: Option<Region<u32>>,
    count: usize,
}

impl Reports {
    /// For numbers below `ids`.
    pub(super) const fn new(ids: usize) -> Reports {
        Reports { ids, noted: None, count: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The end of `fd` is to be said on `report`.
    pub(super) fn note(&mut self, fd: Fd, report: Fd) {
        if self.noted.is_none() {
            self.noted = Region::new(self.ids).ok();
        }
        match self.noted.as_mut().and_then(|noted| noted.get_mut(fd as usize)) {
            Some(place) => {
                *place = report as u32 + 1;
                self.count += 1;
            }
            // Whoever waits sees the end without an outcome.
            None => {
                let _ = sys::close(report);
            }
        }
    }

    /// `fd` ended so.
    pub(super) fn tell(&mut self, fd: Fd, outcome: Outcome) {
        let Some(place) = self.noted.as_mut().and_then(|noted| noted.get_mut(fd as usize)) else { return };
        if let Some(report) = core::mem::take(place).checked_sub(1) {
            let _ = passing::send_byte(report as Fd, outcome as u8);
            let _ = sys::close(report as Fd);
            self.count -= 1;
        }
    }
}
