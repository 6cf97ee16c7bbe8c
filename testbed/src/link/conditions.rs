//! Pure: what becomes of each packet, from a seed. No clock and no packet in here.

use std::time::Duration;

use anyhow::{ensure, Result};

/// How much later than its time a packet that is overtaken arrives, as a share of the delay, and at least.
const HELD_BACK_SHARE: u32 = 2;
const HELD_BACK_AT_LEAST: Duration = Duration::from_millis(2);

/// The longest delay: half of the way around the world through a satellite.
pub const LONGEST_DELAY: Duration = Duration::from_millis(200);

/// What the link does to what it carries, in either direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// From one end to the other; the round trip is twice that.
    pub delay: Duration,
    /// Percent of the packets that never arrive, 5 at most.
    pub loss_percent: f64,
    /// Percent of the packets that are overtaken by those behind them.
    pub reorder_percent: f64,
    /// The same seed loses and delays the same packets of the same sequence.
    pub seed: u64,
}

/// What becomes of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives after this time.
    InOrder(Duration),
    /// It arrives after this time, which is longer than that of the others.
    Overtaken(Duration),
}

/// The fates of the packets of one direction, one after the other.
#[derive(Debug)]
pub struct Fates {
    conditions: Conditions,
    random: fastrand::Rng,
}

impl Conditions {
    /// A link that only takes its time.
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        Self { delay, loss_percent: 0.0, reorder_percent: 0.0, seed: 1 }
    }

    /// Whether a link can be like this.
    ///
    /// # Errors
    ///
    /// If the delay is not 0 to 200 ms, the loss not 0 to 5 percent, or the reordering not 0 to 100 percent.
    pub fn check(&self) -> Result<()> {
        let Self { delay, loss_percent, reorder_percent, .. } = self;
        ensure!(*delay <= LONGEST_DELAY, "a delay of {delay:?} is more than {LONGEST_DELAY:?}");
        ensure!((0.0..=5.0).contains(loss_percent), "a loss of {loss_percent} percent is not 0 to 5");
        let reordered = (0.0..=100.0).contains(reorder_percent);
        ensure!(reordered, "reordering {reorder_percent} percent is not 0 to 100");
        Ok(())
    }

    /// The fates of one direction; `direction` tells the two apart, which share a seed.
    #[must_use]
    pub fn fates(&self, direction: u64) -> Fates {
        let seed = self.seed.wrapping_mul(2).wrapping_add(direction);
        Fates { conditions: *self, random: fastrand::Rng::with_seed(seed) }
    }
}

impl Iterator for Fates {
    type Item = Fate;

    fn next(&mut self) -> Option<Fate> {
        let Conditions { delay, loss_percent, reorder_percent, .. } = self.conditions;
        // Both are drawn for every packet, so that a change of one setting leaves the other's packets the same.
        let (loss, order) = (100.0 * self.random.f64(), 100.0 * self.random.f64());
        Some(if loss < loss_percent {
            Fate::Lost
        } else if order < reorder_percent {
            Fate::Overtaken(delay + (delay / HELD_BACK_SHARE).max(HELD_BACK_AT_LEAST))
        } else {
            Fate::InOrder(delay)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUGH: Conditions =
        Conditions { delay: Duration::from_millis(20), loss_percent: 5.0, reorder_percent: 10.0, seed: 7 };

    #[test]
    fn the_same_seed_gives_the_same_fates_and_another_others() {
        let fates = |conditions: Conditions| conditions.fates(0).take(1000).collect::<Vec<_>>();
        assert_eq!(fates(ROUGH), fates(ROUGH));
        assert_ne!(fates(ROUGH), fates(Conditions { seed: 8, ..ROUGH }));
        assert_ne!(fates(ROUGH), ROUGH.fates(1).take(1000).collect::<Vec<_>>(), "the directions differ");
    }

    #[test]
    fn as_many_are_lost_and_overtaken_as_was_asked_for() {
        let of = |wanted: fn(&Fate) -> bool| ROUGH.fates(0).take(100_000).filter(wanted).count();
        let lost = of(|fate| *fate == Fate::Lost);
        let overtaken = of(|fate| matches!(fate, Fate::Overtaken(_)));
        assert!((4_500..5_500).contains(&lost), "{lost}");
        assert!((9_000..10_000).contains(&overtaken), "{overtaken} of those that were not lost");
    }

    #[test]
    fn a_smooth_link_loses_nothing_and_keeps_the_order() {
        let delay = Duration::from_millis(1);
        let all = Conditions::after(delay).fates(0).take(1000).all(|fate| fate == Fate::InOrder(delay));
        assert!(all);
    }

    #[test]
    fn what_no_link_does_is_refused() {
        ROUGH.check().expect("that is allowed");
        for wrong in [
            Conditions { delay: Duration::from_millis(201), ..ROUGH },
            Conditions { loss_percent: 5.1, ..ROUGH },
            Conditions { reorder_percent: f64::NAN, ..ROUGH },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
