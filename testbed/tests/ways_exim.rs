//! exim closes the connection of a client too many with `fclose`, in the daemon.

use std::net::SocketAddr;

use anyhow::{ensure, Result};
use linger_testbed::dialogue::Dialogue;
use linger_testbed::netns::isolated;
use linger_testbed::proof::{clients_are_reset_without_the_shim, everything_arrives_with_the_shim, Outcome};
use linger_testbed::specimens::Specimen;

const REFUSAL: &[u8] = b"421 Too many concurrent SMTP connections; please try again later.\r\n";

fn become_the_client(server: SocketAddr) -> Result<Dialogue> {
    loop {
        let mut client = Dialogue::open(server)?;
        ensure!(client.hear(b"\r\n")?, "no greeting");
        if client.heard().starts_with(b"220 ") {
            return Ok(client);
        }
        client.leave()?;
    }
}

fn be_one_client_too_many(server: SocketAddr) -> Result<Outcome> {
    let mut only_client = become_the_client(server)?;
    let mut one_more = Dialogue::open(server)?;
    one_more.wait_until_let_go()?;
    one_more.say(b"EHLO localhost\r\n");
    let refused = Outcome::of(&one_more.hear_to_end(), REFUSAL);
    only_client.say(b"QUIT\r\n");
    ensure!(only_client.hear(b"221 ")?, "no farewell");
    only_client.leave()?;
    Ok(refused)
}

#[test]
fn exim_resets_a_client_too_many_without_the_shim() {
    isolated(|| clients_are_reset_without_the_shim(&Specimen::Exim.program(), be_one_client_too_many));
}

#[test]
fn exim_tells_a_client_too_many_so_with_the_shim() {
    isolated(|| everything_arrives_with_the_shim(&Specimen::Exim.program(), be_one_client_too_many));
}
