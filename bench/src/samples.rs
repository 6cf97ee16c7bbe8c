//! What the rounds say together: medians, spreads, and ratios taken round by round.

use serde::{Deserialize, Serialize};

/// One contender's samples, one a round, in the order of the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Who or what was measured.
    pub name: String,
    /// Of what a sample is so many.
    pub unit: String,
    /// One for each round.
    pub samples: Vec<f64>,
}

impl Series {
    /// Without samples yet.
    #[must_use]
    pub fn new(name: &str, unit: &str) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), samples: Vec::new() }
    }

    /// Of all samples.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(&self.samples)
    }

    /// Round by round, this one divided by `other`.
    #[must_use]
    pub fn over(&self, other: &Series) -> Series {
        self.combine(other, " / ", "", |a, b| a / b)
    }

    /// Round by round, this one less `other`.
    #[must_use]
    pub fn less(&self, other: &Series) -> Series {
        self.combine(other, " - ", &self.unit, |a, b| a - b)
    }

    fn combine(&self, other: &Series, sign: &str, unit: &str, of: impl Fn(f64, f64) -> f64) -> Series {
        let samples = self.samples.iter().zip(&other.samples).map(|(a, b)| of(*a, *b)).collect();
        Series { name: format!("{}{sign}{}", self.name, other.name), unit: unit.to_owned(), samples }
    }
}

/// Median, quartiles and extremes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Summary {
    pub median: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
    pub least: f64,
    pub most: f64,
}

impl Summary {
    /// NaN throughout where there is nothing to summarise.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            lower_quartile: quantile(&sorted, 0.25),
            upper_quartile: quantile(&sorted, 0.75),
            least: quantile(&sorted, 0.0),
            most: quantile(&sorted, 1.0),
        }
    }
}

/// Between the two nearest ranks, in proportion.
#[must_use]
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = part.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The smallest value that at least `percent` of all do not exceed (nearest rank); NaN of nothing.
#[must_use]
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// In which order `count` contenders take their turns in this round: each round begins with another.
pub fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, samples: &[f64]) -> Series {
        Series { samples: samples.to_vec(), ..Series::new(name, "us") }
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine was twice as slow in the second round, for both.
        let ratio = series("a", &[11.0, 24.0, 10.0]).over(&series("b", &[10.0, 20.0, 10.0]));
        assert_eq!(ratio.samples, [1.1, 1.2, 1.0]);
        assert_eq!(ratio.summary().median, 1.1);
        assert_eq!((ratio.name.as_str(), ratio.unit.as_str()), ("a / b", ""));
    }

    #[test]
    fn a_summary_is_of_the_sorted_samples() {
        let summary = Summary::of(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((summary.least, summary.lower_quartile, summary.median), (1.0, 2.0, 3.0));
        assert_eq!((summary.upper_quartile, summary.most), (4.0, 5.0));
        assert_eq!(Summary::of(&[1.0, 2.0]).median, 1.5);
        assert!(Summary::of(&[]).median.is_nan());
    }

    #[test]
    fn the_percentile_is_the_nearest_rank() {
        let mut values: Vec<f64> = (1..=200).map(f64::from).rev().collect();
        assert_eq!(percentile(&mut values, 50.0), 100.0);
        assert_eq!(percentile(&mut values, 99.0), 198.0);
        assert_eq!(percentile(&mut values, 100.0), 200.0);
        assert!(percentile(&mut [], 99.0).is_nan());
    }

    #[test]
    fn every_round_begins_with_another_contender() {
        let order = |round| turns(round, 3).collect::<Vec<_>>();
        assert_eq!([order(0), order(1), order(2)], [[0, 1, 2], [1, 2, 0], [2, 0, 1]]);
    }
}
