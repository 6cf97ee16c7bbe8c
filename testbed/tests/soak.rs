//! `make soak`: ten minutes, or `SOAK_S` seconds; half a minute among the other tests.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use linger_testbed::buggy::{Account, ACCOUNT};
use linger_testbed::dialogue::Dialogue;
use linger_testbed::server::{Preload, Program, Server};
use linger_testbed::soak::{self, describe, growth};
use linger_testbed::{netns, pause, DEADLINE};

fn soak(program: &Program) -> (Server, u64) {
    let shim = Preload::shim().expect("shim");
    let server = Server::start_with(program, &shim, &soak::SETTINGS).expect("server");
    let report = soak::run(&server, soak::duration()).expect("soak");
    println!("{}: {} connections, {} responses whole", program.name(), report.connections, report.complete);
    println!("{}: {}", program.name(), describe(&report.samples));
    let first: Vec<_> = report.complaints.iter().take(3).collect();
    assert!(
        first.is_empty(),
        "{} complaints, {} whole: {first:#?}",
        report.complaints.len(),
        report.complete
    );
    assert!(report.samples.iter().any(|sample| sample.lingering > 5.0), "nothing lingered");
    let grown = growth(&report.samples);
    assert!(grown.is_empty(), "{grown:#?}");
    (server, report.complete)
}

fn account(server: SocketAddr) -> Result<Account> {
    let mut dialogue = Dialogue::open(server)?;
    dialogue.say(format!("GET {ACCOUNT} HTTP/1.1\r\n\r\n").as_bytes());
    let heard = dialogue.hear_to_end();
    let text = String::from_utf8_lossy(&heard.bytes);
    let (_, body) = text.split_once("\r\n\r\n").with_context(|| format!("it says {text:?}"))?;
    Ok(serde_json::from_str(body)?)
}

/// Every connection that lingered has one outcome; those that had nothing to linger for, because the peer had reset
/// them before the close, have none; and whoever got a whole response has sent a FIN.
fn counters_add_up(server: SocketAddr, complete: u64) -> Result<()> {
    let started = Instant::now();
    loop {
        let account = account(server)?;
        let statistics = account.statistics.context("liblinger is not there")?;
        // What asks is the only one that may still linger.
        if statistics.pending <= 1 {
            println!("{account:?}");
            let accounted_for = statistics.ended() + statistics.pending;
            ensure!(accounted_for >= statistics.lingered, "some have no outcome: {account:?}");
            // The one that asks has been let go of, or is about to be.
            ensure!(accounted_for <= account.let_go + 1, "some have two outcomes: {account:?}");
            ensure!(statistics.fin >= complete, "{complete} whole responses: {account:?}");
            ensure!(statistics.timeout > 0 && statistics.reset > 0, "{account:?}");
            return Ok(());
        }
        ensure!(started.elapsed() < DEADLINE, "they do not end: {account:?}");
        pause(std::time::Duration::from_millis(50), "the server is asked, it does not tell");
    }
}

#[test]
fn nginx_does_not_grow_and_loses_nothing() {
    netns::isolated(|| drop(soak(&Program::Nginx)));
}

#[test]
fn a_server_with_threads_does_not_grow_and_its_counters_add_up() {
    netns::isolated(|| {
        let (server, complete) = soak(&Program::buggy(env!("CARGO_BIN_EXE_buggy-server")));
        counters_add_up(server.address(), complete).expect("counters");
    });
}
