//! How an HTTP answer is read off a connection, and how the connection is brought to its end.

use std::time::{Duration, Instant};

use super::answer::Answer;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::observation::{Observation, Provocation};
use super::request;
use super::target::Target;
use super::trouble::{Kind, Trouble};

/// A probe fetches no more of an answer than this.
pub const LARGEST: u64 = 64 * 1024 * 1024;

const PIECE: usize = 64 * 1024;

/// How long a server that has answered, and neither ends the connection nor takes more input, is watched.
const STUCK: Duration = Duration::from_secs(2);

/// One request, all of the answer, then the end: what a server must be able to do for anything to be tested.
pub fn be_polite(endpoint: &Endpoint, target: &Target) -> Result<Observation, Trouble> {
    let mut connection = Connection::open(endpoint, None)?;
    connection.say(&request::get(target), format!("GET {} (Connection: close)", target.path));
    let mut answer = Answer::default();
    read_to_end(&mut connection, &mut answer, LARGEST);
    let whose = &endpoint.authority;
    if answer.is_not_http() {
        let line = format!(
            "{whose}: what it says is not HTTP ({}): name what it speaks with --protocol",
            answer.beginning()
        );
        return Err(Trouble::new(Kind::WrongProtocol, line));
    }
    if answer.total().unwrap_or(answer.received()) > LARGEST {
        let line = format!("{whose}: the answer is larger than 64 MiB: name a smaller file");
        return Err(Trouble::new(Kind::TooLarge, line));
    }
    if answer.received() == 0 {
        return Err(unanswered(whose, connection.reset.is_some() || connection.exhausted, endpoint.timeout));
    }
    connection.leave();
    Ok(Observation::of_http(connection, &answer, Provocation::Worked))
}

/// What to say of a server from which nothing came.
pub fn unanswered(whose: &str, ended: bool, timeout: Duration) -> Trouble {
    if ended {
        let line = format!("{whose}: it ends the connection without an answer: check what it speaks");
        Trouble::new(Kind::ClosedUnanswered, line)
    } else {
        let seconds = humantime::format_duration(timeout);
        let line = format!(
            "{whose}: no answer within {seconds}: give it longer with --timeout, or check the server"
        );
        Trouble::new(Kind::NeverAnswered, line)
    }
}

/// Reads until the connection ends, or the first answer is whole and the server is not going to end it. Sends meanwhile
/// what is left to send. Gives up when the connection is overdue.
pub fn read_to_end(connection: &mut Connection, answer: &mut Answer, at_most: u64) {
    let mut piece = Vec::new();
    let mut idle = Instant::now();
    loop {
        connection.flush();
        if connection.receive(&mut piece, PIECE) {
            answer.feed(&piece);
            piece.clear();
            idle = Instant::now();
        }
        let answered = answer.is_whole();
        if answer.surplus() > 0 || answer.received() > at_most {
            return;
        }
        if connection.exhausted && (connection.reset.is_some() || !connection.is_sending()) {
            return;
        }
        // It has everything, we have everything: whether it also closes is its own affair.
        let settled = answered && !connection.is_sending() && idle.elapsed() > 2 * connection.quiet();
        // It has answered, in HTTP or not, and does no more.
        let stuck =
            (answered || answer.is_not_http() || connection.exhausted) && connection.stalled() > STUCK;
        if settled || stuck {
            return;
        }
        if connection.is_overdue() {
            return;
        }
        connection.wait(true, Duration::from_millis(50));
    }
}
