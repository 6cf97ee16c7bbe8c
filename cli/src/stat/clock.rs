//! How long ago something was, by the clock of another process.

use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

use super::process::Process;

/// The monotonic clock of a process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// How far it is ahead of ours.
    ahead_ms: i64,
}

impl Clock {
    /// Of this process.
    pub fn of(process: Process) -> Clock {
        let this = Process { pid: std::process::id() as i32 };
        Clock { ahead_ms: process.clock_offset_ms().saturating_sub(this.clock_offset_ms()) }
    }

    /// How long ago it was, by the low half of the clock in milliseconds then.
    pub fn age(self, started: u32) -> Duration {
        let now = clock_gettime(ClockId::Monotonic);
        age(
            now.tv_sec.wrapping_mul(1000).wrapping_add(now.tv_nsec / 1_000_000).wrapping_add(self.ahead_ms),
            started,
        )
    }
}

fn age(now_ms: i64, started: u32) -> Duration {
    let age = (now_ms as u32).wrapping_sub(started);
    // Offsets are not read at the moment of the clock.
    let future = age > u32::MAX - 1000;
    Duration::from_millis(if future { 0 } else { age.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_survive_the_turn_of_the_low_half() {
        let turn = 1 << 32;
        for (now_ms, started, age_ms) in [
            (5000, 3000, 2000),
            (turn + 500, u32::MAX - 499, 1000),
            (7 * turn + 10, 10, 0),
            (3000, 3001, 0),
            (40 * 86_400_000, 0, 40 * 86_400_000),
        ] {
            assert_eq!(age(now_ms, started), Duration::from_millis(age_ms), "{now_ms} {started}");
        }
    }
}
