//! What a program is made of, looked at again and again, and whether it grows.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::server::Server;
use crate::{pause, DEADLINE};

/// One look.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Resident memory of all of its processes.
    pub resident_bytes: f64,
    /// Descriptors in the program's tables.
    pub descriptors: f64,
    /// Connections in the tables of drain threads.
    pub lingering: f64,
    /// Threads, those of the library among them.
    pub threads: f64,
    /// Drain threads.
    pub drain_threads: f64,
}

/// A quantity, and how much more of it at the end is no growth: as a share, and in its own unit.
struct Quantity {
    name: &'static str,
    of: fn(&Sample) -> f64,
    share: f64,
    slack: f64,
}

/// Memory is what leaks; the others swing with the peers that are there at the moment, and are looked at more closely when
/// these have gone ([`Sample::differences`]).
const QUANTITIES: [Quantity; 5] = [
    Quantity { name: "bytes of memory", of: |s| s.resident_bytes, share: 0.01, slack: 64e3 },
    Quantity { name: "descriptors", of: |s| s.descriptors, share: 0.2, slack: 5.0 },
    Quantity { name: "lingering connections", of: |s| s.lingering, share: 0.2, slack: 5.0 },
    Quantity { name: "threads", of: |s| s.threads, share: 0.2, slack: 5.0 },
    Quantity { name: "drain threads", of: |s| s.drain_threads, share: 0.0, slack: 0.0 },
];

impl Sample {
    /// What all processes of the server are made of now.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn take(server: &Server) -> Result<Self> {
        let mut sample = Self::default();
        for anatomy in server.anatomies()? {
            sample.resident_bytes += anatomy.resident_bytes()? as f64;
            // Not by their count, in which accept(2) has one more while it waits.
            sample.descriptors += anatomy.descriptors()?.len() as f64;
            sample.threads += anatomy.threads()?.len() as f64;
            for thread in anatomy.drain_threads()? {
                sample.drain_threads += 1.0;
                sample.lingering += anatomy.count_connections_of_thread(&thread)? as f64;
            }
        }
        Ok(sample)
    }

    /// Waits until there are no [`Sample::differences`], or for [`DEADLINE`].
    ///
    /// # Errors
    ///
    /// If the server is gone.
    pub fn after_all_have_gone(server: &Server, before: &Sample) -> Result<Self> {
        let started = Instant::now();
        loop {
            let sample = Self::take(server)?;
            if sample.differences(before).is_empty() || started.elapsed() > DEADLINE {
                return Ok(sample);
            }
            pause(Duration::from_millis(50), "the kernel announces no change in a table of descriptors");
        }
    }

    /// In what it is not exactly as `before`, when nobody was there and nothing had lingered yet, but for the drain threads
    /// that were started.
    #[must_use]
    pub fn differences(&self, before: &Sample) -> Vec<String> {
        let started = self.drain_threads - before.drain_threads;
        let expected = [
            ("lingering connections", self.lingering, 0.0),
            ("threads", self.threads, before.threads + started),
            ("descriptors", self.descriptors, before.descriptors),
        ];
        let differ = expected.iter().filter(|(_, is, must)| is != must);
        differ.map(|(name, is, must)| format!("{is} {name}, not {must}")).collect()
    }
}

/// What has grown from the first third of the samples to the last, in words.
#[must_use]
pub fn growth(samples: &[Sample]) -> Vec<String> {
    let third = samples.len() / 3;
    let (first, last) = (samples.get(..third), samples.get(samples.len() - third..));
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let mut growth = Vec::new();
    for Quantity { name, of, share, slack } in &QUANTITIES {
        let (before, after) = (mean(first, *of), mean(last, *of));
        if after > before * (1.0 + share) + slack {
            growth.push(format!("{before:.0} {name} at first, {after:.0} at last"));
        }
    }
    growth
}

/// The means of both thirds, for people.
#[must_use]
pub fn describe(samples: &[Sample]) -> String {
    let third = samples.len() / 3;
    let text = QUANTITIES.iter().map(|Quantity { name, of, .. }| {
        let first = mean(samples.get(..third).unwrap_or_default(), *of);
        let last = mean(samples.get(samples.len() - third..).unwrap_or_default(), *of);
        format!("{name}: {first:.0} -> {last:.0}")
    });
    text.collect::<Vec<_>>().join(", ")
}

fn mean(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(f64) -> Sample) -> Vec<Sample> {
        (0..90).map(|number| of(f64::from(number))).collect()
    }

    const BUSY: Sample =
        Sample { resident_bytes: 8e6, descriptors: 40.0, lingering: 30.0, threads: 3.0, drain_threads: 1.0 };

    #[test]
    fn what_swings_does_not_grow() {
        let swinging = samples(|n| Sample { lingering: 30.0 + 10.0 * (n * 0.7).sin(), ..BUSY });
        assert_eq!(growth(&swinging), Vec::<String>::new());
    }

    #[test]
    fn when_all_have_gone_one_of_anything_is_too_much() {
        let idle = Sample { lingering: 0.0, drain_threads: 0.0, threads: 2.0, ..BUSY };
        let after = Sample { drain_threads: 1.0, threads: 3.0, ..idle };
        assert_eq!(after.differences(&idle), Vec::<String>::new());
        for (wrong, name) in [
            (Sample { lingering: 1.0, ..after }, "lingering"),
            (Sample { descriptors: 41.0, ..after }, "descriptors"),
            (Sample { threads: 4.0, ..after }, "threads"),
        ] {
            let differences = wrong.differences(&idle);
            assert!(differences.len() == 1 && differences[0].contains(name), "{differences:?}");
        }
    }

    #[test]
    fn a_leak_of_any_kind_grows() {
        for (leaking, name) in [
            (samples(|n| Sample { resident_bytes: 8e6 + n * 6e3, ..BUSY }), "memory"),
            (samples(|n| Sample { descriptors: 40.0 + n / 2.0, ..BUSY }), "descriptors"),
            (samples(|n| Sample { lingering: 30.0 + n / 2.0, ..BUSY }), "lingering"),
            (samples(|n| Sample { threads: 3.0 + n / 5.0, ..BUSY }), "threads"),
            (samples(|n| Sample { drain_threads: 1.0 + (n / 80.0).floor(), ..BUSY }), "drain threads"),
        ] {
            let growth = growth(&leaking);
            assert!(growth.len() == 1 && growth[0].contains(name), "{growth:?}");
        }
    }
}
