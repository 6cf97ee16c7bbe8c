//! The founding cases on links that take their time, lose packets and change their order: a response larger than the
//! client's window with requests unread at the close, a request that comes after it, to nginx as well, a
//! refused upload.
//!
//! The amounts are smaller than on loopback, because a window of 64 KiB takes its round trips; they are still larger
//! than that window.

use std::fs;
use std::time::Duration;

use linger_testbed::answers::Promise;
use linger_testbed::buggy;
use linger_testbed::client::{Client, Exchange, RECEIVE_BUFFER};
use linger_testbed::counters::Counters;
use linger_testbed::link::{Conditions, Link, Traffic};
use linger_testbed::netns::{self, Namespace};
use linger_testbed::pattern;
use linger_testbed::scenario::{request, REQUESTS_SERVED, SMALL};
use linger_testbed::server::{Preload, Program};

/// Far more than the client's window.
const RESPONSE: u64 = 5 * RECEIVE_BUFFER as u64;

/// Ten of them are [`RESPONSE`].
const PIPELINED: u64 = RESPONSE / REQUESTS_SERVED as u64;

/// More requests than the server's first few reads take in.
const PIPELINE: usize = 100;

/// Far more than is on its way when the refusal comes.
const UPLOAD: usize = 1_000_000;

/// So many links that lose packets are tried for a response that is lost without the shim.
const LINKS: u64 = 5;

/// From the seed of one of them to the next.
const OTHER_SEEDS: u64 = 100;

/// What happens on the link.
#[derive(Debug, Clone, Copy)]
enum Case {
    UnreadRequests,
    LateRequest,
    RefusedUpload,
    /// Its `lingering_close on` does not expect one.
    LateRequestToNginx,
}

impl Case {
    const ALL: [Case; 4] =
        [Case::UnreadRequests, Case::LateRequest, Case::RefusedUpload, Case::LateRequestToNginx];

    fn program(self) -> Program {
        match self {
            Case::LateRequestToNginx => Program::Nginx,
            _ => Program::buggy(env!("CARGO_BIN_EXE_buggy-server")),
        }
    }

    fn promise(self) -> Promise {
        match self {
            Case::UnreadRequests => Promise { answers: REQUESTS_SERVED, status: 200, body: PIPELINED },
            Case::LateRequest | Case::LateRequestToNginx => {
                Promise { answers: 1, status: 200, body: RESPONSE }
            }
            Case::RefusedUpload => Promise { answers: 1, status: 413, body: buggy::REFUSAL.len() as u64 },
        }
    }

    fn play(self, mut client: Client) -> anyhow::Result<Exchange> {
        match self {
            Case::UnreadRequests => {
                client.send(request(PIPELINED, "keep-alive").repeat(PIPELINE).as_bytes());
                client.hold_back_until_let_go()?;
                client.read_to_end();
            }
            Case::LateRequest | Case::LateRequestToNginx => {
                client.send(request(RESPONSE, "close").as_bytes());
                client.hold_back_until_let_go()?;
                client.send(request(SMALL, "keep-alive").as_bytes());
                client.read_to_end();
            }
            Case::RefusedUpload => {
                let head = format!("POST / HTTP/1.1\r\nHost: far\r\nContent-Length: {UPLOAD}\r\n\r\n");
                if client.send(head.as_bytes()) && client.send(&vec![b'x'; UPLOAD]) {
                    client.read_answers(1);
                } else {
                    client.give_up();
                }
            }
        }
        Ok(client.finish(&self.promise()))
    }
}

fn play(case: Case, conditions: Conditions, preload: &Preload) -> (Exchange, Counters, Traffic) {
    let link = Link::open(conditions).expect("link");
    let server = link.start(&case.program(), preload).expect("server");
    let document = server.directory().join("htdocs").join(RESPONSE.to_string());
    fs::write(document, pattern::bytes(RESPONSE)).expect("write");
    let played = link.count_resets(&server, |address| case.play(link.connect(address)?));
    let (exchange, resets) = played.expect("exchange");
    println!("{case:?} on {conditions:?}: {:?}, {resets:?}", link.traffic());
    (exchange, resets, link.traffic())
}

/// Every case in a namespace of its own, all at once: they mostly wait.
fn each_case(conditions: Conditions, play_one: impl Fn(Case, Conditions) -> Traffic + Sync) {
    let play_alone = |case: Case| {
        assert_eq!(netns::enter().expect("a namespace for each"), Namespace::Private);
        play_one(case, Conditions { seed: conditions.seed + case as u64, ..conditions })
    };
    let traffic: Vec<_> = std::thread::scope(|scope| {
        let playing = Case::ALL.map(|case| scope.spawn(move || play_alone(case)));
        playing.into_iter().map(|playing| playing.join().expect("see above")).collect()
    });
    links_were_as_asked(conditions, &traffic);
}

/// What was asked of the links happened to packets: a case that passes on a smooth link would prove nothing.
fn links_were_as_asked(conditions: Conditions, traffic: &[Traffic]) {
    let total = |count: fn(&Traffic) -> u64| traffic.iter().map(count).sum::<u64>();
    if conditions.loss_percent > 0.0 {
        assert!(total(|link| link.lost) > 0, "nothing was lost on {conditions:?}: {traffic:?}");
    }
    let reorders = conditions.reorder_percent > 0.0;
    assert_eq!(total(|link| link.overtaken) > 0, reorders, "overtaken on {conditions:?}: {traffic:?}");
}

/// The response, or what comes before it, is lost with a reset: on a smooth link at once. One that loses packets may lose the
/// late request, and by the time it is sent again the response has arrived; or the reset itself. Then another link is taken.
fn responses_are_lost_without_the_shim(conditions: Conditions) {
    let tries = if conditions.loss_percent > 0.0 { LINKS } else { 1 };
    each_case(conditions, |case, conditions| {
        for further in 0..tries {
            let conditions = Conditions { seed: conditions.seed + OTHER_SEEDS * further, ..conditions };
            let (exchange, resets, traffic) = play(case, conditions, &Preload::None);
            if !exchange.all_complete() && exchange.saw_reset() && resets.out_rsts > 0 {
                return traffic;
            }
            println!("{case:?} loses nothing, or sees no reset: {exchange:?}");
        }
        panic!("{case:?} loses nothing on {tries} links like {conditions:?}, see above");
    });
}

fn everything_arrives_with_the_shim(conditions: Conditions) {
    let preload = Preload::shim().expect("shim");
    each_case(conditions, |case, conditions| {
        let (exchange, resets, traffic) = play(case, conditions, &preload);
        assert!(exchange.all_complete() && !exchange.saw_reset(), "{case:?}: {exchange:?}");
        assert_eq!(resets, Counters::default(), "{case:?}");
        traffic
    });
}

/// For every `name: conditions` a module with a test without the shim and one with it.
macro_rules! links {
    ($($name:ident: $delay_ms:literal ms, $loss:literal % lost, $reorder:literal % overtaken;)+) => {$(
        mod $name {
            use super::*;

            const CONDITIONS: Conditions = Conditions {
                delay: Duration::from_millis($delay_ms),
                loss_percent: $loss,
                reorder_percent: $reorder,
                seed: 11,
            };

            #[test]
            fn loses_responses_without_the_shim() {
                netns::isolated(|| responses_are_lost_without_the_shim(CONDITIONS));
            }

            #[test]
            fn loses_nothing_with_the_shim() {
                netns::isolated(|| everything_arrives_with_the_shim(CONDITIONS));
            }
        }
    )+};
}

links! {
    next_door: 1 ms, 0.0 % lost, 0.0 % overtaken;
    across_the_country: 20 ms, 0.0 % lost, 5.0 % overtaken;
    across_the_ocean: 60 ms, 1.0 % lost, 2.0 % overtaken;
    bad_radio: 10 ms, 5.0 % lost, 1.0 % overtaken;
    satellite: 200 ms, 0.0 % lost, 0.0 % overtaken;
    noisy_radio_next_door: 1 ms, 5.0 % lost, 20.0 % overtaken;
    satellite_in_the_rain: 200 ms, 2.0 % lost, 5.0 % overtaken;
}
