//! The server closes with nothing unread; the client's next bytes come a little later.

use std::time::Duration;

use linger_testbed::answers::Promise;
use linger_testbed::client::{Client, Exchange};
use linger_testbed::counters::Counters;
use linger_testbed::scenario::{request, SMALL};
use linger_testbed::server::{Preload, Program, Server};
use linger_testbed::{netns, pause};

const ONE_SMALL_ANSWER: Promise = Promise { answers: 1, status: 200, body: SMALL };

/// Bytes that were under way when the server closed.
const IN_FLIGHT: Duration = Duration::from_millis(30);

/// A client that takes its time; the shim waits for up to five seconds of silence.
const SLOW_CLIENT: Duration = Duration::from_secs(1);

fn send_late(delay: Duration, preload: &Preload) -> (Exchange, Counters) {
    let program = Program::buggy(env!("CARGO_BIN_EXE_buggy-server"));
    let server = Server::start(&program, preload).expect("server");
    let played = server.count_resets(|address| {
        let mut client = Client::connect(address)?;
        client.send(request(SMALL, "close").as_bytes());
        client.hold_back_until_let_go()?;
        pause(delay, "what happens so long after the close is the subject");
        client.send(request(SMALL, "close").as_bytes());
        client.read_to_end();
        Ok(client.finish(&ONE_SMALL_ANSWER))
    });
    played.expect("exchange")
}

/// The answer is small and arrives all the same; that the client was reset shows here only.
fn is_reset((exchange, resets): (Exchange, Counters)) {
    assert!(exchange.saw_reset(), "{exchange:?}");
    assert_eq!(resets.out_rsts, 1, "{resets:?}");
    assert_eq!(resets.abort_on_close, 0, "nothing was unread: {resets:?}");
}

fn is_spared((exchange, resets): (Exchange, Counters)) {
    assert!(exchange.all_complete() && !exchange.saw_reset(), "{exchange:?}");
    assert_eq!(resets, Counters::default());
}

#[test]
fn bytes_30_ms_after_a_close_are_reset_without_the_shim() {
    netns::isolated(|| is_reset(send_late(IN_FLIGHT, &Preload::None)));
}

#[test]
fn bytes_30_ms_after_a_close_are_not_reset_with_the_shim() {
    netns::isolated(|| is_spared(send_late(IN_FLIGHT, &Preload::shim().expect("shim"))));
}

#[test]
fn bytes_one_second_after_a_close_are_reset_without_the_shim() {
    netns::isolated(|| is_reset(send_late(SLOW_CLIENT, &Preload::None)));
}

#[test]
fn bytes_one_second_after_a_close_are_not_reset_with_the_shim() {
    netns::isolated(|| is_spared(send_late(SLOW_CLIENT, &Preload::shim().expect("shim"))));
}
