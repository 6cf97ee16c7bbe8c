//! A raw TCP client with a small receive buffer, which says exactly what it got and how it ended.
//!
//! Errors of the connection are what is being measured, so they are recorded, not returned; what is
//! returned as an error is a test that cannot be carried out.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::net::{connect, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};
use serde::Serialize;

use crate::answers::{self, Answer, Promise};
use crate::netns::Place;
use crate::sockets::{self, Entry, State};
use crate::{pause, DEADLINE};

/// What the client asks for as `SO_RCVBUF`. A larger answer cannot be in its receive queue as a whole
/// when a reset comes, so that the reset costs something that can be counted.
pub const RECEIVE_BUFFER: usize = 64 * 1024;

/// How long a server that still holds the connection may get nothing done before the client makes
/// room for it by reading. Only costs time; the outcome does not depend on it.
const STALLED: Duration = Duration::from_millis(50);

/// Read at a stall: a good part of a large send queue, so that few stalls are needed.
const ROOM: usize = 512 * 1024;

/// How the connection ended, as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The client has everything and closes first.
    Satisfied,
    /// `recv` said 0: the server's FIN came after its last byte.
    CleanEof,
    /// `recv` failed with ECONNRESET, or said 0 after a `send` had failed.
    Reset,
    /// The client gave up when `send` failed and never looked at the answer, as most do.
    GaveUp,
    /// Nothing more came for [`DEADLINE`].
    Silence,
}

/// Everything a client can say about one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// As many as were promised, or more.
    pub answers: Vec<Answer>,
    /// How many of them are complete and as promised.
    pub complete: usize,
    /// How it ended.
    pub ending: Ending,
    /// A `send` failed with ECONNRESET or EPIPE, or the socket was left with one of them.
    pub send_failed: bool,
}

impl Exchange {
    /// Bytes of promised bodies that did not arrive.
    #[must_use]
    pub fn bytes_lost(&self) -> u64 {
        self.answers.iter().map(|answer| answer.missing).sum()
    }

    /// The client saw ECONNRESET or EPIPE at any time.
    #[must_use]
    pub fn saw_reset(&self) -> bool {
        self.ending == Ending::Reset || self.send_failed
    }

    /// Every promised answer arrived whole.
    #[must_use]
    pub fn all_complete(&self) -> bool {
        self.complete == self.answers.len()
    }
}

/// A connection under observation.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    server: SocketAddr,
    local: SocketAddr,
    /// Where the server is, if not in the client's own namespace.
    across: Option<Arc<Place>>,
    received: Vec<u8>,
    ending: Option<Ending>,
    send_failed: bool,
}

impl Client {
    /// Connects with a receive buffer of [`RECEIVE_BUFFER`].
    ///
    /// # Errors
    ///
    /// If no connection can be made.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        Self::connect_with_buffer(server, RECEIVE_BUFFER)
    }

    /// Connects with a receive buffer of so many bytes, which the kernel doubles (socket(7)).
    ///
    /// # Errors
    ///
    /// If no connection can be made.
    pub fn connect_with_buffer(server: SocketAddr, bytes: usize) -> Result<Self> {
        // A server that another thread starts must not have it as well: our close would then send no FIN.
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Before connecting: the window scale is agreed on in the SYN.
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        connect(&socket, &server).with_context(|| format!("connect to {server}"))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let local = stream.local_addr()?;
        let received = Vec::new();
        Ok(Self { stream, server, local, across: None, received, ending: None, send_failed: false })
    }

    /// The same with a server in another namespace, whose table shows when it lets go.
    ///
    /// # Errors
    ///
    /// If no connection can be made.
    pub fn connect_across(server: SocketAddr, place: &Arc<Place>) -> Result<Self> {
        Ok(Self { across: Some(Arc::clone(place)), ..Self::connect(server)? })
    }

    /// Sends everything, unless that fails; whether it went is in the [`Exchange`] and returned.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes).is_ok();
        self.send_failed |= !sent;
        sent
    }

    /// Waits, reading as little as possible, until the server's end of the connection is closed, shut
    /// or gone: the moment from which the bytes in its send queue are at risk.
    ///
    /// # Errors
    ///
    /// If the kernel's socket table cannot be read, or the server still holds the connection after
    /// [`DEADLINE`].
    pub fn hold_back_until_let_go(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut before = None;
        let mut since = started;
        while let Some(server_end) = self.server_end_if_open()? {
            let now = Some((server_end.unacknowledged, self.unread()?));
            if now != before {
                before = now;
                since = Instant::now();
            } else if since.elapsed() > STALLED {
                self.read_some(ROOM);
                since = Instant::now();
            }
            if self.ending.is_some() {
                break;
            }
            if started.elapsed() > DEADLINE {
                bail!("the server does not let go: {server_end:?}");
            }
            pause(Duration::from_millis(1), "nothing tells a client that the server called close()");
        }
        Ok(())
    }

    /// Waits until something can be read, which is left there.
    pub fn wait_for_anything(&mut self) {
        if !matches!(self.stream.peek(&mut [0]), Ok(1)) {
            self.read_once();
        }
    }

    /// Reads until `wanted` whole answers are here or the connection ends.
    pub fn read_answers(&mut self, wanted: usize) {
        while self.ending.is_none() {
            let answers = answers::parse(&self.received);
            if answers.iter().filter(|answer| answer.missing == 0).count() >= wanted {
                self.ending = Some(Ending::Satisfied);
            } else {
                self.read_once();
            }
        }
    }

    /// Reads until the connection ends.
    pub fn read_to_end(&mut self) {
        while self.ending.is_none() {
            self.read_once();
        }
    }

    /// Stops here because `send` failed; what may be in the receive queue is never looked at.
    pub fn give_up(&mut self) {
        self.ending = Some(Ending::GaveUp);
    }

    /// Closes the connection and says how it went.
    #[must_use]
    pub fn finish(mut self, promise: &Promise) -> Exchange {
        // A reset that came after the server's FIN shows nowhere else.
        self.send_failed |= !matches!(self.stream.take_error(), Ok(None));
        let answers = answers::against(promise, &self.received);
        let complete = answers.iter().filter(|answer| answer.is_complete(promise.status)).count();
        let ending = self.ending.unwrap_or(Ending::Satisfied);
        Exchange { answers, complete, ending, send_failed: self.send_failed }
    }

    fn server_end_if_open(&self) -> Result<Option<Entry>> {
        let look = || sockets::server_end(self.server, self.local);
        let entry = match &self.across {
            Some(place) => place.within(look)??,
            None => look()?,
        };
        Ok(entry.filter(|entry| entry.state == State::Open))
    }

    fn unread(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.stream)?)
    }

    fn read_some(&mut self, at_most: usize) {
        let before = self.received.len();
        while self.ending.is_none() && self.received.len() - before < at_most {
            if !matches!(self.unread(), Ok(1..)) {
                return;
            }
            self.read_once();
        }
    }

    fn read_once(&mut self) {
        let mut piece = [0; RECEIVE_BUFFER];
        let outcome = self.stream.read(&mut piece);
        let got = *outcome.as_ref().unwrap_or(&0);
        self.received.extend(piece.iter().take(got));
        self.ending = match outcome {
            // The failing send has taken the error; what recv says afterwards is no FIN.
            Ok(0) if self.send_failed => Some(Ending::Reset),
            Ok(0) => Some(Ending::CleanEof),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(Ending::Silence),
            Err(_) => Some(Ending::Reset),
        };
    }
}
