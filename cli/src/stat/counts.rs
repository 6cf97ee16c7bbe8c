//! What was counted, summed over the drain threads of a process, and how fast it grows.

use linger::drain::Outcome;
use linger::publication::Published;
use serde::Serialize;

/// In the order in which they are shown.
pub const OUTCOMES: [Outcome; 7] = [
    Outcome::Fin,
    Outcome::Reset,
    Outcome::Idle,
    Outcome::Timeout,
    Outcome::Bytes,
    Outcome::Evicted,
    Outcome::Closed,
];

/// Counters of one process: they only grow, as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Connections handed to the drain threads.
    pub lingered: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Bytes of connections that have ended.
    pub discarded_bytes: u64,
    /// Should have lingered and could not.
    pub fallbacks: u64,
    /// Left to another holder.
    pub shared: u64,
}

/// One number for each outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs)]
pub struct Outcomes {
    pub fin: u64,
    pub reset: u64,
    pub idle: u64,
    pub timeout: u64,
    pub bytes: u64,
    pub evicted: u64,
    pub closed: u64,
}

impl Outcomes {
    /// The number of one of them.
    pub fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Closed => self.closed,
            Outcome::Fin => self.fin,
            Outcome::Reset => self.reset,
            Outcome::Idle => self.idle,
            Outcome::Timeout => self.timeout,
            Outcome::Bytes => self.bytes,
            Outcome::Evicted => self.evicted,
        }
    }

    /// From what `number` says of each.
    fn each(number: impl Fn(Outcome) -> u64) -> Outcomes {
        Outcomes {
            fin: number(Outcome::Fin),
            reset: number(Outcome::Reset),
            idle: number(Outcome::Idle),
            timeout: number(Outcome::Timeout),
            bytes: number(Outcome::Bytes),
            evicted: number(Outcome::Evicted),
            closed: number(Outcome::Closed),
        }
    }
}

impl Counts {
    /// What one drain thread publishes.
    pub fn of(published: &Published) -> Counts {
        let outcome = |outcome: Outcome| published.outcomes.get(outcome as usize).copied().unwrap_or(0);
        Counts {
            lingered: published.lingered,
            outcomes: Outcomes::each(outcome),
            discarded_bytes: published.discarded,
            fallbacks: published.fallbacks,
            shared: published.shared,
        }
    }

    /// Of two drain threads of a process. What they publish is theirs to make up: no sum may fail.
    pub fn plus(&self, other: &Counts) -> Counts {
        self.zip(other, u64::saturating_add)
    }

    /// What was added since `before`. Where a number went back, its process is another one now: nothing.
    pub fn since(&self, before: &Counts) -> Counts {
        self.zip(before, u64::saturating_sub)
    }

    fn zip(&self, other: &Counts, join: impl Fn(u64, u64) -> u64) -> Counts {
        Counts {
            lingered: join(self.lingered, other.lingered),
            outcomes: Outcomes::each(|outcome| join(self.outcomes.of(outcome), other.outcomes.of(outcome))),
            discarded_bytes: join(self.discarded_bytes, other.discarded_bytes),
            fallbacks: join(self.fallbacks, other.fallbacks),
            shared: join(self.shared, other.shared),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(number: u64) -> Counts {
        Counts {
            lingered: number,
            outcomes: Outcomes::each(|outcome| number + outcome as u64),
            discarded_bytes: number,
            fallbacks: number,
            shared: number,
        }
    }

    #[test]
    fn every_outcome_is_shown_once_and_has_its_own_number() {
        let counts = counts(100);
        let mut numbers: Vec<u64> = OUTCOMES.iter().map(|outcome| counts.outcomes.of(*outcome)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (100..107).collect::<Vec<_>>());
        let fields = serde_json::to_value(counts.outcomes).expect("fields");
        for outcome in OUTCOMES {
            assert_eq!(fields[outcome.name()], 100 + outcome as u64, "{}", outcome.name());
        }
    }

    #[test]
    fn sums_and_differences_never_fail() {
        assert_eq!(counts(5).plus(&counts(0)).lingered, 5);
        assert_eq!(counts(5).plus(&counts(7)).outcomes.fin, 14);
        assert_eq!(counts(u64::MAX - 6).plus(&counts(7)).shared, u64::MAX);
        assert_eq!(counts(9).since(&counts(4)).discarded_bytes, 5);
        assert_eq!(counts(4).since(&counts(9)).outcomes, Outcomes::default());
    }
}
