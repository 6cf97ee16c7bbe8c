//! nginx with its default `lingering_close on`: a 3 MB answer with `Connection: close`, a client with
//! a receive buffer of 64 KiB, and one more request in the middle of the answer.

use linger_testbed::client::{Ending, Exchange};
use linger_testbed::counters::Counters;
use linger_testbed::netns;
use linger_testbed::scenario::Scenario;
use linger_testbed::server::{Preload, Program, Server};

const CONNECTIONS: usize = 15;

fn play_all(preload: &Preload) -> (Vec<Exchange>, Counters) {
    let server = Server::start(&Program::Nginx, preload).expect("server");
    let played = server.count_resets(|address| {
        let play = |_| Scenario::Late.play(address);
        (0..CONNECTIONS).map(play).collect()
    });
    played.expect("exchanges")
}

#[test]
fn without_the_shim_most_answers_are_cut_off() {
    netns::isolated(|| {
        let (exchanges, resets) = play_all(&Preload::None);
        let complete = exchanges.iter().filter(|exchange| exchange.all_complete()).count();
        assert!(complete < CONNECTIONS / 2, "{complete} of {CONNECTIONS} are complete");
        assert!(resets.abort_on_data as usize > CONNECTIONS / 2, "{resets:?}");
    });
}

#[test]
fn with_the_shim_every_answer_is_complete_and_ends_cleanly() {
    netns::isolated(|| {
        let (exchanges, resets) = play_all(&Preload::shim().expect("shim"));
        for exchange in exchanges {
            assert!(exchange.all_complete() && !exchange.saw_reset(), "{exchange:?}");
            assert_eq!(exchange.ending, Ending::CleanEof);
        }
        assert_eq!(resets, Counters::default());
    });
}
