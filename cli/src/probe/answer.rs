//! The first final HTTP answer on a connection: how much of it was promised, and how much arrived. Pure.
//!
//! **Invariant:** bodies are counted, never kept: a probe may be pointed at anything.

use serde::Serialize;

use super::chunks::Chunks;

/// A head that is longer is not waited for.
const LONGEST_HEAD: usize = 256 * 1024;
const MOST_HEADERS: usize = 256;

/// How the end of the answer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Content-Length, or a status that has no body.
    Length,
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Only by the end of the connection.
    UntilClose,
    /// A message of another protocol, which says its own length.
    Message,
}

/// How much of it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Not one byte.
    Nothing,
    /// The head is not complete.
    PartOfHead,
    /// Promised and not here; unknown for a chunked body.
    Short {
        /// Bytes of body.
        missing: Option<u64>,
    },
    /// All that was promised.
    Whole,
    /// Nothing in it tells.
    UntilClose,
}

/// What has arrived so far.
#[derive(Debug, Default)]
pub struct Answer {
    place: Place,
    head: Vec<u8>,
    received: u64,
    body: u64,
    /// Of the final answer: its head and what was promised with it.
    known: Option<Known>,
    surplus: u64,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Head,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    End,
    NotHttp,
}

#[derive(Debug, Clone)]
struct Known {
    status: u16,
    server: Option<String>,
    framing: Framing,
    total: Option<u64>,
}

impl Answer {
    /// Takes what arrived next.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        self.received += bytes.len() as u64;
        while !bytes.is_empty() {
            let used = match &mut self.place {
                Place::NotHttp => return,
                Place::End => {
                    self.surplus += bytes.len() as u64;
                    self.received -= bytes.len() as u64;
                    return;
                }
                Place::Head => self.feed_head(bytes),
                Place::UntilClose => {
                    self.body += bytes.len() as u64;
                    bytes.len()
                }
                Place::Length(left) => {
                    let taken = (*left).min(bytes.len() as u64);
                    *left -= taken;
                    self.body += taken;
                    taken as usize
                }
                Place::Chunked(chunks) => match chunks.feed(bytes) {
                    Ok(used) => {
                        self.body = chunks.content();
                        used
                    }
                    Err(_) => {
                        self.place = Place::NotHttp;
                        return;
                    }
                },
            };
            bytes = bytes.get(used..).unwrap_or_default();
            let ended = match &self.place {
                Place::Length(left) => *left == 0,
                Place::Chunked(chunks) => chunks.ended(),
                _ => false,
            };
            if ended {
                self.place = Place::End;
            }
        }
    }

    /// How many of the bytes belong to heads.
    fn feed_head(&mut self, bytes: &[u8]) -> usize {
        let before = self.head.len();
        self.head.extend(bytes);
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => {
                if self.head.len() > LONGEST_HEAD {
                    self.place = Place::NotHttp;
                }
                return bytes.len();
            }
            Err(_) => {
                self.place = Place::NotHttp;
                return bytes.len();
            }
        };
        let status = response.code.unwrap_or_default();
        // 100 Continue and its kin: the answer is still to come.
        if (100..200).contains(&status) && status != 101 {
            self.received = self.received.saturating_sub(length as u64);
        } else {
            let known = Known::of(status, response.headers, length as u64);
            self.place = known.place(length as u64);
            self.known = Some(known);
        }
        self.head.clear();
        length - before
    }

    /// How much of it is here.
    pub fn completeness(&self) -> Completeness {
        match &self.place {
            Place::Head if self.received == 0 => Completeness::Nothing,
            Place::Head => Completeness::PartOfHead,
            Place::Length(left) => Completeness::Short { missing: Some(*left) },
            Place::Chunked(_) => Completeness::Short { missing: None },
            // As in HTTP/0.9, which some servers fall back to for what they do not understand.
            Place::UntilClose | Place::NotHttp => Completeness::UntilClose,
            Place::End => Completeness::Whole,
        }
    }

    /// All that was promised is here.
    pub fn is_whole(&self) -> bool {
        matches!(self.place, Place::End)
    }

    /// It cannot be understood.
    pub fn is_not_http(&self) -> bool {
        matches!(self.place, Place::NotHttp)
    }

    /// Bytes of the answer, its head included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of its body, as content.
    pub fn body(&self) -> u64 {
        self.body
    }

    /// Bytes behind it: more answers.
    pub fn surplus(&self) -> u64 {
        self.surplus
    }

    /// Head and body together, where the head says so.
    pub fn total(&self) -> Option<u64> {
        self.known.as_ref()?.total
    }

    /// Of the final answer.
    pub fn status(&self) -> Option<u16> {
        Some(self.known.as_ref()?.status)
    }

    /// Its Server header, or what else names the server.
    pub fn server(&self) -> Option<&str> {
        self.known.as_ref()?.server.as_deref()
    }

    /// How its end is told.
    pub fn framing(&self) -> Option<Framing> {
        Some(self.known.as_ref()?.framing)
    }

    /// The beginning of what is not understood, for messages.
    pub fn beginning(&self) -> String {
        let shown: String = String::from_utf8_lossy(self.head.get(..40).unwrap_or(&self.head)).into();
        format!("{shown:?}")
    }
}

impl Known {
    fn of(status: u16, headers: &[httparse::Header<'_>], head: u64) -> Known {
        let all = |name: &str| {
            let name = name.to_owned();
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(&name))
                .filter_map(|header| std::str::from_utf8(header.value).ok())
        };
        let printable = |text: &str| text.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
        let chunked = all("transfer-encoding").any(|coding| coding.to_ascii_lowercase().contains("chunked"));
        let length = all("content-length").find_map(|length| length.trim().parse::<u64>().ok());
        let (framing, body) = match (status, chunked, length) {
            (101 | 204 | 304, _, _) => (Framing::Length, Some(0)),
            (_, true, _) => (Framing::Chunked, None),
            (_, false, Some(length)) => (Framing::Length, Some(length)),
            (_, false, None) => (Framing::UntilClose, None),
        };
        let server = all("server").chain(all("x-powered-by")).next().map(printable);
        Known { status, server, framing, total: body.map(|body| body.saturating_add(head)) }
    }

    fn place(&self, head: u64) -> Place {
        match (self.framing, self.total) {
            (Framing::Chunked, _) => Place::Chunked(Chunks::default()),
            (_, Some(total)) if total > head => Place::Length(total - head),
            (_, Some(_)) => Place::End,
            (_, None) => Place::UntilClose,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fed(bytes: &[u8], step: usize) -> Answer {
        let mut answer = Answer::default();
        bytes.chunks(step).for_each(|piece| answer.feed(piece));
        answer
    }

    #[test]
    fn every_framing_is_told_apart() {
        let whole = Completeness::Whole;
        let table: &[(&str, Completeness, Option<u16>, u64)] = &[
            ("", Completeness::Nothing, None, 0),
            ("HTTP/1.1 2", Completeness::PartOfHead, None, 0),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", whole, Some(200), 3),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na",
                Completeness::Short { missing: Some(2) },
                Some(200),
                1,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", whole, Some(200), 0),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", whole, Some(304), 0),
            ("HTTP/1.0 200 OK\r\n\r\nabc", Completeness::UntilClose, Some(200), 3),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                whole,
                Some(200),
                3,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 9\r\n\r\n3\r\nab",
                Completeness::Short { missing: None },
                Some(200),
                2,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 No\r\nContent-Length: 1\r\n\r\nx",
                whole,
                Some(413),
                1,
            ),
        ];
        for (text, completeness, status, body) in table {
            for step in [1, 7, 1000] {
                let answer = fed(text.as_bytes(), step);
                assert_eq!(answer.completeness(), *completeness, "{text:?} by {step}");
                assert_eq!((answer.status(), answer.body()), (*status, *body), "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn what_is_not_http_is_seen_at_once() {
        for text in ["SSH-2.0-OpenSSH_9.2\r\n", "-ERR unknown command\r\n", "220 mail ESMTP\r\n", "\0\0\0"] {
            let answer = fed(text.as_bytes(), 3);
            assert!(answer.is_not_http(), "{text:?}: {answer:?}");
            assert_eq!(answer.completeness(), Completeness::UntilClose);
        }
    }

    #[test]
    fn the_server_is_named_by_its_own_header_first() {
        let head = "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Length: 0\r\n";
        assert_eq!(fed(format!("{head}\r\n").as_bytes(), 9).server(), Some("Express"));
        assert_eq!(fed(format!("{head}Server: nginx\r\n\r\n").as_bytes(), 9).server(), Some("nginx"));
    }

    proptest! {
        #[test]
        fn nothing_is_counted_twice_or_not_at_all(
            body in 0usize..500, cut in 0usize..600, step in 1usize..100, behind in 0usize..50,
        ) {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n");
            let mut bytes = head.clone().into_bytes();
            bytes.extend(vec![b'x'; body]);
            let total = bytes.len();
            bytes.extend(vec![b'H'; behind]);
            bytes.truncate(cut);
            let answer = fed(&bytes, step);
            prop_assert_eq!(answer.received(), bytes.len().min(total) as u64);
            prop_assert_eq!(answer.surplus(), bytes.len().saturating_sub(total) as u64);
            prop_assert_eq!(answer.is_whole(), bytes.len() >= total);
            if bytes.len() >= head.len() {
                prop_assert_eq!(answer.total(), Some(total as u64));
            }
        }
    }
}
