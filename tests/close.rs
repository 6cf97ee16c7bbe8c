//! The functions of the crate over real connections: what is lost by dropping a stream, and saved by letting go of it.

use linger::{Lingering, Outcome};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A client and its connection at the server.
fn connect() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    (client, listener.accept().unwrap().0)
}

/// The same with a response as large as the kernel takes, most of it still in the server's send queue, and a request
/// that nobody has read.
fn connect_and_respond() -> (TcpStream, TcpStream, usize) {
    let (mut client, mut connection) = connect();
    client.write_all(b"a request that nobody reads").unwrap();
    connection.set_nonblocking(true).unwrap();
    let mut sent = 0;
    loop {
        match connection.write(&[b'x'; 64 * 1024]) {
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (client, connection, sent),
            Err(error) => panic!("write: {error}"),
        }
    }
}

/// What arrives at a client that goes on sending, and whether it ends with FIN.
fn receive(mut client: TcpStream) -> (usize, bool) {
    let sent = client.write_all(b"late").is_ok();
    let mut arrived = 0;
    let mut piece = [0; 64 * 1024];
    loop {
        match client.read(&mut piece) {
            Ok(0) => return (arrived, sent),
            Ok(bytes) => arrived += bytes,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (arrived, false),
            Err(error) => panic!("read: {error}"),
        }
    }
}

fn is_open(fd: RawFd) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()
}

#[test]
fn a_dropped_stream_loses_its_response() {
    let (client, connection, sent) = connect_and_respond();
    drop(connection);
    let (arrived, whole) = receive(client);
    assert!(arrived < sent && !whole, "{arrived} of {sent} bytes, FIN: {whole}");
}

#[test]
fn a_stream_that_is_let_go_of_keeps_its_response() {
    let (client, connection, sent) = connect_and_respond();
    linger::close(connection, LONG).unwrap();
    assert_eq!(receive(client), (sent, true));
}

#[test]
fn the_default_deadline_and_a_bare_descriptor_serve_as_well() {
    let (client, connection, sent) = connect_and_respond();
    linger::close(OwnedFd::from(connection), None).unwrap();
    assert_eq!(receive(client), (sent, true));
}

#[test]
fn waiting_says_how_it_ended() {
    let (client, connection, sent) = connect_and_respond();
    let receiving = std::thread::spawn(|| receive(client));
    assert_eq!(linger::close_wait(connection, LONG).unwrap(), Outcome::Fin);
    assert_eq!(receiving.join().unwrap(), (sent, true));

    let (client, connection) = connect();
    assert_eq!(linger::close_wait(connection, Duration::from_millis(1)).unwrap(), Outcome::Timeout);
    drop(client);
}

#[test]
fn no_time_is_no_wait() {
    let (client, connection) = connect();
    assert_eq!(linger::close_wait(connection, Duration::ZERO).unwrap(), Outcome::Timeout);
    drop(client);
}

#[test]
fn what_is_no_connection_is_closed() {
    let (mut peer, stream) = UnixStream::pair().unwrap();
    linger::close(stream, LONG).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);

    let (mut peer, stream) = UnixStream::pair().unwrap();
    assert_eq!(linger::close_wait(stream, LONG).unwrap(), Outcome::Closed);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// Alone in its process, for other tests use the same numbers and counters.
#[test]
fn a_graceful_stop_waits_for_what_lingers() {
    const ALONE: &str = "LINGER_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "a_graceful_stop_waits_for_what_lingers";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(ALONE, "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    assert_eq!((linger::pending(), linger::flush(None)), (0, 0));
    let (client, connection) = connect();
    let fd = connection.as_raw_fd();
    linger::close(connection, LONG).unwrap();
    assert!(!is_open(fd), "the number is free when close returns");
    assert_eq!(linger::pending(), 1);
    assert_eq!(linger::flush(Duration::from_millis(20)), 1);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(linger::flush(LONG), 0);
    assert_eq!(linger::pending(), 0);
}

/// Waits for the descriptor as an event loop would; false where it does not become readable.
fn becomes_readable(lingering: &Lingering, timeout: Duration) -> bool {
    let mut poll = libc::pollfd { fd: lingering.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, which lives through the call.
    unsafe { libc::poll(&mut poll, 1, timeout.as_millis() as i32) == 1 }
}

#[test]
fn the_end_of_a_connection_that_lingers_is_reported() {
    let (client, connection, sent) = connect_and_respond();
    let lingering = linger::close_reporting(connection, None).unwrap();
    assert_eq!(lingering.outcome().unwrap(), None);
    assert!(!becomes_readable(&lingering, Duration::from_millis(50)), "nothing has been read yet");
    assert_eq!(receive(client), (sent, true));
    assert!(becomes_readable(&lingering, LONG));
    assert_eq!(lingering.outcome().unwrap(), Some(Outcome::Fin));
    assert_eq!(lingering.wait().unwrap(), Outcome::Fin, "asked again it says the same");
}

#[test]
fn each_end_is_reported_as_what_it_is() {
    let (client, connection) = connect();
    let reset = linger::close_reporting(connection, None).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(reset.wait().unwrap(), Outcome::Reset);

    let (_client, connection) = connect();
    let late = linger::close_reporting(connection, Duration::from_millis(20)).unwrap();
    assert_eq!(late.wait().unwrap(), Outcome::Timeout);

    let (client, connection) = connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(becomes_eof(&connection), "the FIN is here");
    assert_eq!(linger::close_reporting(connection, None).unwrap().outcome().unwrap(), Some(Outcome::Fin));

    let (_client, connection) = connect();
    let at_once = linger::close_reporting(connection, Duration::ZERO).unwrap();
    assert_eq!(at_once.outcome().unwrap(), Some(Outcome::Closed));

    let (one, _other) = UnixStream::pair().unwrap();
    let plain = linger::close_reporting(OwnedFd::from(one), None).unwrap();
    assert_eq!(plain.outcome().unwrap(), Some(Outcome::Closed));
}

fn becomes_eof(connection: &TcpStream) -> bool {
    connection.set_read_timeout(Some(LONG)).unwrap();
    connection.peek(&mut [0]).is_ok_and(|length| length == 0)
}

#[test]
fn a_report_nobody_waits_for_harms_nobody() {
    let (client, connection, sent) = connect_and_respond();
    drop(linger::close_reporting(connection, None).unwrap());
    assert_eq!(receive(client), (sent, true));
}

#[test]
fn many_reports_are_told_apart() {
    let pairs: Vec<_> = (0..200).map(|_| connect()).collect();
    let (clients, lingering): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .map(|(client, connection)| (client, linger::close_reporting(connection, None).unwrap()))
        .unzip();
    for (i, client) in clients.iter().enumerate() {
        if i % 2 == 0 {
            socket2::SockRef::from(client).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    drop(clients);
    for (i, lingering) in lingering.iter().enumerate() {
        let expected = if i % 2 == 0 { Outcome::Reset } else { Outcome::Fin };
        assert_eq!(lingering.wait().unwrap(), expected, "connection {i}");
    }
}
