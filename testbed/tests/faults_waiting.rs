//! The hooks never wait: a drain thread that sleeps for ever changes nothing for the program.

use linger_testbed::faults::exchange::{Behaviour, Got};
use linger_testbed::faults::launch;
use linger_testbed::faults::server::{Server, Start};
use linger_testbed::faults::session::RESPONSE;
use linger_testbed::settings::PATIENT;

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

/// More than any queue of the drain thread holds.
const MOST_CLOSES: usize = 30_000;

/// Where the drain thread sleeps for ever, from its beginning or once it has begun.
const STALLS: &[&str] = &["stall:1000000", "prctl:stall=1000000@*:thread", "recvmmsg:stall=1000000@*:thread"];

/// FIN leaves in the call.
const AT_ONCE: &[&str] =
    &["close", "shutdown", "dup2", "epoll", "syscall", "close_range", "fclose", "linger_close"];

/// Whether somebody else holds it is for the drain thread to find out.
const SEARCHED_FOR: &[&str] = &["duplicated", "fork", "exit", "sandbox"];

/// A call that waits for the thread, or for a client that is silent, waits for ten minutes; the test does not.
fn start(faults: &str) -> Server {
    let mut settings = PATIENT.to_vec();
    settings.extend([("LINGER_MAX_MS", "600000"), ("LINGER_LOG", "debug")]);
    // An exit that is not to wait.
    settings.push(("LINGER_EXIT_MS", "0"));
    let library = launch::library().expect("library");
    Server::start(Start { program: PROGRAM, library, faults, settings: &settings }).expect("start")
}

#[test]
fn the_hooks_do_not_wait_for_the_drain_thread() {
    for stall in STALLS {
        let mut server = start(stall);
        let mut clients = Vec::new();
        for way in AT_ONCE {
            clients.push((way, server.let_go(way, RESPONSE).expect(stall)));
        }
        server.wait_until_met().expect(stall);
        for way in SEARCHED_FOR.iter().chain(AT_ONCE) {
            let client = server.let_go(way, RESPONSE).expect(stall);
            if AT_ONCE.contains(way) {
                clients.push((way, client));
            }
        }
        // None of them was drained in the call, either: it waits in the channel, still open.
        for (way, client) in clients {
            let heard = client.hear(Behaviour::SpeaksLate).map(|(got, _)| got);
            assert_eq!(heard, Ok(Got::Everything), "{stall}, {way}");
        }
    }
}

#[test]
fn an_exit_that_is_not_to_wait_does_not_wait_for_the_drain_thread() {
    for stall in STALLS {
        let mut server = start(stall);
        let lingers = server.let_go("close", RESPONSE).expect(stall);
        server.wait_until_met().expect(stall);
        let kept = server.let_go("keep", RESPONSE).expect(stall);
        server.end().expect(stall);
        drop((lingers, kept));
    }
}

#[test]
fn closes_that_the_queue_has_no_room_for_do_not_wait_either() {
    let mut server = start("stall:1000000");
    let mut let_go = |way| server.let_go(way, 10).map(|_| server.errors()).expect("it comes back");
    let overflows = (0..MOST_CLOSES).find(|_| let_go("close").iter().any(|line| line.contains("at once")));
    let first = overflows.expect("the queue is full at last");
    assert!(first > 100, "only {first} connections were handed over first");
    for way in AT_ONCE.iter().chain(SEARCHED_FOR) {
        for _ in 0..10 {
            let_go(way);
        }
    }
    server.wait_until_met().expect("stall");
}
