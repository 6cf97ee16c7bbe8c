//! The attacks, and the settings they meet: a line each.

use std::time::Duration;

use linger_testbed::siege::{Attack, Force, Siege};

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) force: Option<Force>,
    pub(crate) with_shim: bool,
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

/// 3,000 new ones a second: in the five seconds that a silent peer is waited for, more than `LINGER_MAX`.
const SILENT: Option<Force> = Some(Force { attack: Attack::Silence, processes: 2, peers: 1500 });
const TRICKLE: Option<Force> = Some(Force { attack: Attack::Trickle, processes: 2, peers: 2000 });
const LINE_RATE: Option<Force> = Some(Force { attack: Attack::LineRate, processes: 2, peers: 2 });

const fn without(name: &'static str, force: Option<Force>) -> Case {
    Case { name, force, with_shim: false, settings: &[] }
}

const fn with(
    name: &'static str,
    force: Option<Force>,
    settings: &'static [(&'static str, &'static str)],
) -> Case {
    Case { name, force, with_shim: true, settings }
}

pub(crate) const CASES: [Case; 11] = [
    without("none", None),
    with("none", None, &[]),
    without("3,000 silent a second", SILENT),
    with("3,000 silent a second", SILENT, &[]),
    with("3,000 silent a second", SILENT, &[("LINGER_MAX", "1000")]),
    without("4,000 trickles", TRICKLE),
    with("4,000 trickles", TRICKLE, &[]),
    with("4,000 trickles", TRICKLE, &[("LINGER_MAX", "1000")]),
    without("4 at line rate", LINE_RATE),
    with("4 at line rate", LINE_RATE, &[]),
    with("4 at line rate", LINE_RATE, &[("LINGER_MAX_BYTES", "1048576")]),
];

pub(crate) const HEADER: &str = "\
| attack | liblinger | served | failed | p50 ms | p99 ms | lingering | memory, MB | processor | resets |
|---|---|---|---|---|---|---|---|---|---|";

impl Case {
    /// How long an attack takes until it is all there: silent peers linger for five seconds.
    pub(crate) fn approach(&self, duration: Duration) -> Duration {
        if self.force.is_some() {
            duration.min(Duration::from_secs(6))
        } else {
            Duration::ZERO
        }
    }

    pub(crate) fn row(&self, siege: &Siege) -> String {
        let settings = match (self.with_shim, self.settings) {
            (false, _) => "without".to_owned(),
            (true, []) => "defaults".to_owned(),
            (true, settings) => {
                settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
        };
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (before, most) = siege.resident_bytes;
        format!(
            "| {} | {settings} | {} | {} | {:.2} | {:.2} | {} | {:.1} → {:.1} | {:.0} % | {} |",
            self.name,
            siege.service.served(),
            siege.service.failures,
            siege.service.percentile_ms(50),
            siege.service.percentile_ms(99),
            siege.most_lingering,
            megabytes(before),
            megabytes(most),
            siege.processor_percent,
            siege.resets,
        )
    }
}
