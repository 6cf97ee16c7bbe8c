//! `linger probe` against servers that turn a client away: redis, PostgreSQL, MariaDB, exim.

mod probing;

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Result;
use linger_testbed::dialogue::Dialogue;
use linger_testbed::netns::isolated;
use linger_testbed::postgres;
use linger_testbed::server::{Preload, Program, Server};
use linger_testbed::specimens::{Specimen, HELD_BY_MARIADB};
use linger_testbed::DEADLINE;
use probing::probe;

/// Probes a server that has all the clients it takes, without the shim and with it.
fn refuse(program: &Program, protocol: &str, fill: fn(SocketAddr) -> Result<Vec<Dialogue>>, said: &str) {
    for preload in [Preload::None, Preload::shim().expect("shim")] {
        let server = Server::start(program, &preload).expect("server");
        let held = fill(server.address()).expect("clients");
        let probed = probe(&[&format!("{protocol}://{}", server.address())]);
        let results = probed.scenario("refusal")["results"].clone();
        assert_eq!(results[0]["said"], said, "{probed:?}");
        assert_eq!(results[0]["provocation"], "worked", "{probed:?}");
        if preload.is_shim() {
            probed.assert_clean();
        } else {
            assert_eq!(probed.code, 1, "{probed:?}");
            assert_eq!(probed.scenario("refusal")["complete"], 0, "{probed:?}");
        }
        drop(held);
    }
}

/// Clients until the server greets as many as it takes: it may still be getting rid of those before.
fn hold(server: SocketAddr, count: usize, say: &[u8], greeting: &[u8]) -> Result<Vec<Dialogue>> {
    let mut held = Vec::new();
    while held.len() < count {
        let mut client = Dialogue::open(server)?;
        client.say(say);
        if client.hear(greeting)? {
            held.push(client);
        }
    }
    Ok(held)
}

/// Probes until the server has noticed that its only client, which only saw that it listens, is gone.
fn assert_served(program: &Program, protocol: &str) {
    let server = Server::start(program, &Preload::shim().expect("shim")).expect("server");
    let started = Instant::now();
    loop {
        let probed = probe(&[&format!("{protocol}://{}", server.address()), "--repeat", "1"]);
        if probed.scenario("refusal")["results"][0]["provocation"] == "served_instead" {
            probed.assert_clean();
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{probed:?}");
    }
}

#[test]
fn redis_that_is_full() {
    isolated(|| {
        let fill = |server| hold(server, 1, b"PING\r\n", b"+PONG\r\n");
        refuse(&Specimen::Redis.program(), "redis", fill, "-ERR max number of clients reached");
    });
}

/// Its process exits, and the shim lets it where everything was acknowledged: what the client says then is answered by
/// a reset, though nothing is lost.
#[test]
fn postgresql_that_is_full() {
    isolated(|| {
        for preload in [Preload::None, Preload::shim().expect("shim")] {
            let server = Server::start(&Specimen::PostgreSql.program(), &preload).expect("server");
            let only_client = postgres::become_the_client(server.address()).expect("a client");
            let probed = probe(&[&format!("postgres://{}", server.address())]);
            let refusal = probed.scenario("refusal");
            assert_eq!(refusal["results"][0]["said"], "FATAL: sorry, too many clients already", "{probed:?}");
            assert_eq!(refusal["lost"], 0, "{probed:?}");
            if preload == Preload::None {
                assert_eq!((probed.code, &refusal["complete"]), (1, &0.into()), "{probed:?}");
            }
            only_client.leave().expect("leave");
        }
    });
}

/// And before that, what it says to a user whom it does not know.
#[test]
fn mariadb_that_is_full() {
    isolated(|| {
        let fill = |server| {
            let probed = probe(&[&format!("mysql://{server}"), "--repeat", "1"]);
            let said = probed.scenario("refusal")["results"][0]["said"].clone();
            let words = said.as_str().unwrap_or_default();
            assert!(words.starts_with("error 1045: Access denied for user 'linger_probe'"), "{probed:?}");
            hold(server, HELD_BY_MARIADB, b"", b"mysql_native_password")
        };
        refuse(&Specimen::MariaDb.program(), "mysql", fill, "error 1040: Too many connections");
    });
}

#[test]
fn exim_that_is_full() {
    isolated(|| {
        let fill = |server| hold(server, 1, b"", b"220 ");
        let said = "421 Too many concurrent SMTP connections; please try again later.";
        refuse(&Specimen::Exim.program(), "smtp", fill, said);
    });
}

#[test]
fn a_server_that_has_room_is_not_accused() {
    isolated(|| {
        assert_served(&Specimen::Redis.program(), "redis");
        assert_served(&Specimen::Exim.program(), "smtp");
    });
}

#[test]
fn another_protocol_than_that_of_the_url() {
    isolated(|| {
        let exim = Server::start(&Specimen::Exim.program(), &Preload::None).expect("exim");
        probe(&[&format!("http://{}", exim.address())]).assert_trouble("wrong_protocol");
        probe(&[&format!("redis://{}", exim.address())]).assert_trouble("wrong_protocol");
    });
}

#[test]
fn raw_bytes_are_compared_with_what_a_polite_client_gets() {
    isolated(|| {
        let bare = Server::start(&probing::buggy(), &Preload::None).expect("server");
        let data = r"GET /3000000 HTTP/1.0\r\nConnection: close\r\n\r\n";
        let url = |server: &Server| format!("tcp://{}", server.address());
        let probed = probe(&[&url(&bare), "--data", data]);
        assert_eq!(probed.code, 1, "{probed:?}");
        assert!(probed.scenario("refusal")["lost"].as_u64() > Some(0), "{probed:?}");
        let shimmed = Server::start(&probing::buggy(), &Preload::shim().expect("shim")).expect("server");
        probe(&[&url(&shimmed), "--data", data]).assert_clean();
    });
}
