//! The bodies that servers here answer with: any slice can be checked against where it should be.
//!
//! A shim that mixed up two descriptors would deliver the right number of wrong bytes.

/// Prime, so that the pattern never lines up with buffers and pages.
const PERIOD: u64 = 251;

/// The first `len` bytes of the pattern.
#[must_use]
pub fn bytes(len: u64) -> Vec<u8> {
    (0..len).map(byte_at).collect()
}

/// Whether `body` is what [`bytes`] would have given.
#[must_use]
pub fn is_intact(body: &[u8]) -> bool {
    (0u64..).zip(body).all(|(at, byte)| *byte == byte_at(at))
}

// Always below PERIOD, so it fits.
fn byte_at(at: u64) -> u8 {
    u8::try_from(at % PERIOD).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_intact() {
        assert!(is_intact(&bytes(1000)));
    }

    #[test]
    fn a_shifted_body_is_not_intact() {
        assert!(!is_intact(&bytes(1000)[1..]));
    }
}
