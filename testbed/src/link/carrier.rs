//! The thread that carries packets from one end to the other and back.
//!
//! **Invariant:** packets that are neither lost nor overtaken leave in the order in which they came, whatever the
//! clock's resolution: ties are broken by their number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::conditions::{Conditions, Fate, Fates};

/// No IPv4 packet is longer.
const LONGEST_PACKET: usize = 65_535;

/// Nothing is due: the thread only has to notice packets and its end, which both wake it.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// What the thread shares with who started it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) carried: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) overtaken: AtomicU64,
    /// Carries nothing while this is set.
    pub(super) cut: AtomicBool,
}

/// A packet on its way: (when it arrives, its number, its bytes), the earliest first.
type OnTheWay = BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>;

struct Direction {
    from: File,
    to: File,
    fates: Fates,
    on_the_way: OnTheWay,
    number: u64,
}

/// Carries packets between the two devices until the other end of `stop` is closed.
pub(super) fn carry(
    ends: [File; 2],
    conditions: &Conditions,
    shared: &Arc<Shared>,
    stop: &OwnedFd,
) -> Result<()> {
    let [near, far] = ends;
    let direction = |number, from, to| Direction {
        from,
        to,
        fates: conditions.fates(number),
        on_the_way: BinaryHeap::new(),
        number: 0,
    };
    let back = direction(1, far.try_clone()?, near.try_clone()?);
    let mut directions = [direction(0, near, far), back];
    let mut room = vec![0; LONGEST_PACKET];
    loop {
        let due = directions.iter().filter_map(Direction::next_due).min();
        let wait = due.map_or(NOTHING_DUE, |due| due.saturating_duration_since(Instant::now()));
        if stopped(&directions, stop, wait)? {
            return Ok(());
        }
        for direction in &mut directions {
            direction.take_in(&mut room, shared)?;
            direction.deliver(shared);
        }
    }
}

/// Waits for packets, the end, or the time.
fn stopped(directions: &[Direction; 2], stop: &OwnedFd, wait: Duration) -> Result<bool> {
    let [there, back] = directions;
    let mut fds = [
        PollFd::new(&there.from, PollFlags::IN),
        PollFd::new(&back.from, PollFlags::IN),
        PollFd::new(stop, PollFlags::IN),
    ];
    match poll(&mut fds, Some(&Timespec::try_from(wait)?)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("poll"),
    }
    Ok(!fds[2].revents().is_empty())
}

impl Direction {
    fn next_due(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse((due, ..))| *due)
    }

    fn take_in(&mut self, room: &mut [u8], shared: &Shared) -> Result<()> {
        loop {
            let length = match self.from.read(room) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("read from the device"),
            };
            let fate = self.fates.next().unwrap_or(Fate::Lost);
            if shared.cut.load(Relaxed) {
                shared.lost.fetch_add(1, Relaxed);
                continue;
            }
            let delay = match fate {
                Fate::Lost => {
                    shared.lost.fetch_add(1, Relaxed);
                    continue;
                }
                Fate::InOrder(delay) => delay,
                Fate::Overtaken(delay) => {
                    shared.overtaken.fetch_add(1, Relaxed);
                    delay
                }
            };
            let packet = room.get(..length).unwrap_or_default().to_vec();
            self.on_the_way.push(Reverse((Instant::now() + delay, self.number, packet)));
            self.number += 1;
        }
    }

    fn deliver(&mut self, shared: &Shared) {
        let now = Instant::now();
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse((_, _, packet))) = self.on_the_way.pop() else { return };
            // What the kernel does not take is lost, as on a link whose other end has no room.
            let counter = if self.to.write(&packet).is_ok() { &shared.carried } else { &shared.lost };
            counter.fetch_add(1, Relaxed);
        }
    }
}
