//! A client sends 8 MB to a server that refuses them with a 413 and closes while they are coming.

use linger_testbed::client::{Ending, Exchange};
use linger_testbed::counters::Counters;
use linger_testbed::netns;
use linger_testbed::scenario::Scenario;
use linger_testbed::server::{Preload, Program, Server};

fn play(preload: &Preload) -> (Exchange, Counters) {
    let program = Program::buggy(env!("CARGO_BIN_EXE_buggy-server"));
    let server = Server::start(&program, preload).expect("server");
    let played = server.count_resets(|address| Scenario::Upload.play(address));
    played.expect("exchange")
}

#[test]
fn without_the_shim_the_client_cannot_send_and_misses_the_413() {
    netns::isolated(|| {
        let (exchange, resets) = play(&Preload::None);
        assert!(exchange.send_failed);
        assert_eq!(exchange.ending, Ending::GaveUp);
        assert_eq!(exchange.complete, 0);
        assert!(resets.out_rsts > 0);
    });
}

#[test]
fn with_the_shim_the_client_sends_it_all_and_reads_the_413() {
    netns::isolated(|| {
        let (exchange, resets) = play(&Preload::shim().expect("shim"));
        assert!(exchange.all_complete() && !exchange.saw_reset(), "{exchange:?}");
        assert_eq!(resets, Counters::default());
    });
}
