//! The rules of lingering as a table, and what must hold whatever the peer does.

use super::*;
use proptest::prelude::*;

#[path = "drain_model.rs"]
mod model;

const LIMITS: Limits =
    Limits { idle_ms: 5000, timeout_ms: 30_000, max_ms: 120_000, max_bytes: 0, max_rate: 0 };
const START: u64 = 1_000_000;

fn finish(drain: &mut Drain, at: u64, unacknowledged: u32) -> Option<Outcome> {
    match drain.look(START + at, unacknowledged, &LIMITS) {
        Step::Finish(outcome) => Some(outcome),
        Step::Wait(_) => None,
    }
}

#[test]
fn a_silent_peer_that_acknowledged_everything_is_idle_after_the_idle_time() {
    let mut d = Drain::new(START, Deadline::Default, 0, &LIMITS);
    assert_eq!(d.look(START, 0, &LIMITS), Step::Wait(START + 5000));
    assert_eq!(finish(&mut d, 4999, 0), None);
    assert_eq!(finish(&mut d, 5000, 0), Some(Outcome::Idle));
}

#[test]
fn the_idle_time_counts_from_the_last_byte_or_acknowledgement() {
    let mut d = Drain::new(START, Deadline::Default, 100, &LIMITS);
    assert_eq!(finish(&mut d, 7000, 0), None);
    assert_eq!(d.received(START + 9000, 1, &LIMITS), None);
    assert_eq!(finish(&mut d, 13_999, 0), None);
    assert_eq!(finish(&mut d, 14_000, 0), Some(Outcome::Idle));
}

#[test]
fn a_peer_that_vanished_is_held_until_the_deadline_only() {
    let mut d = Drain::new(START, Deadline::Default, 100, &LIMITS);
    assert_eq!(finish(&mut d, 29_999, 100), None);
    assert_eq!(finish(&mut d, 30_000, 100), Some(Outcome::Timeout));
}

#[test]
fn a_slow_reader_extends_the_default_deadline_up_to_the_cap() {
    let mut d = Drain::new(START, Deadline::Default, 1_000_000, &LIMITS);
    for second in 1..120u64 {
        assert_eq!(finish(&mut d, second * 1000, 1_000_000 - second as u32), None, "{second} s");
    }
    assert_eq!(finish(&mut d, 120_000, 1), Some(Outcome::Timeout));
}

#[test]
fn a_deadline_shorter_than_the_idle_time_is_kept() {
    let limits = Limits { timeout_ms: 500, ..LIMITS };
    let mut d = Drain::new(START, Deadline::Default, 1000, &limits);
    assert_eq!(d.look(START + 499, 1000, &limits), Step::Wait(START + 500));
    assert_eq!(d.look(START + 500, 1000, &limits), Step::Finish(Outcome::Timeout), "nothing was taken");
    let mut d = Drain::new(START, Deadline::Default, 1000, &limits);
    assert_eq!(d.look(START + 400, 900, &limits), Step::Wait(START + 500));
    assert_eq!(d.look(START + 500, 900, &limits), Step::Wait(START + 1000));
    assert_eq!(d.look(START + 5400, 900, &limits), Step::Finish(Outcome::Timeout), "nothing more was");
}

#[test]
fn a_reader_that_stops_taking_loses_its_extension() {
    let mut d = Drain::new(START, Deadline::Default, 1000, &LIMITS);
    assert_eq!(finish(&mut d, 29_000, 900), None);
    assert_eq!(finish(&mut d, 33_999, 900), None);
    assert_eq!(finish(&mut d, 34_000, 900), Some(Outcome::Timeout));
}

#[test]
fn an_explicit_deadline_is_never_extended() {
    let mut d = Drain::new(START, Deadline::Exactly(2000), 1000, &LIMITS);
    assert_eq!(finish(&mut d, 1999, 500), None);
    assert_eq!(finish(&mut d, 2000, 100), Some(Outcome::Timeout));
}

#[test]
fn an_uploader_that_never_stops_ends_at_the_deadline() {
    let mut d = Drain::new(START, Deadline::Default, 0, &LIMITS);
    for tick in 0..300u64 {
        assert_eq!(d.received(START + tick * 100, 1, &LIMITS), None);
        assert_eq!(finish(&mut d, tick * 100, 0), None);
    }
    assert_eq!(finish(&mut d, 30_000, 0), Some(Outcome::Timeout));
}

#[test]
fn the_byte_limit_is_inclusive_and_off_at_zero() {
    let limits = Limits { max_bytes: 10, ..LIMITS };
    let mut d = Drain::new(START, Deadline::Default, 0, &limits);
    assert_eq!(d.received(START, 9, &limits), None);
    assert_eq!(d.received(START, 1, &limits), Some(Outcome::Bytes));
    let mut d = Drain::new(START, Deadline::Default, 0, &LIMITS);
    assert_eq!(d.received(START, u64::MAX, &LIMITS), None);
}

#[test]
fn the_largest_times_do_not_overflow() {
    let limits =
        Limits { idle_ms: u32::MAX, timeout_ms: u32::MAX, max_ms: u32::MAX, max_bytes: 0, max_rate: 0 };
    let mut d = Drain::new(u64::MAX - 5, Deadline::Exactly(u32::MAX), 1, &limits);
    assert!(matches!(d.look(u64::MAX, 1, &limits), Step::Wait(_)));
}

#[test]
fn a_connection_costs_thirty_two_bytes() {
    assert_eq!(core::mem::size_of::<Drain>(), 32);
}

#[test]
fn the_clock_may_cross_the_boundary_of_its_low_half() {
    let start = u64::from(u32::MAX) - 100;
    let mut d = Drain::new(start, Deadline::Default, 0, &LIMITS);
    assert_eq!(d.look(start + 200, 0, &LIMITS), Step::Wait(start + 5000));
    assert_eq!(d.look(start + 5000, 0, &LIMITS), Step::Finish(Outcome::Idle));
}

proptest! {
    /// Whatever is received and acknowledged, lingering ends by its cap, and not before the deadline unless
    /// the connection was quiet and acknowledged.
    #[test]
    fn lingering_always_ends_in_time(
        idle in 1u32..10_000, timeout in 1u32..50_000, extra in 0u32..100_000,
        explicit in proptest::option::of(1u32..60_000),
        events in proptest::collection::vec((0u64..3000, 0u32..100, any::<bool>()), 0..200),
    ) {
        let limits = Limits { idle_ms: idle, timeout_ms: timeout, max_ms: timeout + extra, max_bytes: 0, max_rate: 0 };
        let deadline = explicit.map_or(Deadline::Default, Deadline::Exactly);
        let cap = u64::from(explicit.unwrap_or(timeout + extra));
        let first = u64::from(explicit.unwrap_or(timeout));
        let mut queue = 5000u32;
        let mut d = Drain::new(START, deadline, queue, &limits);
        let (mut now, mut at, mut last_received) = (START, START + 1, 0u64);
        let mut events = events.into_iter();
        let (outcome, ended) = loop {
            // Events happen in time order with the looks that the machine itself asks for.
            match events.next() {
                Some((delay, taken, received)) if now + delay < at => {
                    now += delay;
                    queue = queue.saturating_sub(taken * 20);
                    if received { d.received(now, 1, &limits); last_received = now - START; }
                }
                _ => {
                    now = at;
                    match d.look(now, queue, &limits) {
                        Step::Finish(outcome) => break (outcome, now - START),
                        Step::Wait(next) => { prop_assert!(next > now, "time must move"); at = next; }
                    }
                }
            }
        };
        prop_assert!(ended <= cap, "ended {} after its cap {}", ended, cap);
        match outcome {
            Outcome::Idle => prop_assert!(queue == 0 && ended - last_received >= u64::from(idle)),
            Outcome::Timeout => prop_assert!(ended >= first),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn a_rate_is_kept_on_the_average_and_begins_with_a_second_s_worth() {
    let limits = Limits { max_rate: 1000, ..LIMITS };
    let mut drain = Drain::new(0, Deadline::Default, 0, &limits);
    assert_eq!(drain.allowance(0, &limits), Ok(1000));
    let _ = drain.received(0, 1000, &limits);
    assert_eq!(drain.allowance(0, &limits), Err(50), "a twentieth of a second's worth");
    assert_eq!(drain.allowance(50, &limits), Ok(50));
    assert_eq!(drain.allowance(4000, &limits), Ok(4000));
    assert_eq!(drain.allowance(0, &LIMITS), Ok(u64::MAX), "without a limit");
}

#[test]
fn a_peer_that_is_kept_waiting_is_not_idle() {
    let limits = Limits { max_rate: 1, idle_ms: 100, ..LIMITS };
    let mut drain = Drain::new(0, Deadline::Default, 0, &limits);
    let _ = drain.received(0, 1, &limits);
    assert_eq!(drain.allowance(900, &limits), Err(1000));
    drain.paused(900);
    assert!(matches!(drain.look(950, 0, &limits), Step::Wait(_)));
}

proptest! {
    /// Whatever arrives whenever, no more is discarded than the rate allows, and the wait always ends.
    #[test]
    fn never_faster_than_the_rate(rate in 1u64..1_000_000_000, steps in proptest::collection::vec(0u64..3000, 1..50)) {
        let limits = Limits { max_rate: rate, ..LIMITS };
        let mut drain = Drain::new(7, Deadline::Default, 0, &limits);
        let mut now = 7;
        for step in steps {
            now += step;
            match drain.allowance(now, &limits) {
                Ok(bytes) => { prop_assert!(bytes > 0); let _ = drain.received(now, bytes, &limits); }
                Err(until) => {
                    prop_assert!(until > now);
                    prop_assert!(drain.allowance(until, &limits).is_ok());
                }
            }
            let most = u128::from(rate) * u128::from(now - 7 + 1000) / 1000;
            prop_assert!(u128::from(drain.discarded()) <= most);
        }
    }
}
