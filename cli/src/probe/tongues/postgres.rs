//! PostgreSQL ("Frontend/Backend Protocol" in its manual, version 3).

use super::{printable, Heard, Saying};

#[cfg(test)]
pub(super) const REFUSAL: &[u8] = b"E\0\0\0\x24SFATAL\0C53300\0Msorry, too many\0\0";

/// A message to a client that has not logged in is no longer.
const LONGEST: usize = 30_000;

/// Version 3.0, and a name that says in the server's log who it was.
pub(super) fn opening() -> Saying {
    let content = b"\0\x03\0\0user\0linger_probe\0database\0linger_probe\0\0";
    let length = (content.len() + 4) as u32;
    Saying::new([&length.to_be_bytes()[..], content].concat(), "StartupMessage of user linger_probe")
}

pub(super) fn understand(bytes: &[u8]) -> Heard {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Heard::Incomplete;
    };
    if !matches!(kind, b'E' | b'R' | b'N' | b'v') {
        return Heard::Foreign;
    }
    let Some((length, _)) = rest.split_first_chunk::<4>() else {
        return Heard::Incomplete;
    };
    let length = u32::from_be_bytes(*length) as usize;
    if !(4..=LONGEST).contains(&length) {
        return Heard::Foreign;
    }
    let Some(content) = rest.get(4..length) else {
        return Heard::Incomplete;
    };
    let terminate = Saying::new(*b"X\0\0\0\x04", "Terminate");
    match kind {
        b'E' => Heard::Refused { text: words(content), reply: terminate },
        _ => Heard::Served { text: "asks to log in".to_owned(), goodbye: terminate },
    }
}

/// Severity and message of an ErrorResponse.
fn words(content: &[u8]) -> String {
    let field = |kind: u8| {
        let mut fields = content.split(|&byte| byte == 0);
        fields.find_map(|field| {
            field.split_first().filter(|(&it, _)| it == kind).map(|(_, text)| printable(text))
        })
    };
    format!("{}: {}", field(b'S').unwrap_or_default(), field(b'M').unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_refusal_are_found() {
        let Heard::Refused { text, .. } = understand(REFUSAL) else { panic!("no refusal") };
        assert_eq!(text, "FATAL: sorry, too many");
    }

    #[test]
    fn a_request_for_a_password_is_service() {
        let heard = understand(b"R\0\0\0\x08\0\0\0\x03");
        assert!(matches!(heard, Heard::Served { .. }), "{heard:?}");
    }
}
