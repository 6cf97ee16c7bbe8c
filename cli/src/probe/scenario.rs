//! What is tried, and on which servers.

use serde::Serialize;

use super::endpoint::Endpoint;
use super::exchange;
use super::late::{self, Moment};
use super::observation::Observation;
use super::target::{Protocol, Target};
use super::trouble::Trouble;
use super::verdict::{decide, needs_second_reference, Reference, Verdict};
use super::{dialogue, pouring, raw};

/// The kernel's smallest useful window: even a short answer does not fit into it.
const SMALLEST_WINDOW: u64 = 4 * 1024;
/// A larger one only delays the probe.
const LARGEST_WINDOW: u64 = 64 * 1024;

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// One request, all of the answer, then the end
    Polite,
    /// More requests behind the last one that the server takes
    Pipeline,
    /// A body that the server may refuse before it has read it
    Upload,
    /// Bytes that arrive after the server's close
    Late,
    /// A server that turns the client away
    Refusal,
}

impl Scenario {
    /// For tables and headings.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Polite => "polite",
            Scenario::Pipeline => "pipeline",
            Scenario::Upload => "upload",
            Scenario::Late => "late",
            Scenario::Refusal => "refusal",
        }
    }

    /// Those that make sense for `protocol`.
    pub fn of(protocol: Protocol) -> &'static [Scenario] {
        match protocol {
            Protocol::Http => &[Scenario::Pipeline, Scenario::Upload, Scenario::Late, Scenario::Refusal],
            _ => &[Scenario::Refusal],
        }
    }
}

/// Everything that is needed to play.
#[derive(Debug)]
pub struct Setup {
    /// Where.
    pub endpoint: Endpoint,
    /// What.
    pub target: Target,
    /// Bytes of an upload.
    pub upload: usize,
    /// What is said to a server of no known protocol.
    pub data: Vec<u8>,
}

/// One connection and its verdict.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was seen.
    pub seen: Observation,
    /// What it means.
    pub verdict: Verdict,
}

/// The polite run, and what it says about the others; none where a protocol is only greeted.
#[derive(Debug)]
pub struct Baseline {
    /// The run.
    pub run: Run,
    /// The length of its answer.
    pub reference: Reference,
}

impl Setup {
    /// Finds out what a polite client gets.
    pub fn fetch_reference(&self) -> Result<Option<Baseline>, Trouble> {
        if dialogue::is_greeted(self.target.protocol) {
            return Ok(None);
        }
        let seen = self.be_polite()?;
        let compared = if needs_second_reference(seen.framing) { Some(self.be_polite()?) } else { None };
        let stable = compared.is_none_or(|second| second.body == seen.body);
        let reference = Reference { received: seen.total.unwrap_or(seen.received), body: seen.body, stable };
        // What two polite clients get alike is whole, if a reset did not end both.
        let known = (stable && seen.reset.is_none()).then_some(reference);
        let verdict = decide(&seen, known);
        Ok(Some(Baseline { run: Run { seen, verdict }, reference }))
    }

    fn be_polite(&self) -> Result<Observation, Trouble> {
        match self.target.protocol {
            Protocol::Tcp => raw::play(&self.endpoint, &self.data, None, None),
            _ => exchange::be_polite(&self.endpoint, &self.target),
        }
    }

    /// Plays once.
    pub fn play(&self, scenario: Scenario, reference: Option<Reference>) -> Result<Run, Trouble> {
        let (endpoint, target) = (&self.endpoint, &self.target);
        let window = receive_buffer(reference);
        match (target.protocol, scenario) {
            (Protocol::Http, Scenario::Polite) => self.be_polite().map(|seen| judge(seen, None)),
            (Protocol::Http, Scenario::Pipeline) => {
                pouring::pipeline(endpoint, target, window).map(|seen| judge(seen, reference))
            }
            (Protocol::Http, Scenario::Upload) => {
                pouring::upload(endpoint, target, window, self.upload).map(|seen| judge(seen, None))
            }
            (Protocol::Http, Scenario::Late) => self.play_late(window, reference),
            (Protocol::Http, Scenario::Refusal) => {
                pouring::oversize(endpoint, target, window).map(|seen| judge(seen, None))
            }
            (Protocol::Tcp, _) => {
                let expected = reference.map(|reference| reference.received);
                raw::play(endpoint, &self.data, Some(window), expected).map(|seen| judge(seen, reference))
            }
            _ => dialogue::greet(endpoint, target).map(|seen| judge(seen, None)),
        }
    }

    fn play_late(&self, window: usize, reference: Option<Reference>) -> Result<Run, Trouble> {
        let known = reference.unwrap_or(Reference { received: 0, body: 0, stable: false });
        let play = |moment| {
            late::play(&self.endpoint, &self.target, window, known, moment).map(|seen| judge(seen, reference))
        };
        let first = play(Moment::WindowFull)?;
        // All of it was in the window by then: the end was near already.
        if first.verdict != Verdict::Complete || known.received <= 2 * window as u64 {
            return Ok(first);
        }
        play(Moment::NearTheEnd)
    }
}

fn judge(seen: Observation, reference: Option<Reference>) -> Run {
    let verdict = decide(&seen, reference);
    Run { seen, verdict }
}

/// So small that most of the answer has to wait in the server's send queue, where a reset finds it.
fn receive_buffer(reference: Option<Reference>) -> usize {
    let answer = reference.map_or(0, |reference| reference.received);
    (answer / 8).clamp(SMALLEST_WINDOW, LARGEST_WINDOW) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_a_small_part_of_the_answer() {
        let of = |received| receive_buffer(Some(Reference { received, body: received, stable: true }));
        assert_eq!(of(100), 4096);
        assert_eq!(of(80_000), 10_000);
        assert_eq!(of(3_000_000), 65_536);
        assert_eq!(receive_buffer(None), 4096);
    }
}
