//! One connection under observation: nothing is read, and nothing waited for, unless a scenario says so.
//!
//! **Invariants**
//! * What happens to the connection is what is being measured: it is recorded, never an error.
//! * A reset counts from the moment it is seen, by a failing call or by poll(2); what is in the receive queue then can
//!   still be read, and the end of input after it is no FIN.
//! * Every wait ends: at an event, or with the time its caller gave.

mod reading;
mod waiting;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reading::{read_piece, read_within_tls, said_goodbye};
use rustix::event::PollFlags;
use rustls::ClientConnection;

use super::endpoint::{becomes_ready, words, Endpoint};
use super::tcp_info::TcpInfo;
use super::timeline::{Event, Timeline};
use super::trouble::{Kind, Trouble};

/// What one read takes at most.
const PIECE: usize = 64 * 1024;

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

    /// It is within TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What the kernel says.
    pub fn info(&self) -> TcpInfo {
        TcpInfo::of(&self.stream).unwrap_or_default()
    }
}
