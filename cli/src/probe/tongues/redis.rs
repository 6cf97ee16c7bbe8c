//! redis (its protocol specification, RESP).

use super::{printable, Heard, Saying};

#[cfg(test)]
pub(super) const REFUSAL: &[u8] = b"-ERR max number of clients reached\r\n";

/// The longest line that an answer to PING can be.
const LONGEST: usize = 4096;

pub(super) fn opening() -> Saying {
    Saying::new(*b"*1\r\n$4\r\nPING\r\n", "PING")
}

pub(super) fn understand(bytes: &[u8]) -> Heard {
    if !matches!(bytes.first(), Some(b'+' | b'-')) || bytes.len() > LONGEST {
        return Heard::Foreign;
    }
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return Heard::Incomplete;
    };
    let text = printable(bytes.get(..end).unwrap_or_default());
    // Of the errors only these are about the connection; -NOAUTH and -LOADING come from a server that goes on.
    if text.starts_with("-ERR") || text.starts_with("-DENIED") {
        Heard::Refused { text, reply: opening() }
    } else {
        Heard::Served { text, goodbye: Saying::new(*b"*1\r\n$4\r\nQUIT\r\n", "QUIT") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_answers() {
        for (text, refused) in [
            ("+PONG", false),
            ("-NOAUTH Authentication required.", false),
            ("-LOADING Redis is loading", false),
            ("-ERR max number of clients reached", true),
            ("-DENIED Redis is running in protected mode", true),
        ] {
            let heard = understand(format!("{text}\r\n").as_bytes());
            assert_eq!(matches!(heard, Heard::Refused { .. }), refused, "{text}: {heard:?}");
            assert_eq!(matches!(heard, Heard::Served { .. }), !refused, "{text}: {heard:?}");
        }
    }
}
