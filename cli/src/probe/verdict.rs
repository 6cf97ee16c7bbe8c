//! From what was seen to what it means. Pure.

use serde::Serialize;

use super::answer::{Completeness, Framing};
use super::observation::Observation;

/// What a polite client gets: one request, all of the answer read, then closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// Bytes of the answer, head included.
    #[serde(rename = "received_bytes")]
    pub received: u64,
    /// Bytes of its body.
    #[serde(rename = "body_bytes")]
    pub body: u64,
    /// Two polite clients got bodies of the same length; where the answer says its length itself, one is enough.
    pub stable: bool,
}

/// What one connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// All of the answer arrived, and nothing was reset.
    Complete,
    /// All of the answer arrived at a client that goes on reading, but the connection was reset.
    CompleteButReset,
    /// Some of the answer did not arrive.
    Lost {
        /// How many bytes, where that can be known.
        missing_bytes: Option<u64>,
        /// By what.
        cause: Cause,
    },
    /// Nothing decides.
    Undecided {
        /// Why not.
        reason: Doubt,
    },
}

/// What cut an answer off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A reset.
    Reset,
    /// An orderly end, but too early: that is no matter of how the connection is closed.
    EarlyFin,
}

/// Why nothing decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Within TLS, the answer ends where the connection does, without a close_notify, and there is no reference.
    NoLength,
    /// The same, and polite clients get answers of different lengths.
    LengthVaries,
    /// The answer had no end within the time that `--timeout` gives.
    TimedOut,
    /// The server ended the connection in order and without the answer that a polite client gets.
    NoAnswer,
}

impl Verdict {
    /// For the worst of several: how bad it is.
    pub fn badness(&self) -> u8 {
        match self {
            Verdict::Complete => 0,
            Verdict::Undecided { .. } => 1,
            Verdict::CompleteButReset => 2,
            Verdict::Lost { .. } => 3,
        }
    }

    /// The bytes that did not arrive, where that is known.
    pub fn lost_bytes(&self) -> Option<u64> {
        match self {
            Verdict::Lost { missing_bytes, .. } => *missing_bytes,
            Verdict::Complete | Verdict::CompleteButReset => Some(0),
            Verdict::Undecided { .. } => None,
        }
    }
}

/// Decides. `reference` is that of the same answer; `None` where there is none.
pub fn decide(seen: &Observation, reference: Option<Reference>) -> Verdict {
    let missing_by_reference = || {
        reference
            .filter(|it| it.stable)
            .and_then(|it| it.received.checked_sub(seen.received))
            .filter(|&n| n > 0)
    };
    match seen.completeness {
        Completeness::Whole => whole(seen),
        Completeness::Nothing if seen.reset.is_none() && seen.fin.is_some() => match reference {
            // TCP delivers a FIN only behind all that was written before it: nothing was, and so nothing is lost.
            None => Verdict::Complete,
            Some(_) => Verdict::Undecided { reason: Doubt::NoAnswer },
        },
        Completeness::Nothing | Completeness::PartOfHead => cut_off(seen, missing_by_reference()),
        Completeness::Short { missing } => cut_off(seen, missing.or_else(missing_by_reference)),
        Completeness::UntilClose => until_close(seen, reference),
    }
}

fn whole(seen: &Observation) -> Verdict {
    match seen.reset {
        Some(_) => Verdict::CompleteButReset,
        None => Verdict::Complete,
    }
}

fn cut_off(seen: &Observation, missing_bytes: Option<u64>) -> Verdict {
    match (seen.reset, seen.fin) {
        // A reset that comes after the end was read did not cut the answer off.
        (_, Some(_)) => Verdict::Lost { missing_bytes, cause: Cause::EarlyFin },
        (Some(_), None) => Verdict::Lost { missing_bytes, cause: Cause::Reset },
        (None, None) => Verdict::Undecided { reason: Doubt::TimedOut },
    }
}

fn until_close(seen: &Observation, reference: Option<Reference>) -> Verdict {
    let cause = if seen.fin.is_some() { Cause::EarlyFin } else { Cause::Reset };
    match reference {
        Some(Reference { stable: true, body, .. }) if seen.body == body => whole(seen),
        _ if seen.fin.is_none() && seen.reset.is_none() => Verdict::Undecided { reason: Doubt::TimedOut },
        Some(Reference { stable: true, body, .. }) if seen.body < body => {
            Verdict::Lost { missing_bytes: Some(body - seen.body), cause }
        }
        // The end that its framing promises never came (RFC 9112 section 8).
        _ if cause == Cause::Reset => Verdict::Lost { missing_bytes: None, cause },
        // Within TLS a close_notify says that this is the end and not a truncation (RFC 8446 section 6.1).
        _ if seen.close_notify == Some(true) => whole(seen),
        Some(_) => Verdict::Undecided { reason: Doubt::LengthVaries },
        None if seen.close_notify == Some(false) => Verdict::Undecided { reason: Doubt::NoLength },
        // The FIN came in order, behind all of it.
        None => whole(seen),
    }
}

/// Whether an answer's length has to be compared with that of another one.
pub fn needs_second_reference(framing: Option<Framing>) -> bool {
    !matches!(framing, Some(Framing::Length | Framing::Message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::observation::{Provocation, TcpFacts};
    use super::super::timeline::Timeline;
    use super::*;

    fn seen(completeness: Completeness, fin: bool, reset: bool) -> Observation {
        Observation {
            completeness,
            framing: None,
            status: None,
            server: None,
            said: None,
            received: 150,
            body: 100,
            total: None,
            fin: fin.then_some(Duration::from_millis(1)),
            reset: reset.then_some(Duration::from_millis(2)),
            send_failed: false,
            sent_all: true,
            close_notify: None,
            provocation: Provocation::Worked,
            tcp: TcpFacts::default(),
            timeline: Timeline::default(),
        }
    }

    fn reference(body: u64) -> Option<Reference> {
        Some(Reference { received: body + 50, body, stable: true })
    }

    const WHOLE: Completeness = Completeness::Whole;
    const SHORT: Completeness = Completeness::Short { missing: Some(7) };
    const CHUNKED: Completeness = Completeness::Short { missing: None };
    const HEAD: Completeness = Completeness::PartOfHead;
    const NOTHING: Completeness = Completeness::Nothing;
    const UNTIL: Completeness = Completeness::UntilClose;
    const TIMED_OUT: Verdict = Verdict::Undecided { reason: Doubt::TimedOut };

    fn lost(missing_bytes: Option<u64>, cause: Cause) -> Verdict {
        Verdict::Lost { missing_bytes, cause }
    }

    #[test]
    fn the_table() {
        use Cause::{EarlyFin, Reset};
        use Verdict::{Complete, CompleteButReset, Undecided};
        let varies = Some(Reference { received: 150, body: 100, stable: false });
        #[rustfmt::skip]
        let table = [
            // completeness, FIN, RST, reference, verdict
            (WHOLE, true, false, None, Complete),
            (WHOLE, false, false, None, Complete),
            (WHOLE, false, true, None, CompleteButReset),
            (WHOLE, true, true, None, CompleteButReset),
            (SHORT, false, true, None, lost(Some(7), Reset)),
            (SHORT, false, true, reference(900), lost(Some(7), Reset)),
            (SHORT, true, false, None, lost(Some(7), EarlyFin)),
            (SHORT, true, true, None, lost(Some(7), EarlyFin)),
            (SHORT, false, false, None, TIMED_OUT),
            (CHUNKED, false, true, None, lost(None, Reset)),
            (CHUNKED, false, true, reference(300), lost(Some(200), Reset)),
            (CHUNKED, false, true, reference(10), lost(None, Reset)),
            (HEAD, false, true, reference(300), lost(Some(200), Reset)),
            (HEAD, true, false, None, lost(None, EarlyFin)),
            (NOTHING, false, true, None, lost(None, Reset)),
            (NOTHING, true, false, None, Complete),
            (NOTHING, true, false, reference(100), Undecided { reason: Doubt::NoAnswer }),
            (NOTHING, false, false, None, TIMED_OUT),
            (UNTIL, true, false, reference(100), Complete),
            (UNTIL, false, true, reference(100), CompleteButReset),
            (UNTIL, true, false, reference(300), lost(Some(200), EarlyFin)),
            (UNTIL, false, true, reference(300), lost(Some(200), Reset)),
            (UNTIL, true, false, None, Complete),
            (UNTIL, true, true, None, CompleteButReset),
            (UNTIL, true, false, varies, Undecided { reason: Doubt::LengthVaries }),
            (UNTIL, true, false, reference(90), Undecided { reason: Doubt::LengthVaries }),
            (UNTIL, false, true, None, lost(None, Reset)),
            (UNTIL, false, true, varies, lost(None, Reset)),
            (UNTIL, false, false, reference(100), Complete),
            (UNTIL, false, false, reference(300), TIMED_OUT),
            (UNTIL, false, false, None, TIMED_OUT),
        ];
        for (completeness, fin, reset, reference, verdict) in table {
            let decided = decide(&seen(completeness, fin, reset), reference);
            assert_eq!(decided, verdict, "{completeness:?} FIN {fin} RST {reset} {reference:?}");
        }
    }

    #[test]
    fn in_tls_only_a_close_notify_ends_an_answer_without_a_length() {
        let mut within_tls = seen(UNTIL, true, false);
        within_tls.close_notify = Some(true);
        assert_eq!(decide(&within_tls, None), Verdict::Complete);
        within_tls.close_notify = Some(false);
        assert_eq!(decide(&within_tls, None), Verdict::Undecided { reason: Doubt::NoLength });
        assert_eq!(decide(&within_tls, reference(300)), lost(Some(200), Cause::EarlyFin));
    }

    proptest! {
        #[test]
        fn a_reset_is_never_called_clean(
            which in 0usize..6, fin: bool, body in 0u64..300, notify: Option<bool>,
        ) {
            let completeness = [WHOLE, SHORT, CHUNKED, HEAD, NOTHING, UNTIL][which];
            let mut seen = seen(completeness, fin, true);
            seen.close_notify = notify;
            for reference in [None, reference(body)] {
                prop_assert_ne!(decide(&seen, reference), Verdict::Complete);
            }
        }

        #[test]
        fn a_short_answer_is_never_called_complete(fin: bool, reset: bool, missing in 1u64..1000, body in 0u64..300) {
            let seen = seen(Completeness::Short { missing: Some(missing) }, fin, reset);
            let verdict = decide(&seen, reference(body));
            prop_assert!(!matches!(verdict, Verdict::Complete | Verdict::CompleteButReset));
        }
    }
}
