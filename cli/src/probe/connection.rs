//! One connection under observation: nothing is read, and nothing waited for, unless a scenario says so.
//!
//! **Invariants**
//! * What happens to the connection is what is being measured: it is recorded, never an error.
//! * A reset counts from the moment it is seen, by a failing call or by poll(2); what is in the receive queue then can
//!   still be read, and the end of input after it is no FIN.
//! * Every wait ends: at an event, or with the time its caller gave.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustls::ClientConnection;

use super::endpoint::{becomes_ready, words, Endpoint};
use super::tcp_info::TcpInfo;
use super::timeline::{in_bytes, Event, Timeline};
use super::trouble::{Kind, Trouble};

/// Between two looks at the length of the receive queue, which nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What one read takes at most.
const PIECE: usize = 64 * 1024;

/// After so many times the timeout a connection that is still busy is given up.
const PATIENCE: u32 = 6;

/// A connection and all that was seen of it.
pub struct Connection {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    outgoing: Vec<u8>,
    sent: usize,
    pouring: Option<&'static str>,
    started: Instant,
    progress: Instant,
    timeout: Duration,
    /// What happened.
    pub timeline: Timeline,
    /// The end of input was read, and it was a FIN.
    pub fin: Option<Duration>,
    /// A reset was seen.
    pub reset: Option<Duration>,
    /// A send failed.
    pub send_failed: bool,
    /// Nothing more can be read.
    pub exhausted: bool,
    /// TLS said goodbye.
    pub close_notify: bool,
    tls_broken: Option<String>,
    rtt: Duration,
}

impl Connection {
    /// Connects, and shakes hands where TLS is wanted.
    pub fn open(endpoint: &Endpoint, receive_buffer: Option<usize>) -> Result<Connection, Trouble> {
        let started = Instant::now();
        let stream = endpoint.connect(receive_buffer)?;
        let rtt = TcpInfo::of(&stream).map(|info| info.rtt()).unwrap_or_default();
        let mut connection = Connection {
            stream,
            tls: None,
            outgoing: Vec::new(),
            sent: 0,
            pouring: None,
            started,
            progress: Instant::now(),
            timeout: endpoint.timeout,
            timeline: Timeline::default(),
            fin: None,
            reset: None,
            send_failed: false,
            exhausted: false,
            close_notify: false,
            tls_broken: None,
            rtt,
        };
        connection.note(format!("connected, round trip {:.1} ms", rtt.as_secs_f64() * 1000.0));
        if let Some(secure) = &endpoint.secure {
            let failed = |why: String| {
                let advice = "check that it speaks TLS there; --insecure accepts any certificate";
                Trouble::new(Kind::Tls, format!("{}: TLS: {why}; {advice}", endpoint.authority))
            };
            connection.tls = Some(secure.begin().map_err(|error| failed(error.to_string()))?);
            connection.shake_hands().map_err(failed)?;
            connection.note("TLS is established");
        }
        Ok(connection)
    }

    fn shake_hands(&mut self) -> Result<(), String> {
        let mut nothing = Vec::new();
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush();
            self.wait(true, Duration::from_millis(100));
            self.receive(&mut nothing, PIECE);
            if let Some(broken) = self.tls_broken.take() {
                return Err(broken);
            }
            if self.reset.is_some() || self.exhausted {
                return Err("the server ended the connection in the handshake".to_owned());
            }
            if self.is_overdue() {
                return Err("the server does not answer the handshake".to_owned());
            }
        }
        self.flush();
        Ok(())
    }

    /// Since it was begun.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long a server is given to do what it does without being asked: several round trips, and time to think.
    pub fn quiet(&self) -> Duration {
        Duration::from_millis(150) + 4 * self.rtt
    }

    /// Nothing happened for the timeout, or it has gone on for several of them.
    pub fn is_overdue(&self) -> bool {
        self.progress.elapsed() > self.timeout || self.started.elapsed() > PATIENCE * self.timeout
    }

    /// How long nothing has gone either way.
    pub fn stalled(&self) -> Duration {
        self.progress.elapsed()
    }

    /// Adds a line of the client's to the timeline.
    pub fn note(&mut self, what: impl Into<String>) {
        self.timeline.add(self.now(), Event::Noted(what.into()));
    }

    /// Adds what an answer means.
    pub fn heard(&mut self, what: impl Into<String>) {
        self.timeline.add(self.now(), Event::Heard(what.into()));
    }

    /// Adds what the client is about to send.
    pub fn announce(&mut self, what: impl Into<String>) {
        self.timeline.add(self.now(), Event::Said(what.into()));
    }

    /// Says something small: `what` is its line in the timeline.
    pub fn say(&mut self, bytes: &[u8], what: impl Into<String>) {
        self.announce(what);
        self.queue(bytes);
        self.flush();
    }

    /// Begins to send something large, which goes on whenever [`Connection::flush`] is called.
    pub fn pour(&mut self, bytes: &[u8], what: &'static str) {
        self.flush();
        self.pouring = Some(what);
        self.queue(bytes);
        self.flush();
    }

    fn queue(&mut self, bytes: &[u8]) {
        // Never fails: the buffer of TLS has no limit.
        match &mut self.tls {
            Some(tls) => drop(tls.writer().write_all(bytes)),
            None => self.outgoing.extend(bytes),
        }
    }

    /// There is still something to send, and it may still be taken.
    pub fn is_sending(&self) -> bool {
        self.sent < self.outgoing.len() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Sends what the kernel takes now.
    pub fn flush(&mut self) {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            if tls.write_tls(&mut self.outgoing).is_err() {
                break;
            }
        }
        let mut went = 0;
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(bytes) => {
                    self.sent += bytes;
                    went += bytes as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.add_poured(went);
                    went = 0;
                    self.send_failed = true;
                    self.outgoing.clear();
                    self.sent = 0;
                    self.see_reset(&format!("send fails: {}", words(&error)));
                }
            }
        }
        self.add_poured(went);
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
    }

    fn add_poured(&mut self, bytes: u64) {
        if bytes > 0 {
            self.progress = Instant::now();
            if let Some(what) = self.pouring {
                self.timeline.add(self.now(), Event::Poured { bytes, what });
            }
        }
    }

    /// Reads what is here now, about `at_most` bytes, and says whether there was anything.
    pub fn receive(&mut self, into: &mut Vec<u8>, at_most: usize) -> bool {
        let before = into.len();
        while !self.exhausted && into.len() - before < at_most {
            let wanted = PIECE.min(at_most - (into.len() - before));
            let outcome = match &mut self.tls {
                None => read_piece(&mut self.stream, into, wanted),
                Some(tls) => read_within_tls(&mut self.stream, tls, into, wanted, &mut self.tls_broken),
            };
            match outcome {
                Ok(Some(0)) => {
                    self.add_read(into.len() - before);
                    self.see_end();
                    return into.len() > before;
                }
                Ok(Some(_)) => self.progress = Instant::now(),
                // Of TLS: something came, but nothing for us.
                Ok(None) => self.progress = Instant::now(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.add_read(into.len() - before);
                    self.see_reset(&format!("recv fails: {}", words(&error)));
                    self.exhausted = true;
                    return into.len() > before;
                }
            }
        }
        self.add_read(into.len() - before);
        into.len() > before
    }

    fn add_read(&mut self, bytes: usize) {
        if bytes > 0 {
            self.timeline.add(self.now(), Event::Read(bytes as u64));
        }
    }

    fn see_end(&mut self) {
        self.exhausted = true;
        self.close_notify |= self.tls.as_mut().is_some_and(said_goodbye);
        if self.reset.is_none() {
            self.fin = Some(self.now());
            self.timeline.add(self.now(), Event::Fin);
        }
    }

    fn see_reset(&mut self, how: &str) {
        if self.reset.is_none() {
            self.reset = Some(self.now());
            self.note(how);
            self.timeline.add(self.now(), Event::Reset);
        } else {
            self.note(how);
        }
    }

    /// Waits until there is something to read (if `reading`), room to send what waits for it, or a reset.
    pub fn wait(&mut self, reading: bool, time: Duration) {
        let mut interest = PollFlags::empty();
        if reading && !self.exhausted {
            interest |= PollFlags::IN;
        }
        if self.is_sending() && self.reset.is_none() {
            interest |= PollFlags::OUT;
        }
        if self.reset.is_some() && (!reading || self.exhausted) {
            return;
        }
        // An error of poll itself is one of memory: the next look will tell.
        let _ = becomes_ready(&self.stream, interest, time);
        self.look_for_reset();
    }

    /// poll(2) wakes for a reset without being asked; the socket's error says that it was one.
    fn look_for_reset(&mut self) {
        if let Ok(Some(error)) = self.stream.take_error() {
            self.see_reset(&format!("the connection is gone: {}", words(&error)));
        }
    }

    /// Lets the server go on, without reading, until it has done all it can: its FIN or a reset is here, or the receive
    /// queue has not grown for [`Connection::quiet`]. Sends meanwhile what is left to send.
    pub fn hold_back(&mut self) {
        let mut unread = self.unread();
        let mut since = Instant::now();
        while self.reset.is_none() && !self.fin_is_here() && !self.is_overdue() {
            let before = self.unsent();
            // Without interest in reading, so that a full receive queue does not end the wait.
            self.wait(false, LOOK_AGAIN);
            self.flush();
            let now = self.unread();
            if now != unread || self.unsent() != before {
                (unread, since) = (now, Instant::now());
                self.progress = Instant::now();
            } else if unread > 0 && since.elapsed() > self.quiet() {
                break;
            }
        }
        let unread = in_bytes(self.unread());
        self.note(format!("the client has not read yet: {unread} in its receive queue"));
    }

    /// Waits for a reset that something just said may cause, without reading.
    pub fn await_reaction(&mut self) {
        let started = Instant::now();
        while self.reset.is_none() && started.elapsed() < self.quiet() {
            self.flush();
            self.wait(false, LOOK_AGAIN);
        }
    }

    /// Bytes in the receive queue.
    pub fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stream).unwrap_or_default()
    }

    fn unsent(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// The server's FIN has arrived, even if what is before it was not read yet.
    pub fn fin_is_here(&self) -> bool {
        self.fin.is_some() || becomes_ready(&self.stream, PollFlags::RDHUP, Duration::ZERO).unwrap_or(false)
    }

    /// Sends our FIN and sees what that brings: the end of a connection that nobody needs any more.
    pub fn leave(&mut self) {
        if self.reset.is_some() {
            return;
        }
        if self.fin.is_none() {
            self.note("the client closes first");
        }
        if self.stream.shutdown(Shutdown::Write).is_err() {
            self.look_for_reset();
        }
        let started = Instant::now();
        let mut rest = Vec::new();
        while self.reset.is_none() && started.elapsed() < self.quiet() {
            if self.exhausted {
                // poll(2) does not wait any more once both directions are shut.
                std::thread::sleep(LOOK_AGAIN);
                self.look_for_reset();
                if is_over(self.info().state) {
                    return;
                }
            } else {
                self.wait(true, LOOK_AGAIN);
                self.receive(&mut rest, PIECE);
                rest.clear();
            }
        }
    }

    /// It is within TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What the kernel says.
    pub fn info(&self) -> TcpInfo {
        TcpInfo::of(&self.stream).unwrap_or_default()
    }
}

/// TIME_WAIT or CLOSE.
fn is_over(state: u8) -> bool {
    matches!(state, 6 | 7)
}

fn read_piece(stream: &mut impl Read, into: &mut Vec<u8>, wanted: usize) -> io::Result<Option<usize>> {
    let before = into.len();
    into.resize(before + wanted, 0);
    let outcome = stream.read(into.get_mut(before..).unwrap_or_default());
    into.truncate(before + *outcome.as_ref().unwrap_or(&0));
    outcome.map(Some)
}

/// `Ok(None)`: records came, but no content of ours. What is decrypted already comes first.
fn read_within_tls(
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

fn said_goodbye(tls: &mut ClientConnection) -> bool {
    tls.process_new_packets().is_ok_and(|state| state.peer_has_closed())
}
