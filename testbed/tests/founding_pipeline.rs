//! A client sends 100 requests at once to a server that closes after ten.

use linger_testbed::client::{Ending, Exchange};
use linger_testbed::counters::Counters;
use linger_testbed::netns;
use linger_testbed::scenario::{Scenario, REQUESTS_SERVED};
use linger_testbed::server::{Preload, Program, Server};

fn play(preload: &Preload) -> (Exchange, Counters) {
    let program = Program::buggy(env!("CARGO_BIN_EXE_buggy-server"));
    let server = Server::start(&program, preload).expect("server");
    let played = server.count_resets(|address| Scenario::Pipeline.play(address));
    played.expect("exchange")
}

#[test]
fn without_the_shim_answers_are_cut_off_by_a_reset() {
    netns::isolated(|| {
        let (exchange, resets) = play(&Preload::None);
        assert!(exchange.complete < REQUESTS_SERVED, "{exchange:?}");
        assert!(exchange.bytes_lost() > 0, "{exchange:?}");
        assert_eq!(exchange.ending, Ending::Reset);
        assert_eq!(resets.abort_on_close, 1, "the other requests were unread at close: {resets:?}");
    });
}

#[test]
fn with_the_shim_ten_answers_arrive_whole_and_then_a_clean_end() {
    netns::isolated(|| {
        let (exchange, resets) = play(&Preload::shim().expect("shim"));
        assert_eq!(exchange.complete, REQUESTS_SERVED, "{exchange:?}");
        assert_eq!(exchange.answers.len(), REQUESTS_SERVED);
        assert_eq!(exchange.ending, Ending::CleanEof);
        assert!(!exchange.saw_reset(), "{exchange:?}");
        assert_eq!(resets, Counters::default());
    });
}
