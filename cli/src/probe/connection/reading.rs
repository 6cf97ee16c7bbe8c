//! One read, plain or within TLS, that appends what it gets.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;

use rustls::ClientConnection;

pub(super) fn read_piece(
    stream: &mut impl Read,
    into: &mut Vec<u8>,
    wanted: usize,
) -> io::Result<Option<usize>> {
    let before = into.len();
    into.resize(before + wanted, 0);
    let outcome = stream.read(into.get_mut(before..).unwrap_or_default());
    into.truncate(before + *outcome.as_ref().unwrap_or(&0));
    outcome.map(Some)
}

/// `Ok(None)`: records came, but no content of ours. What is decrypted already comes first.
pub(super) fn read_within_tls(
    stream: &mut TcpStream,
    tls: &mut ClientConnection,
    into: &mut Vec<u8>,
    wanted: usize,
    broken: &mut Option<String>,
) -> io::Result<Option<usize>> {
    match read_piece(&mut tls.reader(), into, wanted) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        // The end without a close_notify.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Some(0)),
        // The close_notify: TCP's own end may be still to come.
        Ok(Some(0)) => {
            let mut ignored = [0; 1024];
            return stream.read(&mut ignored).map(|bytes| (bytes == 0).then_some(0));
        }
        other => return other,
    }
    if tls.read_tls(stream)? == 0 {
        // Has the reader tell the end apart from a truncation.
        let _ = tls.process_new_packets();
        return Ok(Some(0));
    }
    match tls.process_new_packets() {
        Ok(_) => Ok(None),
        Err(error) => {
            *broken = Some(error.to_string());
            // What the peer sent cannot be understood any more.
            Ok(Some(0))
        }
    }
}

pub(super) fn said_goodbye(tls: &mut ClientConnection) -> bool {
    tls.process_new_packets().is_ok_and(|state| state.peer_has_closed())
}
