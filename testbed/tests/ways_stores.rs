//! redis and memcached: event loops, with commands pipelined past the last answer, and one client too many.

use std::net::SocketAddr;

use anyhow::{ensure, Result};
use linger_testbed::client::RECEIVE_BUFFER;
use linger_testbed::dialogue::Dialogue;
use linger_testbed::netns::isolated;
use linger_testbed::proof::{
    answers_are_lost_without_the_shim, clients_are_reset_without_the_shim, everything_arrives_with_the_shim,
    Outcome,
};
use linger_testbed::scenario::LARGE;
use linger_testbed::specimens::{Specimen, MEMCACHED_CONNECTIONS};

const REDIS_REFUSAL: &[u8] = b"-ERR max number of clients reached\r\n";
const MEMCACHED_REFUSAL: &[u8] = b"ERROR Too many open connections\r\n";

/// A value that no receive queue of a client holds, and its end, by which it is known to be whole.
fn large_value() -> Vec<u8> {
    let mut value = vec![b'x'; LARGE as usize];
    value.extend(b"the end of the value");
    assert!(value.len() > 10 * RECEIVE_BUFFER);
    value
}

/// The one client that redis takes: it may still be getting rid of the one before.
fn become_the_client_of_redis(server: SocketAddr) -> Result<Dialogue> {
    loop {
        let mut client = Dialogue::open(server)?;
        client.say(b"PING\r\n");
        if client.hear(b"\r\n")? && client.heard() == b"+PONG\r\n" {
            return Ok(client);
        }
        client.leave()?;
    }
}

/// Says `commands`, the last of which ends the connection, and says more once it has been let go of.
fn pipeline_past_the_end(mut client: Dialogue, commands: &[u8], answer: &[u8]) -> Result<Outcome> {
    client.say(commands);
    client.wait_until_let_go()?;
    client.say(b"PING\r\n");
    Ok(Outcome::of(&client.hear_to_end(), answer))
}

fn read_a_large_value_from_redis(server: SocketAddr) -> Result<Outcome> {
    let value = large_value();
    let mut client = become_the_client_of_redis(server)?;
    client.say(format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${}\r\n", value.len()).as_bytes());
    client.say(&value);
    client.say(b"\r\n");
    ensure!(client.hear(b"+OK\r\n")?, "redis does not keep the value");
    pipeline_past_the_end(client, b"GET key\r\nQUIT\r\n", b"the end of the value\r\n+OK\r\n")
}

fn be_one_client_too_many_for_redis(server: SocketAddr) -> Result<Outcome> {
    let only_client = become_the_client_of_redis(server)?;
    let refused = pipeline_past_the_end(Dialogue::open(server)?, &b"PING\r\n".repeat(100), REDIS_REFUSAL)?;
    only_client.leave()?;
    Ok(refused)
}

fn read_a_large_value_from_memcached(server: SocketAddr) -> Result<Outcome> {
    let value = large_value();
    let mut client = Dialogue::open(server)?;
    client.say(format!("set key 0 0 {}\r\n", value.len()).as_bytes());
    client.say(&value);
    client.say(b"\r\n");
    ensure!(client.hear(b"STORED\r\n")?, "memcached does not keep the value");
    pipeline_past_the_end(client, b"get key\r\nquit\r\n", b"the end of the value\r\nEND\r\n")
}

fn be_one_client_too_many_for_memcached(server: SocketAddr) -> Result<Outcome> {
    let mut clients = Vec::new();
    // As many as there is room for, and not one more: that one is the subject.
    loop {
        let mut client = Dialogue::open(server)?;
        client.say(b"version\r\n");
        if !client.hear(b"VERSION")? {
            client.leave()?;
            break;
        }
        clients.push(client);
        ensure!(clients.len() <= MEMCACHED_CONNECTIONS, "memcached takes more clients than it was told to");
    }
    let refused = pipeline_past_the_end(Dialogue::open(server)?, b"", MEMCACHED_REFUSAL)?;
    for client in clients {
        client.leave()?;
    }
    Ok(refused)
}

#[test]
fn redis_loses_a_value_to_a_command_after_quit_without_the_shim() {
    isolated(|| answers_are_lost_without_the_shim(&Specimen::Redis.program(), read_a_large_value_from_redis));
}

#[test]
fn redis_loses_no_value_with_the_shim() {
    isolated(|| everything_arrives_with_the_shim(&Specimen::Redis.program(), read_a_large_value_from_redis));
}

#[test]
fn redis_resets_a_client_too_many_without_the_shim() {
    isolated(|| {
        clients_are_reset_without_the_shim(&Specimen::Redis.program(), be_one_client_too_many_for_redis)
    });
}

#[test]
fn redis_tells_a_client_too_many_so_with_the_shim() {
    isolated(|| {
        everything_arrives_with_the_shim(&Specimen::Redis.program(), be_one_client_too_many_for_redis)
    });
}

#[test]
fn memcached_loses_a_value_to_a_command_after_quit_without_the_shim() {
    isolated(|| {
        answers_are_lost_without_the_shim(&Specimen::Memcached.program(), read_a_large_value_from_memcached);
    });
}

#[test]
fn memcached_loses_no_value_with_the_shim() {
    isolated(|| {
        everything_arrives_with_the_shim(&Specimen::Memcached.program(), read_a_large_value_from_memcached);
    });
}

#[test]
fn memcached_resets_a_client_too_many_without_the_shim() {
    isolated(|| {
        clients_are_reset_without_the_shim(
            &Specimen::Memcached.program(),
            be_one_client_too_many_for_memcached,
        );
    });
}

#[test]
fn memcached_tells_a_client_too_many_so_with_the_shim() {
    isolated(|| {
        everything_arrives_with_the_shim(
            &Specimen::Memcached.program(),
            be_one_client_too_many_for_memcached,
        );
    });
}
