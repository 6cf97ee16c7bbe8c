//! The attacks, the settings they meet, and what must hold: a line each.

use std::time::Duration;

use linger_testbed::server::Preload;
use linger_testbed::siege::{promised, Attack, Force, Homes, Limit};

/// `LINGER_*` variables.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) force: Option<Force>,
    pub(crate) with_shim: bool,
    pub(crate) settings: Settings,
    /// What must hold besides what the settings promise under any attack.
    also: &'static [Limit],
}

/// 3,000 new ones a second: in the five seconds that a silent peer is waited for, more than `LINGER_MAX`.
const SILENT: Option<Force> = force(Attack::Silence, 2, 1500);
const TRICKLE: Option<Force> = force(Attack::Trickle, 2, 2000);
const LINE_RATE: Option<Force> = force(Attack::LineRate, 2, 2);
/// In as few processes as can have so many descriptors.
const CROWD: Option<Force> = force(Attack::Crowd, 8, 12_500);
/// In one process, for each process has addresses of its own.
const ONE_ADDRESS: Option<Force> =
    Some(Force { attack: Attack::Silence, processes: 1, peers: 3000, homes: Homes::One });

const fn force(attack: Attack, processes: u8, peers: u32) -> Option<Force> {
    Some(Force { attack, processes, peers, homes: Homes::Own })
}

/// Silent peers linger until they go.
const ALL_LINGER: Settings =
    &[("LINGER_MAX", "110000"), ("LINGER_IDLE_MS", "600000"), ("LINGER_TIMEOUT_MS", "600000")];
const PATIENT: Settings = &[("LINGER_IDLE_MS", "600000"), ("LINGER_TIMEOUT_MS", "600000")];

const fn without(name: &'static str, force: Option<Force>) -> Case {
    Case { name, force, with_shim: false, settings: &[], also: &[] }
}

const fn with(name: &'static str, force: Option<Force>, settings: Settings, also: &'static [Limit]) -> Case {
    Case { name, force, with_shim: true, settings, also }
}

/// Where the attackers do not take all places, or not at the cost of others.
const KEPT: Limit = Limit::NeighboursKept;

pub(crate) const CASES: [Case; 18] = [
    without("none", None),
    with("none", None, &[], &[KEPT]),
    without("3,000 silent a second", SILENT),
    with("3,000 silent a second", SILENT, &[], &[]),
    with("3,000 silent a second", SILENT, &[("LINGER_MAX", "1000")], &[Limit::AtLeast(1000)]),
    without("4,000 trickles", TRICKLE),
    with("4,000 trickles", TRICKLE, &[], &[Limit::AtLeast(4000), KEPT]),
    with("4,000 trickles", TRICKLE, &[("LINGER_MAX", "1000")], &[Limit::AtLeast(1000)]),
    without("4 at line rate", LINE_RATE),
    with("4 at line rate", LINE_RATE, &[], &[KEPT]),
    with("4 at line rate", LINE_RATE, &[("LINGER_MAX_BYTES", "1048576")], &[KEPT]),
    with("4 at line rate", LINE_RATE, &[("LINGER_MAX_RATE", "1048576")], &[KEPT]),
    without("one address, 3,000 a second", ONE_ADDRESS),
    with("one address, 3,000 a second", ONE_ADDRESS, &[("LINGER_MAX", "1000")], &[Limit::AtLeast(1000)]),
    with(
        "one address, 3,000 a second",
        ONE_ADDRESS,
        &[("LINGER_MAX", "1000"), ("LINGER_MAX_PER_PEER", "100")],
        &[KEPT],
    ),
    without("100,000 silent at once", CROWD),
    with("100,000 silent at once", CROWD, PATIENT, &[Limit::AtLeast(10_000), KEPT]),
    with("100,000 silent at once", CROWD, ALL_LINGER, &[Limit::AtLeast(100_000), KEPT]),
];

impl Case {
    /// What is in the second column.
    pub(crate) fn liblinger(&self) -> String {
        match (self.with_shim, self.settings) {
            (false, _) => "without".to_owned(),
            (true, []) => "defaults".to_owned(),
            (true, settings) => {
                settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// Attack and settings, by which a row is chosen.
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.name, self.liblinger())
    }

    /// What must hold.
    pub(crate) fn limits(&self, preload: &Preload) -> Vec<Limit> {
        let mut limits = promised(preload, self.settings);
        limits.extend(self.also);
        limits
    }

    fn is(&self, attack: Attack) -> bool {
        self.force.is_some_and(|force| force.attack == attack)
    }

    /// How long an attack takes until it is all there: silent peers linger for five seconds.
    pub(crate) fn approach(&self) -> Duration {
        match self.force {
            None => Duration::ZERO,
            Some(_) if self.is(Attack::Silence) => Duration::from_secs(4),
            Some(_) => Duration::from_secs(2),
        }
    }

    /// Only of a crowd that stays the cost is asked that it has while nothing happens.
    pub(crate) fn silence(&self) -> Duration {
        if self.is(Attack::Crowd) {
            Duration::from_secs(3)
        } else {
            Duration::ZERO
        }
    }

    /// How often it is measured: so large a crowd takes long to come, and once is enough to see what it costs.
    pub(crate) fn rounds(&self, wanted: u32) -> u32 {
        if self.is(Attack::Crowd) {
            1
        } else {
            wanted
        }
    }

    /// About how long one measurement takes.
    pub(crate) fn takes(&self, duration: Duration) -> Duration {
        let approach = if self.is(Attack::Crowd) { Duration::from_secs(20) } else { self.approach() };
        approach + self.silence() + duration + Duration::from_secs(1)
    }
}
