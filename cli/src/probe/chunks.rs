//! Where a chunked body ends (RFC 9112 section 7.1). Pure; takes bytes as they come.

/// No size, extension or trailer line may be longer: beyond that it is not HTTP.
const LONGEST_LINE: usize = 16 * 1024;

/// The place in a chunked body.
#[derive(Debug, Default)]
pub struct Chunks {
    place: Place,
    line: Vec<u8>,
    content: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    Content(u64),
    LineAfterContent,
    Trailer,
    End,
}

/// The bytes are no chunked body.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Chunks {
    /// Takes what belongs to the body and says how many bytes that were: fewer than given once it has ended.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            match self.place {
                Place::End => break,
                Place::Content(left) => {
                    let taken = left.min(rest.len() as u64);
                    self.content += taken;
                    used += taken as usize;
                    self.place =
                        if taken == left { Place::LineAfterContent } else { Place::Content(left - taken) };
                }
                Place::Size | Place::LineAfterContent | Place::Trailer => {
                    let end = rest.iter().position(|&byte| byte == b'\n');
                    let piece = end.map_or(rest, |end| &rest[..=end]);
                    self.line.extend(piece);
                    used += piece.len();
                    if end.is_some() {
                        self.finish_line()?;
                    } else if self.line.len() > LONGEST_LINE {
                        return Err(Malformed);
                    }
                }
            }
        }
        Ok(used)
    }

    /// The last chunk and the trailer have been seen.
    pub fn ended(&self) -> bool {
        self.place == Place::End
    }

    /// Bytes of content so far, without sizes and line ends.
    pub fn content(&self) -> u64 {
        self.content
    }

    fn finish_line(&mut self) -> Result<(), Malformed> {
        let line = std::mem::take(&mut self.line);
        let blank = matches!(line.as_slice(), b"\r\n" | b"\n");
        self.place = match self.place {
            // An empty size is 0 to httparse.
            Place::Size if !line.first().is_some_and(u8::is_ascii_hexdigit) => return Err(Malformed),
            Place::Size => match httparse::parse_chunk_size(&line) {
                Ok(httparse::Status::Complete((_, 0))) => Place::Trailer,
                Ok(httparse::Status::Complete((_, size))) => Place::Content(size),
                _ => return Err(Malformed),
            },
            Place::LineAfterContent if blank => Place::Size,
            Place::LineAfterContent => return Err(Malformed),
            Place::Trailer if blank => Place::End,
            place => place,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(pieces: &[Vec<u8>], trailer: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            bytes.extend(format!("{:x};why=not\r\n", piece.len()).into_bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes.extend(if trailer { &b"0\r\nDigest: none\r\n\r\n"[..] } else { b"0\r\n\r\n" });
        bytes
    }

    proptest! {
        #[test]
        fn the_end_is_found_however_the_bytes_arrive(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            step in 1usize..40,
            trailer: bool,
        ) {
            let mut bytes = encode(&pieces, trailer);
            let length = bytes.len();
            bytes.extend(b"HTTP/1.1 200 OK\r\n");
            let mut chunks = Chunks::default();
            let mut used = 0;
            for piece in bytes.chunks(step) {
                used += chunks.feed(piece).expect("well-formed");
            }
            prop_assert!(chunks.ended());
            prop_assert_eq!(used, length);
            prop_assert_eq!(chunks.content(), pieces.iter().map(Vec::len).sum::<usize>() as u64);
        }

        #[test]
        fn a_body_cut_short_has_no_end(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
            cut in 1usize..400,
        ) {
            let bytes = encode(&pieces, true);
            let kept = bytes.len().saturating_sub(cut);
            let mut chunks = Chunks::default();
            chunks.feed(&bytes[..kept]).expect("well-formed");
            prop_assert!(!chunks.ended());
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Chunks::default().feed(&bytes);
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bytes in [&b"zz\r\n"[..], b"\r\n", b"1\r\nab\r\n"] {
            assert_eq!(Chunks::default().feed(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
