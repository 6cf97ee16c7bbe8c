//! The scenarios that send more than the server wants: a pipeline behind `Connection: close`, an upload, a large head.
//!
//! The client sends as fast as it can and reads nothing until the server has done all it can, so that what a reset costs
//! is still in the server's send queue.

use super::answer::Answer;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::exchange::{read_to_end, LARGEST};
use super::observation::{Observation, Provocation};
use super::request;
use super::target::Target;
use super::timeline::{grouped, in_bytes};
use super::trouble::Trouble;

/// A GET with `Connection: close`, and many more behind it.
pub fn pipeline(endpoint: &Endpoint, target: &Target, receive_buffer: usize) -> Result<Observation, Trouble> {
    let mut connection = Connection::open(endpoint, Some(receive_buffer))?;
    let more = grouped(request::PIPELINED as u64);
    connection.announce(format!("GET {} (Connection: close) + {more} more requests", target.path));
    connection.pour(&[request::get(target), request::many_more(target)].concat(), "requests");
    let mut answer = Answer::default();
    finish(&mut connection, &mut answer);
    let provocation = if answer.surplus() > 0 { Provocation::KeptAlive } else { Provocation::Worked };
    if provocation == Provocation::KeptAlive {
        connection.note("the server goes on after Connection: close; the client stops here");
    } else {
        connection.leave();
    }
    Ok(Observation::of_http(connection, &answer, provocation))
}

/// A POST of `size` bytes, which the server may refuse before it has read them.
pub fn upload(
    endpoint: &Endpoint,
    target: &Target,
    receive_buffer: usize,
    size: usize,
) -> Result<Observation, Trouble> {
    let mut connection = Connection::open(endpoint, Some(receive_buffer))?;
    let what = format!("POST {} ({})", target.path, in_bytes(size as u64));
    connection.announce(what);
    let mut request = request::post(target, size);
    request.resize(request.len() + size, b'x');
    connection.pour(&request, "request");
    end_refused(connection)
}

/// A GET with a head that is too large for most.
pub fn oversize(endpoint: &Endpoint, target: &Target, receive_buffer: usize) -> Result<Observation, Trouble> {
    let mut connection = Connection::open(endpoint, Some(receive_buffer))?;
    let head = request::oversized(target);
    connection.announce(format!("GET {} (its head: {})", target.path, in_bytes(head.len() as u64)));
    connection.pour(&head, "head");
    end_refused(connection)
}

fn end_refused(mut connection: Connection) -> Result<Observation, Trouble> {
    let mut answer = Answer::default();
    finish(&mut connection, &mut answer);
    connection.leave();
    let unread = connection.is_sending() || connection.send_failed || connection.reset.is_some();
    let refused = unread || answer.status().is_none_or(|status| status >= 400);
    let provocation = if refused { Provocation::Worked } else { Provocation::TookEverything };
    Ok(Observation::of_http(connection, &answer, provocation))
}

fn finish(connection: &mut Connection, answer: &mut Answer) {
    connection.hold_back();
    read_to_end(connection, answer, LARGEST);
    if let Some(status) = answer.status() {
        connection.heard(format!("that was HTTP {status}"));
    }
}
