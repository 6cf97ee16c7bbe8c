//! `make soak`: ten minutes, or `SOAK_S` seconds; half a minute among the other tests.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use linger_testbed::buggy::{Account, ACCOUNT};
use linger_testbed::dialogue::Dialogue;
use linger_testbed::server::{Preload, Program, Server};
use linger_testbed::soak::{self, describe, growth, Report, Sample};
use linger_testbed::{netns, pause, DEADLINE};

fn soak(program: &Program) -> (Server, u64) {
    let shim = Preload::shim().expect("shim");
    a_bare_server_loses_responses(program);
    let server = Server::start_with(program, &shim, &soak::SETTINGS).expect("server");
    soak::accustom(&server).expect("a first visit");
    let before = Sample::take(&server).expect("sample");
    let report = soak::run(&server, soak::duration()).expect("soak");
    let Report { connections, complete, gone, .. } = report;
    println!("{}: {connections} connections, {complete} responses whole, {gone} vanished", program.name());
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
    let after = Sample::after_all_have_gone(&server, &before).expect("sample");
    println!("{}: {before:?} before, {after:?} after", program.name());
    assert_eq!(after.differences(&before), Vec::<String>::new(), "when all have gone");
    assert!(after.drain_threads > before.drain_threads, "{after:?}");
    (server, report.complete)
}

/// So that the soak can fail: what it asks of the shim is not what the server does by itself.
fn a_bare_server_loses_responses(program: &Program) {
    const VISITS: usize = 5;
    let server = Server::start(program, &Preload::None).expect("server");
    let complaints = soak::complaints_of_late_speakers(&server, VISITS).expect("visits");
    println!("{}: {} of {VISITS} responses lost without the shim", program.name(), complaints.len());
    assert!(!complaints.is_empty(), "nothing is lost without the shim");
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
