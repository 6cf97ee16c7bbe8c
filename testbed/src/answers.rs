//! What a client makes of the bytes it received: which answers are whole, and what the others lack.

use serde::Serialize;

use crate::pattern;

/// What a client was promised by what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// How many answers the server gives before it lets go.
    pub answers: usize,
    /// The status they have.
    pub status: u16,
    /// The length of each body, to say what is missing of an answer whose head never came.
    pub body: u64,
}

/// One answer, or what there is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The status, if the head arrived.
    pub status: Option<u16>,
    /// How many bytes of the body did not arrive.
    pub missing: u64,
    /// Whether what did arrive of the body is what was sent.
    pub intact: bool,
}

impl Answer {
    /// An answer of which nothing came.
    #[must_use]
    pub fn lost(body: u64) -> Self {
        Self { status: None, missing: body, intact: true }
    }

    /// Head and body are here, and right.
    #[must_use]
    pub fn is_complete(&self, status: u16) -> bool {
        self.status == Some(status) && self.missing == 0 && self.intact
    }
}

/// Takes a stream of pipelined HTTP/1.1 answers with `Content-Length` apart.
///
/// Only bodies of status 200 are checked against [`pattern`]; error pages are the server's own.
#[must_use]
pub fn parse(mut stream: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = split_head(stream) {
        let length = head.length.min(rest.len());
        let (body, next) = rest.split_at(length);
        answers.push(Answer {
            status: Some(head.status),
            missing: (head.length - length) as u64,
            intact: head.status != 200 || pattern::is_intact(body),
        });
        stream = next;
    }
    answers
}

/// The answers that were promised, in order, the missing ones filled in.
#[must_use]
pub fn against(promise: &Promise, stream: &[u8]) -> Vec<Answer> {
    let mut answers = parse(stream);
    while answers.len() < promise.answers {
        answers.push(Answer::lost(promise.body));
    }
    answers
}

struct Head {
    status: u16,
    length: usize,
}

fn split_head(stream: &[u8]) -> Option<(Head, &[u8])> {
    let end = stream.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = stream.split_at(end + 4);
    let head = std::str::from_utf8(head).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse().ok()).flatten()
    });
    let head = Head { status: status.trim().parse().ok()?, length: length.unwrap_or(0) };
    Some((head, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Promise = Promise { answers: 3, status: 200, body: 10 };

    fn stream(bodies: &[u64]) -> Vec<u8> {
        let mut stream = Vec::new();
        for length in bodies {
            stream.extend(format!("HTTP/1.1 200 OK\r\nContent-length: {length}\r\n\r\n").bytes());
            stream.extend(pattern::bytes(*length));
        }
        stream
    }

    #[test]
    fn whole_answers_are_complete() {
        let answers = against(&TEN, &stream(&[10, 0, 300]));
        assert!(answers.iter().all(|answer| answer.is_complete(200)));
        assert_eq!(answers.len(), 3);
    }

    #[test]
    fn a_cut_answer_lacks_its_tail_and_those_after_it_everything() {
        let stream = stream(&[10, 10]);
        let answers = against(&TEN, &stream[..stream.len() - 4]);
        let missing: Vec<u64> = answers.iter().map(|answer| answer.missing).collect();
        assert_eq!(missing, [0, 4, 10]);
    }

    #[test]
    fn an_answer_cut_in_its_head_is_lost() {
        let stream = stream(&[10]);
        assert_eq!(against(&TEN, &stream[..20])[0], Answer::lost(10));
    }

    #[test]
    fn other_bytes_than_were_sent_are_noticed() {
        let mut stream = stream(&[10]);
        *stream.last_mut().expect("not empty") ^= 1;
        assert!(!parse(&stream)[0].is_complete(200));
    }
}
