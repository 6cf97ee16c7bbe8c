//! What has been measured, for people and for programs.

use std::fmt;

use linger_testbed::closer::Timing;
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) silent: usize,
    pub(crate) rows: Vec<Row>,
}

/// One way to let go.
#[derive(Serialize)]
pub(crate) struct Row {
    way: &'static str,
    calls: usize,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    caller_processor_us_per_call: f64,
    other_processor_us_per_call: f64,
    lingering: usize,
    not_lingered: u64,
}

impl Row {
    pub(crate) fn new(
        way: &'static str,
        timing: Timing,
        processor_ns: u64,
        lingering: usize,
        not_lingered: u64,
    ) -> Self {
        let mut sorted = timing.calls_ns;
        sorted.sort_unstable();
        let calls = sorted.len();
        let per_call = |ns: u64| ns as f64 / calls.max(1) as f64 / 1000.0;
        Self {
            way,
            calls,
            p50_us: percentile(&sorted, 50),
            p99_us: percentile(&sorted, 99),
            max_us: percentile(&sorted, 100),
            caller_processor_us_per_call: per_call(timing.caller_processor_ns),
            other_processor_us_per_call: per_call(processor_ns.saturating_sub(timing.caller_processor_ns)),
            lingering,
            not_lingered,
        }
    }
}

/// Nearest rank, in microseconds.
fn percentile(sorted_ns: &[u64], percent: usize) -> f64 {
    let rank = (sorted_ns.len() * percent).div_ceil(100).saturating_sub(1);
    sorted_ns.get(rank).map_or(0.0, |ns| *ns as f64 / 1000.0)
}

/// For people.
pub(crate) struct Table<'a>(pub(crate) &'a [Row]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<14}{:>44}{:>24}", "", "microseconds", "processor, us per call")?;
        writeln!(
            f,
            "{:<14}{:>8}{:>12}{:>12}{:>12}{:>10}{:>14}{:>12}{:>14}",
            "", "calls", "p50", "p99", "max", "caller", "drain thread", "lingering", "not lingered"
        )?;
        for row in self.0 {
            writeln!(
                f,
                "{:<14}{:>8}{:>12.1}{:>12.1}{:>12.1}{:>10.1}{:>14.1}{:>12}{:>14}",
                row.way,
                row.calls,
                row.p50_us,
                row.p99_us,
                row.max_us,
                row.caller_processor_us_per_call,
                row.other_processor_us_per_call,
                row.lingering,
                row.not_lingered
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_the_nearest_rank() {
        let sorted: Vec<u64> = (1..=200).map(|n| n * 1000).collect();
        assert_eq!(percentile(&sorted, 50), 100.0);
        assert_eq!(percentile(&sorted, 99), 198.0);
        assert_eq!(percentile(&sorted, 100), 200.0);
        assert_eq!(percentile(&[], 99), 0.0);
    }
}
