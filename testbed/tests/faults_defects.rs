//! SECURITY.md, "What a defect of ours does": a panic in the place of a system call.

use std::path::PathBuf;
use std::time::Duration;

use linger_testbed::faults::cases::SETTINGS;
use linger_testbed::faults::exchange::{Behaviour, Got};
use linger_testbed::faults::launch;
use linger_testbed::faults::server::{Server, Start};
use linger_testbed::faults::session::RESPONSE;
use linger_testbed::pause;

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

fn start(library: PathBuf, faults: &str, further: &[(&str, &str)]) -> Server {
    let settings = [SETTINGS, further].concat();
    Server::start(Start { program: PROGRAM, library, faults, settings: &settings }).expect(faults)
}

const IN_THE_THREAD: &[&str] = &[
    "recvmmsg:PANIC@2:thread",
    "epoll_pwait:PANIC@3:thread",
    "epoll_ctl.1:PANIC@3:thread",
    "recvfrom:PANIC@2:thread",
    "close:PANIC@12:thread",
    "prctl:PANIC@1:thread",
];

fn a_panic_ends_that_thread_alone(library: fn() -> anyhow::Result<PathBuf>) {
    for panic in IN_THE_THREAD {
        let mut server = start(library().expect("library"), panic, &[]);
        let mut clients = Vec::new();
        for round in 0..20 {
            for way in ["close", "shutdown", "linger_close"] {
                clients.push((way, round, server.let_go(way, RESPONSE).expect(panic)));
            }
            // The thread has something to close.
            drop(server.let_go("close", RESPONSE).expect(panic));
            pause(Duration::from_millis(10), "the thread has its turn between two closes");
        }
        server.wait_until_met().expect(panic);
        let report = server.report().expect(panic);
        assert_eq!(report.complaints(), Vec::<String>::new(), "{panic}");
        assert!(
            report.held.threads.is_empty(),
            "{panic}: a drain thread is there: {:?}",
            report.held.threads
        );
        assert!(
            report.statistics.fallbacks > 0,
            "{panic}: the rest is drained inline: {:?}",
            report.statistics
        );
        // Only now, so that it was the end of the thread that ended them.
        for (way, round, client) in clients {
            let behaviour = [Behaviour::SpeaksLate, Behaviour::Behaves, Behaviour::Stays][round % 3];
            let (got, _) =
                client.hear(behaviour).unwrap_or_else(|what| panic!("{panic}, {way}, {behaviour:?}: {what}"));
            assert_eq!(got.worse_than_plain(behaviour), None, "{panic}, {way}, {behaviour:?}");
        }
        server.end().expect(panic);
    }
}

#[test]
fn a_panic_in_the_drain_thread_ends_that_thread_alone() {
    a_panic_ends_that_thread_alone(launch::library);
}

/// What is installed is built otherwise, and may end otherwise (`panic` in Cargo.toml).
#[test]
#[ignore = "make faults"]
fn a_panic_in_the_drain_thread_ends_that_thread_alone_in_a_release() {
    a_panic_ends_that_thread_alone(launch::released_library);
}

/// What linger_close(3) calls, in its caller's thread.
const IN_THE_CALLER: &[&str] = &["getsockopt.11", "getsockopt.13", "shutdown"];

/// What it calls where it makes the channel: who was making it is still taken to be at it, and nothing lingers.
const MAKING_THE_CHANNEL: &[&str] = &["socket"];

/// The boundary: EINVAL, and the number is still the program's.
fn a_panic_in_linger_close_is_an_error(library: fn() -> anyhow::Result<PathBuf>) {
    let linked = [("LINGER_PRELOAD", "0")];
    let idle = start(library().expect("library"), "", &linked);
    for call in IN_THE_CALLER.iter().chain(MAKING_THE_CHANNEL) {
        // Some are made before main.
        let panic = &*format!("{call}:PANIC@{}:caller", idle.calls(call) + 1);
        let mut server = start(library().expect("library"), panic, &linked);
        let client = server.let_go("defect", RESPONSE).expect(panic);
        server.wait_until_met().expect(panic);
        let (got, _) = client.hear(Behaviour::SpeaksLate).expect(panic);
        assert_eq!(got.worse_than_plain(Behaviour::SpeaksLate), None, "{panic}");
        // The engine is as before, as far as the defect lets it be.
        for _ in 0..3 {
            let (got, _) = server
                .let_go("linger_close", RESPONSE)
                .expect(panic)
                .hear(Behaviour::SpeaksLate)
                .expect(panic);
            assert_eq!(got.worse_than_plain(Behaviour::SpeaksLate), None, "{panic}");
            assert!(got == Got::Everything || MAKING_THE_CHANNEL.contains(call), "{panic}: {got:?}");
        }
        let report = server.report().expect(panic);
        assert_eq!(report.complaints(), Vec::<String>::new(), "{panic}");
        server.end().expect(panic);
    }
}

#[test]
fn a_panic_in_linger_close_is_an_error_of_the_call() {
    a_panic_in_linger_close_is_an_error(launch::library);
}

#[test]
#[ignore = "make faults"]
fn a_panic_in_linger_close_is_an_error_of_the_call_in_a_release() {
    a_panic_in_linger_close_is_an_error(launch::released_library);
}
