//! SMTP (RFC 5321).

use super::{printable, Heard, Saying};

#[cfg(test)]
pub(super) const REFUSAL: &[u8] = b"421 too many connections\r\n";

/// A reply is no longer.
const LONGEST: usize = 16 * 1024;

pub(super) fn understand(turn: usize, bytes: &[u8]) -> Heard {
    let code = bytes.get(..3.min(bytes.len())).unwrap_or_default();
    if !code.iter().all(u8::is_ascii_digit) || bytes.len() > LONGEST {
        return Heard::Foreign;
    }
    let Some((length, last)) = reply(bytes) else {
        return Heard::Incomplete;
    };
    let text = printable(last);
    let quit = || Saying::new(*b"QUIT\r\n", "QUIT");
    match (code.first(), turn) {
        (Some(b'4' | b'5'), _) => Heard::Refused { text, reply: quit() },
        (Some(b'2'), 0) => {
            let reply = Saying::new(*b"EHLO linger-probe.invalid\r\n", "EHLO linger-probe.invalid");
            Heard::Asked { text, length, reply }
        }
        (Some(b'2'), _) => Heard::Served { text, goodbye: quit() },
        _ => Heard::Foreign,
    }
}

/// The length of a whole reply, and its last line: the first that has no hyphen after its code.
fn reply(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        length += line.len();
        if line.ends_with(b"\n") && line.get(3) != Some(&b'-') {
            return Some((length, line));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_several_lines_are_heard_out() {
        assert_eq!(understand(1, b"250-mail\r\n250-SIZE\r\n"), Heard::Incomplete);
        let heard = understand(1, b"250-mail\r\n250 SIZE\r\n");
        assert!(matches!(&heard, Heard::Served { text, .. } if text == "250 SIZE"), "{heard:?}");
    }

    #[test]
    fn the_greeting_is_answered() {
        let heard = understand(0, b"220 mail ESMTP\r\n");
        assert!(matches!(heard, Heard::Asked { length: 16, .. }), "{heard:?}");
    }
}
