//! Where not all can linger: `LINGER_MAX`, and a program with few descriptors. Nothing is lost that `close()` alone
//! would not lose, and nothing leaks.

use linger_testbed::closer::{Closer, Start, Way, AT_ONCE};
use linger_testbed::counters::Counters;
use linger_testbed::crowd::{Crowd, ServerEnd};
use linger_testbed::dialogue::Dialogue;
use linger_testbed::server::Preload;
use linger_testbed::settings::PATIENT;
use linger_testbed::{netns, pause};

use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_call-latency");

fn start(preload: Preload, settings: &[(&str, &str)]) -> Closer {
    Closer::start(Start { settings, ..Start::new(PROGRAM, preload) }).expect("program")
}

fn with_room_for(connections: &str) -> Closer {
    let [timeout, idle] = PATIENT;
    start(Preload::shim().expect("shim"), &[timeout, idle, ("LINGER_MAX", connections)])
}

#[test]
fn no_more_than_linger_max_linger_and_the_last_ones_do() {
    netns::isolated(|| {
        let mut closer = with_room_for("10");
        let mut crowd = Crowd::of(closer.address());
        closer.accept(&mut crowd, AT_ONCE).expect("connections");
        closer.let_go(Way::Close, AT_ONCE).expect("close");
        crowd.wait_until_lingering(10).expect("ten of them linger");
        crowd.hear_the_end().expect("all of them get a FIN");
        // The program lets go of the one accepted last first.
        let ends = crowd.server_ends().expect("table");
        assert!(ends.iter().take(10).all(|end| *end == ServerEnd::Lingering), "{ends:?}");

        let statistics = closer.statistics().expect("statistics");
        assert_eq!((statistics.pending, statistics.evicted), (10, AT_ONCE as u64 - 10), "{statistics:?}");
        let thread = closer.anatomy().drain_thread().expect("the drain thread");
        let held = closer.anatomy().descriptors_of_thread(&thread).expect("its table");
        assert!(held.len() < 10 + 10, "descriptors leak: {held:?}");
        assert_eq!(Counters::read().expect("counters"), Counters::default(), "an eviction sent a reset");
    });
}

/// A client that has not yet got its response, and whose next words are about to cost it that.
fn take_late(mut client: Dialogue) -> usize {
    client.say(b"late");
    client.hear_to_end().bytes.len()
}

#[test]
fn who_still_waits_for_a_response_is_evicted_last() {
    netns::isolated(|| {
        let mut closer = with_room_for("8");
        let (busy, written) = let_go_of_busy(&mut closer, 4);
        // Exactly as many as there is room for, and then as many again.
        let mut quiet = Crowd::of(closer.address());
        for lingering in [8, 8] {
            closer.accept(&mut quiet, 4).expect("connections");
            closer.let_go(Way::Close, 4).expect("close");
            closer.wait_until_pending(lingering).expect("all places are taken");
            pause(Duration::from_millis(500), "a FIN is acknowledged late, and looked for at times only");
        }
        assert_eq!(closer.statistics().expect("statistics").evicted, 4);
        let ends = quiet.server_ends().expect("table");
        let lingers = |number: usize| ends[number] == ServerEnd::Lingering;
        assert_eq!(
            (0..8).filter(|n| lingers(*n)).collect::<Vec<_>>(),
            [4, 5, 6, 7],
            "the quietest went first"
        );
        let received: Vec<_> = busy.into_iter().map(take_late).collect();
        assert_eq!(received, written, "bytes of the responses that were on their way");
    });
}

#[test]
fn a_busy_client_that_speaks_late_loses_its_response_without_the_shim() {
    netns::isolated(|| {
        let (busy, written) = let_go_of_busy(&mut start(Preload::None, &[]), 4);
        for (client, written) in busy.into_iter().zip(written) {
            let received = take_late(client);
            assert!(received < written, "{received} of {written} bytes arrived");
        }
    });
}

/// Connections with as much on their way as goes, and how many bytes that is for each.
fn let_go_of_busy(closer: &mut Closer, count: usize) -> (Vec<Dialogue>, Vec<usize>) {
    let address = closer.address();
    let mut busy: Vec<_> = (0..count).map(|_| Dialogue::open(address).expect("connection")).collect();
    closer.tell(&format!("accept {count}")).expect("accept");
    let written = closer.tell(&format!("fill {count}")).expect("fill");
    closer.let_go(Way::Close, count).expect("close");
    for client in &mut busy {
        client.wait_until_let_go().expect("it is let go");
    }
    (busy, written.split(' ').map(|bytes| bytes.parse().expect("a number")).collect())
}

/// More closes than the program may have descriptors, with peers that speak after them; says how many were reset.
fn close_in_rounds(closer: &mut Closer) -> u64 {
    closer.tell("limit 64").expect("setrlimit");
    let before = closer.anatomy().descriptors().expect("descriptors").len();
    let resets = Counters::read().expect("counters");
    let mut crowd = Crowd::of(closer.address());
    for _ in 0..ROUNDS {
        closer.accept(&mut crowd, EACH).expect("there are descriptors for them");
        closer.let_go(Way::Close, EACH).expect("close");
        let after = closer.anatomy().descriptors().expect("descriptors").len();
        assert!(after <= before + 1, "descriptors leak: {after}, at first {before}");
    }
    crowd.hear_the_end().expect("all of them get a FIN");
    crowd.speak();
    if let Some(pending) = closer.pending().expect("pending") {
        assert!(pending > 0, "none lingers");
    }
    crowd.leave(ROUNDS * EACH);
    if closer.pending().expect("pending").is_some() {
        closer.wait_until_pending(0).expect("they end");
    }
    resets.since().expect("counters").out_rsts
}

const ROUNDS: usize = 6;
const EACH: usize = 40;

#[test]
fn few_descriptors_cost_lingering_but_nothing_else() {
    netns::isolated(|| {
        let all = (ROUNDS * EACH) as u64;
        assert_eq!(close_in_rounds(&mut start(Preload::None, &[])), all, "without the shim all are reset");

        let mut closer = start(Preload::shim().expect("shim"), &PATIENT);
        let resets = close_in_rounds(&mut closer);
        let statistics = closer.statistics().expect("statistics");
        assert!(resets < all, "all {resets} were reset: {statistics:?}");
        let thread = closer.anatomy().drain_thread().expect("the drain thread");
        let held = closer.anatomy().descriptors_of_thread(&thread).expect("its table");
        assert!(held.len() < 10, "descriptors leak: {held:?}");
        println!("{resets} of {all} were reset, {all} without the shim; {statistics:?}");
    });
}
