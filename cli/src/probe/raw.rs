//! The refusal scenario of a server whose protocol is not known: bytes of the caller's, and the same once more.

use std::time::Duration;

use super::answer::{Completeness, Framing};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::exchange::{unanswered, LARGEST};
use super::observation::Observation;
use super::timeline::in_bytes;
use super::trouble::{Kind, Trouble};

const PIECE: usize = 64 * 1024;

/// Says `data` and hears the server out. With a receive buffer it is no polite client: it waits without reading, and
/// says the same again. Of the answer it counts no more than `expected`: what comes then answers the second time.
pub fn play(
    endpoint: &Endpoint,
    data: &[u8],
    receive_buffer: Option<usize>,
    expected: Option<u64>,
) -> Result<Observation, Trouble> {
    let mut connection = Connection::open(endpoint, receive_buffer)?;
    connection.say(data, format!("{} of --data", in_bytes(data.len() as u64)));
    if receive_buffer.is_some() {
        connection.hold_back();
        if connection.reset.is_none() {
            connection.say(data, "the same again: late bytes");
            connection.await_reaction();
        }
    }
    let received = read_out(&mut connection);
    if received == 0 && connection.reset.is_none() {
        return Err(unanswered(&endpoint.authority, connection.exhausted, endpoint.timeout));
    }
    connection.leave();
    let completeness = if received == 0 { Completeness::Nothing } else { Completeness::UntilClose };
    let mut observation = Observation::of(connection, completeness);
    observation.received = expected.map_or(received, |expected| received.min(expected));
    observation.body = observation.received;
    observation.framing = Some(Framing::UntilClose);
    Ok(observation)
}

/// Reads until the connection ends, or the server has said something and is quiet.
fn read_out(connection: &mut Connection) -> u64 {
    let mut received = 0;
    let mut piece = Vec::new();
    while !connection.exhausted && !connection.is_overdue() && received < LARGEST {
        if received > 0 && connection.stalled() > 4 * connection.quiet() {
            break;
        }
        connection.wait(true, Duration::from_millis(50));
        connection.receive(&mut piece, PIECE);
        received += piece.len() as u64;
        piece.clear();
    }
    received
}

/// What `--data` means: `\\r`, `\\n`, `\\t`, `\\0`, `\\\\` and `\\xHH` stand for bytes.
pub fn unescape(text: &str) -> Result<Vec<u8>, Trouble> {
    let bad = || {
        let line = format!(
            "--data {text}: after a backslash comes r, n, t, 0, another backslash, or x and two digits"
        );
        Trouble::new(Kind::BadOption, line)
    };
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().ok_or_else(bad)? {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
                (high * 16 + low) as u8
            }
            _ => return Err(bad()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes() {
        let text = r"PING\r\n\0\t\xff\x0a\\é";
        assert_eq!(unescape(text).expect("bytes"), b"PING\r\n\0\t\xff\x0a\\\xc3\xa9");
        for wrong in [r"\", r"\q", r"\x", r"\x1", r"\xgg"] {
            assert_eq!(unescape(wrong).expect_err(wrong).kind, Kind::BadOption);
        }
    }
}
