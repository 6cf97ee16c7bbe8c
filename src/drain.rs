//! The life of one lingering connection after its half-close: a pure state machine.
//!
//! **Promises:** no system call and no clock: time and the length of the send queue come in as arguments,
//! what to do next goes out. 32 bytes a connection.
//!
//! **Invariants:** once [`Step::Finish`] is returned the connection is closed and not asked again; a deadline
//! given by a caller is never extended; no sum of times overflows.
//!
//! Deliberately absent: the peer's FIN and RST, which need no state: whoever sees them finishes.

/// How lingering ended. The numbers are those of the C interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Outcome {
    /// There was nothing to linger for: closed as close(2) does.
    Closed = 0,
    /// The peer's FIN.
    Fin = 1,
    /// The peer's RST, or another error of the connection.
    Reset = 2,
    /// Everything acknowledged, and nothing received for the idle time.
    Idle = 3,
    /// The deadline.
    Timeout = 4,
    /// The limit on discarded bytes.
    Bytes = 5,
    /// Too many connections lingered.
    Evicted = 6,
}

impl Outcome {
    /// The one with that number.
    pub fn from_number(number: u8) -> Option<Outcome> {
        use Outcome::*;
        [Closed, Fin, Reset, Idle, Timeout, Bytes, Evicted].get(number as usize).copied()
    }

    /// Its name in messages and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Closed => "closed",
            Outcome::Fin => "fin",
            Outcome::Reset => "reset",
            Outcome::Idle => "idle",
            Outcome::Timeout => "timeout",
            Outcome::Bytes => "bytes",
            Outcome::Evicted => "evicted",
        }
    }
}

/// What bounds lingering; times in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Quiet for so long, with everything acknowledged: done.
    pub idle_ms: u32,
    /// The deadline where the caller gave none.
    pub timeout_ms: u32,
    /// How far that deadline moves while the peer is still taking the response.
    pub max_ms: u32,
    /// Bytes to discard at most; 0: no limit.
    pub max_bytes: u64,
    /// Bytes to discard in a second at most, on the average of the connection's life; 0: no limit.
    pub max_rate: u64,
}

/// The deadline a caller asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// The configured one, which is extended while the response is being taken.
    Default,
    /// Exactly so many milliseconds from now.
    Exactly(u32),
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Close it now.
    Finish(Outcome),
    /// Look again at this time (milliseconds of the caller's clock).
    Wait(u64),
}

/// One lingering connection. All times are milliseconds since it was half-closed. The layout is published
/// ([`crate::publication`]).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Drain {
    discarded: u64,
    /// The low half of the clock then. Ages are differences modulo 2^32: good for 49 days, and no deadline is longer than
    /// 25.
    started: u32,
    deadline: u32,
    /// Where extensions end; equal to `deadline` when there are none.
    cap: u32,
    last_received: u32,
    /// When the send queue was last seen to shrink.
    last_taken: u32,
    /// The shortest send queue seen.
    unacknowledged: u32,
}

/// How often the send queue is looked at while something is unacknowledged: soon at first, for a FIN is
/// acknowledged within a delayed ACK (44-48 ms on loopback), then ever more rarely.
const PROBE_MS: (u32, u32) = (50, 1000);

impl Drain {
    /// No connection: what is published of a place that is not in use.
    pub const VACANT: Drain = Drain {
        discarded: 0,
        started: 0,
        deadline: 0,
        cap: 0,
        last_received: 0,
        last_taken: 0,
        unacknowledged: 0,
    };

    /// A connection whose FIN was sent at `now_ms` with `unacknowledged` bytes (the FIN is one) on their way.
    pub fn new(now_ms: u64, deadline: Deadline, unacknowledged: u32, limits: &Limits) -> Drain {
        let (deadline, cap) = match deadline {
            Deadline::Default => (limits.timeout_ms, limits.max_ms.max(limits.timeout_ms)),
            Deadline::Exactly(ms) => (ms, ms),
        };
        Drain {
            discarded: 0,
            started: now_ms as u32,
            deadline,
            cap,
            last_received: 0,
            last_taken: 0,
            unacknowledged,
        }
    }

    /// Milliseconds since the half-close.
    pub fn age(&self, now_ms: u64) -> u32 {
        (now_ms as u32).wrapping_sub(self.started)
    }

    /// Bytes discarded so far.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Milliseconds since the peer last did anything that was noticed.
    pub fn quiet_ms(&self, now_ms: u64) -> u32 {
        self.age(now_ms).saturating_sub(self.last_received.max(self.last_taken))
    }

    /// Whether everything was acknowledged when last looked.
    pub fn acknowledged(&self) -> bool {
        self.unacknowledged == 0
    }

    /// How many bytes may be discarded now, at least one, or when to go on (milliseconds of the caller's clock). Whoever reads
    /// no faster lets the peer's window close.
    pub fn allowance(&self, now_ms: u64, limits: &Limits) -> Result<u64, u64> {
        if limits.max_rate == 0 {
            return Ok(u64::MAX);
        }
        let rate = u128::from(limits.max_rate);
        let age = u128::from(self.age(now_ms));
        // From the start a second's worth, so that an ordinary rest is read at once.
        let earned = rate * (age + 1000) / 1000;
        let left = earned.saturating_sub(self.discarded.into());
        if left > 0 {
            return Ok(u64::try_from(left).unwrap_or(u64::MAX));
        }
        // A twentieth of a second's worth at a time, and a byte at least.
        let next = u128::from(self.discarded) + (rate / 20).max(1);
        let at_age = (next * 1000).div_ceil(rate).saturating_sub(1000);
        let wait = u64::try_from(at_age.saturating_sub(age)).unwrap_or(u64::MAX).max(1);
        Err(now_ms.saturating_add(wait))
    }

    /// Reading waits for the rate: the peer is not idle.
    pub fn paused(&mut self, now_ms: u64) {
        self.last_received = self.age(now_ms);
    }

    /// `bytes` were received and discarded. Some outcome when that was enough.
    pub fn received(&mut self, now_ms: u64, bytes: u64, limits: &Limits) -> Option<Outcome> {
        self.last_received = self.age(now_ms);
        self.discarded = self.discarded.saturating_add(bytes);
        (limits.max_bytes > 0 && self.discarded >= limits.max_bytes).then_some(Outcome::Bytes)
    }

    /// Time has passed and `unacknowledged` bytes are still on their way.
    pub fn look(&mut self, now_ms: u64, unacknowledged: u32, limits: &Limits) -> Step {
        let age = self.age(now_ms);
        if unacknowledged < self.unacknowledged {
            self.last_taken = age;
        }
        self.unacknowledged = self.unacknowledged.min(unacknowledged);
        let probe = age.clamp(PROBE_MS.0, PROBE_MS.1).min(limits.idle_ms / 2).max(1);
        let mut next = age.saturating_add(probe);
        if unacknowledged == 0 {
            let quiet_since = self.last_received.max(self.last_taken);
            let idle_at = quiet_since.saturating_add(limits.idle_ms);
            if age >= idle_at {
                return Step::Finish(Outcome::Idle);
            }
            next = idle_at;
        }
        if age >= self.deadline {
            let taken_until = self.last_taken.saturating_add(limits.idle_ms);
            let taking = unacknowledged > 0 && self.last_taken > 0 && age < taken_until;
            if age >= self.cap || !taking {
                return Step::Finish(Outcome::Timeout);
            }
            next = next.min(self.cap).min(taken_until);
        } else {
            next = next.min(self.deadline);
        }
        Step::Wait(now_ms.saturating_add(u64::from(next - age)))
    }
}

/// What a [`Drain`] says to whoever reads it from the published memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Record {
    pub discarded: u64,
    /// The low half of the monotonic clock, in milliseconds, when it was half-closed.
    pub started: u32,
    pub deadline_ms: u32,
    /// Bytes that were not acknowledged when last looked; a FIN counts as one.
    pub unacknowledged: u32,
}

impl Record {
    /// From the bytes of a [`Drain`]; `None` where the place is not in use.
    pub fn read(bytes: &[u8]) -> Option<Record> {
        let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let discarded = core::mem::offset_of!(Drain, discarded);
        if number(core::mem::offset_of!(Drain, cap))? == 0 {
            return None;
        }
        Some(Record {
            discarded: bytes.get(discarded..discarded + 8)?.try_into().ok().map(u64::from_ne_bytes)?,
            started: number(core::mem::offset_of!(Drain, started))?,
            deadline_ms: number(core::mem::offset_of!(Drain, deadline))?,
            unacknowledged: number(core::mem::offset_of!(Drain, unacknowledged))?,
        })
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
