//! How fast the counters grow from one look to the next.

use std::collections::HashMap;
use std::time::Duration;

use super::census::Subject;
use super::counts::Counts;

/// What was added between two looks, by process.
#[derive(Debug)]
pub struct Pace {
    /// The counters, and discarded bytes of all connections.
    grown: HashMap<i32, (Counts, u64)>,
    seconds: f64,
}

impl Pace {
    /// Of those processes that were there both times.
    pub fn between(before: &[Subject], now: &[Subject], elapsed: Duration) -> Pace {
        let earlier: HashMap<i32, &Subject> = before.iter().map(|subject| (subject.pid, subject)).collect();
        let grown = now.iter().filter_map(|subject| {
            let earlier = earlier.get(&subject.pid)?;
            let discarded = discarded(subject).saturating_sub(discarded(earlier));
            Some((subject.pid, (subject.counts.since(&earlier.counts), discarded)))
        });
        Pace { grown: grown.collect(), seconds: elapsed.as_secs_f64() }
    }

    /// What was added in this process.
    pub fn of(&self, pid: i32) -> Option<(Counts, u64)> {
        self.grown.get(&pid).copied()
    }

    /// So many between the two looks.
    pub fn per_second(&self, number: u64) -> f64 {
        if self.seconds > 0.0 {
            number as f64 / self.seconds
        } else {
            0.0
        }
    }
}

fn discarded(subject: &Subject) -> u64 {
    subject.counts.discarded_bytes.saturating_add(subject.lingering_discarded_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_counts() {
        let subject = |pid: i32, lingered: u64| {
            let counts = Counts { lingered, ..Counts::default() };
            Subject { counts, ..Subject::new(pid, "a".to_owned()) }
        };
        let (before, now) =
            ([subject(1, 10), subject(2, 10)], [subject(1, 14), subject(2, 3), subject(3, 9)]);
        let pace = Pace::between(&before, &now, Duration::from_millis(500));
        let lingered = |pid: i32| pace.of(pid).map(|(grown, _)| pace.per_second(grown.lingered));
        assert_eq!((lingered(1), lingered(2), lingered(3)), (Some(8.0), Some(0.0), None));
        assert_eq!(Pace::between(&before, &now, Duration::ZERO).per_second(5), 0.0);
    }
}
