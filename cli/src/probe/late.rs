//! Bytes that arrive after the server's close: what does most of the damage.
//!
//! A client cannot see when a server calls close(): the FIN waits in the send queue behind the answer. So the client lets
//! its window fill and speaks up then; and if that cost nothing, once more on a new connection, near the end of the
//! answer, when the server must have written everything. Bytes that come before the close are no good: a server that
//! lingers only when it sees input would be taken for one that always does.

use super::answer::Answer;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::exchange::{read_to_end, LARGEST};
use super::observation::{Observation, Provocation};
use super::request;
use super::target::Target;
use super::timeline::in_bytes;
use super::trouble::Trouble;
use super::verdict::Reference;

/// Any send queue holds as much: a server that has so much left to send has written all of it.
const LEAST_SEND_QUEUE: u64 = 24 * 1024;

/// How often the client looks how far it is from the end.
const ROUNDS: usize = 3;

/// When the client speaks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As soon as the server can send no more.
    WindowFull,
    /// When little is left.
    NearTheEnd,
}

/// A GET with `Connection: close`, and one more request at that moment.
pub fn play(
    endpoint: &Endpoint,
    target: &Target,
    receive_buffer: usize,
    reference: Reference,
    moment: Moment,
) -> Result<Observation, Trouble> {
    let mut connection = Connection::open(endpoint, Some(receive_buffer))?;
    connection.say(&request::get(target), format!("GET {} (Connection: close)", target.path));
    connection.hold_back();
    let mut answer = Answer::default();
    if moment == Moment::NearTheEnd {
        approach_the_end(&mut connection, &mut answer, reference);
    }
    if connection.reset.is_none() && !connection.is_overdue() {
        connection.say(&request::another(target), format!("GET {}: late bytes", target.path));
        connection.await_reaction();
    }
    read_to_end(&mut connection, &mut answer, LARGEST);
    let provocation = if answer.surplus() > 0 { Provocation::KeptAlive } else { Provocation::Worked };
    if provocation == Provocation::Worked {
        connection.leave();
    }
    Ok(Observation::of_http(connection, &answer, provocation))
}

/// Reads until the server has about [`LEAST_SEND_QUEUE`] left to send, not counting what fits into the window.
fn approach_the_end(connection: &mut Connection, answer: &mut Answer, reference: Reference) {
    for _ in 0..ROUNDS {
        let goal = reference.received.saturating_sub(connection.unread() + LEAST_SEND_QUEUE);
        read_until(connection, answer, goal);
        let left = reference.received.saturating_sub(answer.received());
        connection.note(format!("{} are left to read", in_bytes(left)));
        connection.hold_back();
        // The window need not have filled as far as before.
        if left <= connection.unread() + 2 * LEAST_SEND_QUEUE
            || connection.exhausted
            || connection.is_overdue()
        {
            break;
        }
    }
}

fn read_until(connection: &mut Connection, answer: &mut Answer, goal: u64) {
    let mut piece = Vec::new();
    while answer.received() < goal && !connection.exhausted && !connection.is_overdue() {
        let wanted = (goal - answer.received()).min(64 * 1024);
        if connection.receive(&mut piece, wanted as usize) {
            answer.feed(&piece);
            piece.clear();
        } else {
            connection.wait(true, connection.quiet());
        }
        if answer.is_not_http() {
            return;
        }
    }
}
