//! Why a server could not be tested.
//!
//! One line for people on stderr, one word for scripts in `error.kind` of `--json`; the words are documented in
//! linger-probe(1) and do not change.

use serde::Serialize;

/// The word for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The target is no URL and no HOST:PORT.
    BadUrl,
    /// `--timeout` is no duration.
    BadDuration,
    /// Another option, or two that do not go together.
    BadOption,
    /// The name does not resolve.
    UnknownHost,
    /// Nobody listens there.
    ConnectionRefused,
    /// No connection could be made for another reason.
    Unreachable,
    /// Connected, and then nothing came before the timeout.
    NeverAnswered,
    /// Connected, and the connection ended before a byte of an answer.
    ClosedUnanswered,
    /// What it said is not the protocol that it was asked in.
    WrongProtocol,
    /// The TLS handshake failed.
    Tls,
    /// The answer is larger than a probe should fetch.
    TooLarge,
    /// This machine refused something: no socket, no certificates.
    System,
}

/// A reason and its line, which says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// For scripts.
    pub kind: Kind,
    /// For people.
    pub message: String,
}

impl Trouble {
    /// `message` names what it is about and what to do instead.
    pub fn new(kind: Kind, message: impl Into<String>) -> Trouble {
        Trouble { kind, message: message.into() }
    }

    /// Something that this machine refused.
    pub fn system(what: &str, error: impl std::fmt::Display) -> Trouble {
        Trouble::new(Kind::System, format!("{what}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 12] = [
        Kind::BadUrl,
        Kind::BadDuration,
        Kind::BadOption,
        Kind::UnknownHost,
        Kind::ConnectionRefused,
        Kind::Unreachable,
        Kind::NeverAnswered,
        Kind::ClosedUnanswered,
        Kind::WrongProtocol,
        Kind::Tls,
        Kind::TooLarge,
        Kind::System,
    ];

    #[test]
    fn the_manual_has_every_word() {
        let manual = include_str!("../../../man/linger-probe.1.scd");
        for kind in KINDS {
            let word = serde_json::to_value(kind).expect("a word");
            let word = word.as_str().expect("a string");
            assert!(manual.contains(&format!("_{word}_")), "linger-probe(1) does not say {word}");
        }
    }
}
