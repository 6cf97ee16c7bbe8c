//! `SO_LINGER` is something else: with a time it does not help, with zero it asks for a reset, and a
//! program that asks for a reset gets it.

use linger_testbed::buggy::SoLinger;
use linger_testbed::client::{Ending, Exchange};
use linger_testbed::counters::Counters;
use linger_testbed::netns;
use linger_testbed::scenario::Scenario;
use linger_testbed::server::{Preload, Program, Server};

fn play(so_linger: SoLinger, preload: &Preload) -> (Exchange, Counters) {
    let command = vec![env!("CARGO_BIN_EXE_buggy-server").into()];
    let program = Program::Buggy { command, so_linger };
    let server = Server::start(&program, preload).expect("server");
    let played = server.count_resets(|address| Scenario::Late.play(address));
    played.expect("exchange")
}

#[test]
fn a_time_in_so_linger_does_not_replace_the_shim() {
    netns::isolated(|| {
        let (exchange, resets) = play(SoLinger::FiveSeconds, &Preload::None);
        assert!(exchange.bytes_lost() > 0, "{exchange:?}");
        assert!(resets.out_rsts > 0);
    });
}

#[test]
fn a_time_in_so_linger_does_not_hinder_the_shim() {
    netns::isolated(|| {
        let shim = Preload::shim().expect("shim");
        let (exchange, resets) = play(SoLinger::FiveSeconds, &shim);
        assert!(exchange.all_complete() && !exchange.saw_reset(), "{exchange:?}");
        assert_eq!(resets, Counters::default());
    });
}

fn is_aborted((exchange, resets): (Exchange, Counters)) {
    assert_eq!(exchange.ending, Ending::Reset, "{exchange:?}");
    assert!(exchange.bytes_lost() > 0, "{exchange:?}");
    assert!(resets.out_rsts > 0);
}

#[test]
fn zero_in_so_linger_aborts_without_the_shim() {
    netns::isolated(|| is_aborted(play(SoLinger::Abort, &Preload::None)));
}

#[test]
fn zero_in_so_linger_still_aborts_with_the_shim() {
    netns::isolated(|| is_aborted(play(SoLinger::Abort, &Preload::shim().expect("shim"))));
}
