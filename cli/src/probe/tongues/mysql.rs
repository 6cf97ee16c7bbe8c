//! MySQL and MariaDB ("Client/Server Protocol" in their manuals, version 10).
//!
//! The client logs in as a user who does not exist: a handshake that is broken off counts against the host
//! (`max_connect_errors`), a refused password does not.

use super::{printable, Heard, Saying};

#[cfg(test)]
pub(super) const REFUSAL: &[u8] = b"\x17\0\0\0\xff\x10\x04Too many connections";

/// A packet to a client that has not logged in is no longer.
const LONGEST: usize = 4096;

/// CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH
const CAPABILITIES: u32 = 0x0000_0200 | 0x0000_8000 | 0x0008_0000;

pub(super) fn understand(turn: usize, bytes: &[u8]) -> Heard {
    let Some((&[low, middle, high, sequence], rest)) = bytes.split_first_chunk::<4>() else {
        return Heard::Incomplete;
    };
    let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
    if !(1..=LONGEST).contains(&length) {
        return Heard::Foreign;
    }
    let Some(packet) = rest.get(..length) else {
        return Heard::Incomplete;
    };
    let quit = || Saying::new(*b"\x01\0\0\0\x01", "COM_QUIT");
    let asked = |text: &str, reply| Heard::Asked { text: text.to_owned(), length: length + 4, reply };
    match (packet.first(), turn) {
        (Some(0xff), _) => Heard::Refused { text: words(packet), reply: quit() },
        (Some(10), 0) => asked("the handshake", login(sequence)),
        (Some(0xfe), 1) => {
            asked("AuthSwitchRequest", Saying::new([0, 0, 0, sequence.wrapping_add(1)], "no password"))
        }
        (Some(0 | 1), 1..) => Heard::Served { text: "goes on with the login".to_owned(), goodbye: quit() },
        _ => Heard::Foreign,
    }
}

/// HandshakeResponse41.
fn login(sequence: u8) -> Saying {
    let mut content = CAPABILITIES.to_le_bytes().to_vec();
    content.extend(16_777_216_u32.to_le_bytes());
    // utf8mb4_general_ci
    content.push(45);
    content.extend([0; 23]);
    content.extend(b"linger_probe\0\0mysql_native_password\0");
    let [low, middle, high, _] = (content.len() as u32).to_le_bytes();
    let mut packet = vec![low, middle, high, sequence.wrapping_add(1)];
    packet.extend(content);
    Saying::new(packet, "login as linger_probe")
}

/// Error number and message, without the marker and state that come in between.
fn words(packet: &[u8]) -> String {
    let number =
        packet.get(1..3).map_or(0, |bytes| bytes.iter().rev().fold(0, |sum, &b| sum * 256 + u32::from(b)));
    let text = packet.get(3..).unwrap_or_default();
    let text = text.strip_prefix(b"#").map_or(text, |text| text.get(5..).unwrap_or_default());
    format!("error {number}: {}", printable(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_refusals_are_found() {
        for packet in [REFUSAL, b"\x1d\0\0\x01\xff\x10\x04#08004Too many connections"] {
            let Heard::Refused { text, .. } = understand(0, packet) else { panic!("no refusal: {packet:?}") };
            assert_eq!(text, "error 1040: Too many connections");
        }
    }

    #[test]
    fn the_handshake_is_answered_and_then_the_switch() {
        let heard = understand(0, b"\x05\0\0\0\x0a8.0\0");
        let Heard::Asked { length: 9, reply, .. } = heard else { panic!("{heard:?}") };
        assert_eq!(reply.bytes.len(), reply.bytes[0] as usize + 4);
        assert_eq!(reply.bytes[3], 1);
        let heard = understand(1, b"\x02\0\0\x02\xfex");
        assert!(matches!(heard, Heard::Asked { length: 6, .. }), "{heard:?}");
    }
}
