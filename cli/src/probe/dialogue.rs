//! The refusal scenario of other protocols than HTTP: greet, hear, speak once more, leave.

use std::time::Duration;

use super::answer::{Completeness, Framing};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::exchange::unanswered;
use super::observation::{Observation, Provocation};
use super::target::{Protocol, Target};
use super::tongues::{opening, understand, Heard};
use super::trouble::{Kind, Trouble};

/// No greeting has more messages.
const MOST_TURNS: usize = 8;

/// No greeting has more bytes.
const MOST_BYTES: usize = 64 * 1024;

/// Talks to a server of `target.protocol` as its clients do.
pub fn greet(endpoint: &Endpoint, target: &Target) -> Result<Observation, Trouble> {
    let mut connection = Connection::open(endpoint, None)?;
    if let Some(saying) = opening(target.protocol) {
        connection.say(&saying.bytes, saying.what);
    }
    let mut heard_bytes = Vec::new();
    let mut received = 0;
    let mut turn = 0;
    let (completeness, provocation, said) = loop {
        match understand(target.protocol, turn, &heard_bytes) {
            Heard::Foreign => return Err(foreign(endpoint, &heard_bytes)),
            Heard::Asked { text, length, reply } if turn < MOST_TURNS => {
                connection.heard(text);
                connection.say(&reply.bytes, reply.what);
                heard_bytes.drain(..length.min(heard_bytes.len()));
                turn += 1;
                continue;
            }
            Heard::Refused { text, reply } => {
                connection.heard(format!("refused: {text}"));
                connection.say(&reply.bytes, reply.what);
                connection.await_reaction();
                break (Completeness::Whole, Provocation::Worked, Some(text));
            }
            Heard::Served { text, goodbye } => {
                connection.heard(format!("served: {text}"));
                connection.say(&goodbye.bytes, goodbye.what);
                break (Completeness::Whole, Provocation::ServedInstead, Some(text));
            }
            Heard::Incomplete | Heard::Asked { .. } => {}
        }
        let nothing = received == 0 && turn == 0;
        if connection.exhausted || connection.is_overdue() || heard_bytes.len() > MOST_BYTES {
            if nothing && connection.reset.is_none() {
                let whose = &endpoint.authority;
                return Err(unanswered(whose, connection.exhausted, endpoint.timeout));
            }
            let completeness = if nothing { Completeness::Nothing } else { Completeness::PartOfHead };
            break (completeness, Provocation::Worked, None);
        }
        connection.wait(true, Duration::from_millis(50));
        let before = heard_bytes.len();
        connection.receive(&mut heard_bytes, MOST_BYTES);
        received += (heard_bytes.len() - before) as u64;
    };
    received += read_out(&mut connection);
    connection.leave();
    let mut observation = Observation::of(connection, completeness);
    observation.framing = (completeness == Completeness::Whole).then_some(Framing::Message);
    observation.provocation = provocation;
    observation.said = said;
    observation.received = received;
    observation.body = received;
    Ok(observation)
}

/// Reads until the server ends the connection, or is quiet.
fn read_out(connection: &mut Connection) -> u64 {
    let mut bytes = Vec::new();
    while !connection.exhausted && connection.stalled() < 4 * connection.quiet() && bytes.len() < MOST_BYTES {
        connection.wait(true, Duration::from_millis(50));
        connection.receive(&mut bytes, MOST_BYTES);
    }
    bytes.len() as u64
}

fn foreign(endpoint: &Endpoint, bytes: &[u8]) -> Trouble {
    let beginning = String::from_utf8_lossy(bytes.get(..40).unwrap_or(bytes)).into_owned();
    let line = format!(
        "{}: what it says is another protocol ({beginning:?}): name the right one with --protocol",
        endpoint.authority
    );
    Trouble::new(Kind::WrongProtocol, line)
}

/// Whether `protocol` is greeted rather than asked for something.
pub fn is_greeted(protocol: Protocol) -> bool {
    !matches!(protocol, Protocol::Http | Protocol::Tcp)
}
