//! What is said to servers that are not HTTP's, and what their answers mean. Pure.
//!
//! Each tongue greets, learns whether it is served or refused, and takes its leave as its protocol wants it. What is
//! said after a refusal arrives at a server that has closed: that is the test.

mod mysql;
mod postgres;
mod redis;
mod smtp;

use super::target::Protocol;

/// What a client says next, and its line in the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// On the wire.
    pub bytes: Vec<u8>,
    /// In the timeline.
    pub what: &'static str,
}

impl Saying {
    fn new(bytes: impl Into<Vec<u8>>, what: &'static str) -> Saying {
        Saying { bytes: bytes.into(), what }
    }
}

/// What has been heard so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Not yet a whole message.
    Incomplete,
    /// A whole message, of so many bytes: the conversation goes on.
    Asked {
        /// For the timeline.
        text: String,
        /// Of the message.
        length: usize,
        /// The reply.
        reply: Saying,
    },
    /// The server will have nothing to do with the client.
    Refused {
        /// Its words.
        text: String,
        /// What such a client says all the same.
        reply: Saying,
    },
    /// The server is ready to serve the client.
    Served {
        /// Its words.
        text: String,
        /// The client's leave.
        goodbye: Saying,
    },
    /// This is another protocol.
    Foreign,
}

/// What a client of `protocol` says first, unless the server has to.
pub fn opening(protocol: Protocol) -> Option<Saying> {
    match protocol {
        Protocol::Redis => Some(redis::opening()),
        Protocol::Postgres => Some(postgres::opening()),
        Protocol::Http | Protocol::Mysql | Protocol::Smtp | Protocol::Tcp => None,
    }
}

/// What `bytes` mean; `turn` counts the messages before.
pub fn understand(protocol: Protocol, turn: usize, bytes: &[u8]) -> Heard {
    if bytes.is_empty() {
        return Heard::Incomplete;
    }
    match protocol {
        Protocol::Redis => redis::understand(bytes),
        Protocol::Postgres => postgres::understand(bytes),
        Protocol::Mysql => mysql::understand(turn, bytes),
        Protocol::Smtp => smtp::understand(turn, bytes),
        Protocol::Http | Protocol::Tcp => Heard::Foreign,
    }
}

/// Text of a server's, fit for a terminal and a line.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TONGUES: [Protocol; 4] = [Protocol::Redis, Protocol::Postgres, Protocol::Mysql, Protocol::Smtp];

    proptest! {
        #[test]
        fn nothing_a_server_says_makes_it_panic(
            which in 0usize..4, turn in 0usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let _ = understand(TONGUES[which], turn, &bytes);
        }

        #[test]
        fn what_is_heard_of_a_beginning_is_incomplete_or_the_same(
            cut in 0usize..200, which in 0usize..4,
        ) {
            let (protocol, message) = [
                (Protocol::Redis, redis::REFUSAL),
                (Protocol::Postgres, postgres::REFUSAL),
                (Protocol::Mysql, mysql::REFUSAL),
                (Protocol::Smtp, smtp::REFUSAL),
            ][which];
            let kept = &message[..cut.min(message.len())];
            let heard = understand(protocol, 0, kept);
            if kept.len() < message.len() {
                prop_assert_eq!(heard, Heard::Incomplete);
            } else {
                prop_assert!(matches!(heard, Heard::Refused { .. }), "{:?}", heard);
            }
        }
    }

    #[test]
    fn http_is_foreign_to_all() {
        for protocol in TONGUES {
            assert_eq!(
                understand(protocol, 0, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
                Heard::Foreign,
                "{protocol:?}"
            );
        }
    }
}
