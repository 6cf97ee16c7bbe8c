//! lighttpd and Apache (event) linger by themselves: for them nothing changes.

use linger_testbed::client::Exchange;
use linger_testbed::counters::Counters;
use linger_testbed::netns;
use linger_testbed::scenario::Scenario;
use linger_testbed::server::{Preload, Program, Server};

/// Each is played more than once: a shim that left something behind would show it then.
const CONNECTIONS: usize = 5;

fn play(program: &Program, scenario: Scenario, preload: &Preload) -> (Vec<Exchange>, Counters) {
    let server = Server::start(program, preload).expect("server");
    let played = server.count_resets(|address| {
        let play = |_| scenario.play(address);
        (0..CONNECTIONS).map(play).collect()
    });
    played.expect("exchanges")
}

fn nothing_is_lost(program: &Program, preload: &Preload) -> Counters {
    let mut resets = Counters::default();
    for scenario in [Scenario::Pipeline, Scenario::Late] {
        let (exchanges, more_resets) = play(program, scenario, preload);
        for exchange in exchanges {
            assert!(exchange.all_complete() && !exchange.saw_reset(), "{scenario:?}: {exchange:?}");
        }
        resets += more_resets;
    }
    resets
}

#[test]
fn lighttpd_loses_nothing_without_the_shim() {
    netns::isolated(|| {
        nothing_is_lost(&Program::Lighttpd, &Preload::None);
    });
}

#[test]
fn lighttpd_loses_nothing_and_sends_no_reset_with_the_shim() {
    netns::isolated(|| {
        let shim = Preload::shim().expect("shim");
        let resets = nothing_is_lost(&Program::Lighttpd, &shim);
        assert_eq!(resets, Counters::default());
    });
}

#[test]
fn apache_loses_nothing_without_the_shim() {
    netns::isolated(|| {
        nothing_is_lost(&Program::Apache, &Preload::None);
    });
}

#[test]
fn apache_loses_nothing_and_sends_no_reset_with_the_shim() {
    netns::isolated(|| {
        let shim = Preload::shim().expect("shim");
        let resets = nothing_is_lost(&Program::Apache, &shim);
        assert_eq!(resets, Counters::default());
    });
}
