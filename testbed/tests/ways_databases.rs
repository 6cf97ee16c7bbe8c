//! "Too many clients": MariaDB says so and closes, in a thread where signals with handlers are blocked; PostgreSQL says
//! so in a process of its own, which exits with the connection open.

use std::net::SocketAddr;

use anyhow::{ensure, Result};
use linger_testbed::dialogue::Dialogue;
use linger_testbed::netns::isolated;
use linger_testbed::postgres;
use linger_testbed::processes::Process;
use linger_testbed::proof::{clients_are_reset_without_the_shim, everything_arrives_with_the_shim, Outcome};
use linger_testbed::server::{Preload, Server};
use linger_testbed::specimens::{Specimen, HELD_BY_MARIADB, MARIADB_REFUSAL, POSTGRES_REFUSAL};

/// In MariaDB's greeting; it is not in the refusal.
const GREETING: &[u8] = b"mysql_native_password";

/// Far more queries than PostgreSQL reads at a time, in one segment: most of them are unread when it exits.
const PIPELINED_QUERIES: usize = 1000;

/// Fills MariaDB with clients that do not log in.
fn be_one_client_too_many_for_mariadb(server: SocketAddr) -> Result<Outcome> {
    let mut clients = Vec::new();
    while clients.len() < HELD_BY_MARIADB {
        let mut client = Dialogue::open(server)?;
        // Those of the last time may still be leaving.
        if client.hear(GREETING)? {
            clients.push(client);
        }
    }
    let mut one_more = Dialogue::open(server)?;
    // A client that does not wait to be greeted, as one with a pool's queue of commands.
    one_more.say(b"\x20\0\0\x01");
    one_more.wait_until_let_go()?;
    one_more.say(&[0; 32]);
    let refused = Outcome::of(&one_more.hear_to_end(), MARIADB_REFUSAL);
    for client in clients {
        client.leave()?;
    }
    Ok(refused)
}

fn be_one_client_too_many_for_postgres(server: SocketAddr) -> Result<Outcome> {
    let only_client = postgres::become_the_client(server)?;
    let mut one_more = Dialogue::open(server)?;
    one_more.say(&[postgres::startup(), postgres::query("SELECT 1").repeat(PIPELINED_QUERIES)].concat());
    one_more.wait_until_let_go()?;
    one_more.say(&postgres::query("SELECT 1"));
    let refused = Outcome::of(&one_more.hear_to_end(), POSTGRES_REFUSAL);
    only_client.leave()?;
    Ok(refused)
}

#[test]
fn mariadb_resets_a_client_too_many_without_the_shim() {
    isolated(|| {
        clients_are_reset_without_the_shim(&Specimen::MariaDb.program(), be_one_client_too_many_for_mariadb);
    });
}

#[test]
fn mariadb_tells_a_client_too_many_so_with_the_shim() {
    isolated(|| {
        everything_arrives_with_the_shim(&Specimen::MariaDb.program(), be_one_client_too_many_for_mariadb);
    });
}

#[test]
fn postgres_resets_a_client_too_many_without_the_shim() {
    isolated(|| {
        clients_are_reset_without_the_shim(
            &Specimen::PostgreSql.program(),
            be_one_client_too_many_for_postgres,
        );
    });
}

#[test]
fn postgres_tells_a_client_too_many_so_with_the_shim() {
    isolated(|| {
        everything_arrives_with_the_shim(
            &Specimen::PostgreSql.program(),
            be_one_client_too_many_for_postgres,
        );
    });
}

/// Its client has read everything and has said its last word: there is nothing to wait for, though there is time.
#[test]
fn a_process_of_postgres_with_nothing_to_lose_ends_at_once() {
    isolated(|| {
        let settings = [("LINGER_EXIT_MS", "600000"), ("LINGER_IDLE_MS", "600000")];
        let shim = Preload::shim().expect("shim");
        let server = Server::start(&Specimen::PostgreSql.with(&settings), &shim).expect("server");
        let outcome = leave_postgres_open(server.address());
        outcome.expect("the process ends while its client still holds the connection");
    });
}

fn leave_postgres_open(server: SocketAddr) -> Result<()> {
    let mut client = postgres::become_the_client(server)?;
    let process = Process::holding_alone("postgres", server, client.local())?;
    client.say(&postgres::TERMINATE);
    ensure!(process.ends()?, "it waits, though it has nothing to lose");
    client.leave()?;
    Ok(())
}
