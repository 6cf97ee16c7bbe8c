//! What has to be shown of every way to let go of a connection: lost without the shim, whole with it.

use std::net::SocketAddr;

use anyhow::Result;

use crate::client::{Client, Ending, Exchange};
use crate::counters::Counters;
use crate::dialogue::Heard;
use crate::scenario::{request, Scenario, LARGE, SMALL};
use crate::server::{Preload, Program, Server};
use crate::{processes, sockets};

/// How often each program is started with the shim and has to keep everything; a number, 3 if it is not set.
///
/// `WAYS_RUNS=20 make e2e` is the full proof.
pub const RUNS: &str = "WAYS_RUNS";

const USUAL_RUNS: usize = 3;

/// Connections to each start of a program: the first is where the shim itself starts.
const CONNECTIONS: usize = 2;

/// What one connection came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The client has every byte it was promised.
    pub whole: bool,
    /// The client saw ECONNRESET or EPIPE.
    pub reset: bool,
    /// The client saw the server's FIN.
    pub ended_cleanly: bool,
    /// For messages.
    pub detail: String,
}

impl From<Exchange> for Outcome {
    fn from(exchange: Exchange) -> Self {
        Self {
            whole: exchange.all_complete(),
            reset: exchange.saw_reset(),
            ended_cleanly: matches!(exchange.ending, Ending::CleanEof | Ending::Satisfied),
            detail: format!("{exchange:?}"),
        }
    }
}

impl Outcome {
    /// Of a client that was to hear `promised`.
    #[must_use]
    pub fn of(heard: &Heard, promised: &[u8]) -> Self {
        let last = heard.bytes.get(heard.bytes.len().saturating_sub(200)..).unwrap_or_default();
        Self {
            whole: heard.contains(promised),
            reset: heard.ending == Ending::Reset || heard.send_failed,
            ended_cleanly: heard.ending == Ending::CleanEof,
            detail: format!(
                "{:?} after {} bytes, send failed: {}, the last: {:?}",
                heard.ending,
                heard.bytes.len(),
                heard.send_failed,
                String::from_utf8_lossy(last)
            ),
        }
    }
}

/// The number of [`RUNS`].
///
/// # Panics
///
/// If it is not a number.
#[must_use]
pub fn runs() -> usize {
    match std::env::var(RUNS) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{RUNS}={text} is not a number")),
        Err(_) => USUAL_RUNS,
    }
}

/// Without the shim every connection loses bytes of its answer to a reset.
///
/// # Panics
///
/// If one does not, or cannot be played.
pub fn answers_are_lost_without_the_shim<O: Into<Outcome>>(
    program: &Program,
    play: impl Fn(SocketAddr) -> Result<O>,
) {
    for (outcome, resets) in play_bare(program, play) {
        assert!(!outcome.whole, "{}: the answer is whole: {outcome:?}, {resets:?}", program.name());
        assert!(resets.out_rsts > 0, "{}: {outcome:?}, {resets:?}", program.name());
    }
}

/// Without the shim a request in the middle of a last, large answer loses the client the rest of it.
///
/// Some programs half-close first, and a request between that and the close does no harm: here it comes after both.
///
/// # Panics
///
/// If the answer is whole, or cannot be asked for.
pub fn late_requests_cost_the_answer_without_the_shim(program: &Program) {
    answers_are_lost_without_the_shim(program, |server| {
        let mut client = Client::connect(server)?;
        client.send(request(LARGE, "close").as_bytes());
        client.hold_back_until_let_go()?;
        processes::wait_until_nobody_holds(server)?;
        client.send(request(SMALL, "close").as_bytes());
        client.read_to_end();
        Ok(client.finish(&Scenario::Late.promise()))
    });
}

/// Without the shim every connection ends in a reset. Its answer is small: it may be in the client's receive queue
/// by then, and be kept by a client that looks there.
///
/// # Panics
///
/// If one does not, or cannot be played.
pub fn clients_are_reset_without_the_shim<O: Into<Outcome>>(
    program: &Program,
    play: impl Fn(SocketAddr) -> Result<O>,
) {
    for (outcome, resets) in play_bare(program, play) {
        assert!(outcome.reset, "{}: no reset: {outcome:?}, {resets:?}", program.name());
        assert!(resets.out_rsts > 0, "{}: {outcome:?}, {resets:?}", program.name());
    }
}

/// With the shim every answer arrives whole, ends in a FIN, and the kernel counts no reset, [`runs`] times.
///
/// # Panics
///
/// If that is not so, or a connection cannot be played.
pub fn everything_arrives_with_the_shim<O: Into<Outcome>>(
    program: &Program,
    play: impl Fn(SocketAddr) -> Result<O>,
) {
    let shim = Preload::shim().expect("shim");
    for run in 1..=runs() {
        let server = Server::start(program, &shim).expect("server");
        for _ in 0..CONNECTIONS {
            let (outcome, resets) = play_once(&server, &play);
            let context = format!("{}, run {run}: {outcome:?}", program.name());
            assert!(outcome.whole && !outcome.reset && outcome.ended_cleanly, "{context}, {resets:?}");
            assert!(resets.nobody_was_reset(), "{context}, {resets:?}");
        }
    }
}

fn play_bare<O: Into<Outcome>>(
    program: &Program,
    play: impl Fn(SocketAddr) -> Result<O>,
) -> Vec<(Outcome, Counters)> {
    let server = Server::start(program, &Preload::None).expect("server");
    (0..CONNECTIONS).map(|_| play_once(&server, &play)).collect()
}

fn play_once<O: Into<Outcome>>(
    server: &Server,
    play: impl Fn(SocketAddr) -> Result<O>,
) -> (Outcome, Counters) {
    // The connection that was made to see whether it listens is not to be counted.
    sockets::settle(server.address().port()).expect("no connection is left");
    let (outcome, resets) = server.count_resets(play).expect("exchange");
    (outcome.into(), resets)
}

/// For every `name: Specimen::Variant` a module of two tests: [`Scenario::Late`] without the shim and with it.
#[macro_export]
macro_rules! late_answers {
    ($($name:ident: $specimen:expr,)+) => {$(
        mod $name {
            use linger_testbed::scenario::Scenario;
            use linger_testbed::specimens::Specimen;
            use linger_testbed::{netns, proof};

            #[test]
            fn loses_its_answer_without_the_shim() {
                netns::isolated(|| proof::late_requests_cost_the_answer_without_the_shim(&$specimen.program()));
            }

            #[test]
            fn loses_nothing_with_the_shim() {
                netns::isolated(|| {
                    let play = |server| Scenario::Late.play(server);
                    proof::everything_arrives_with_the_shim(&$specimen.program(), play);
                });
            }
        }
    )+};
}
