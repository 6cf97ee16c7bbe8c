//! A raw client for protocols other than HTTP: it says bytes and keeps what it hears.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::net::{connect, recv, socket_with, sockopt, AddressFamily, RecvFlags, SocketFlags, SocketType};

use crate::client::{Ending, RECEIVE_BUFFER};
use crate::sockets::{self, State};
use crate::{pause, DEADLINE};

/// Between two looks at the kernel's table of sockets.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How long a server may get nothing done before the client makes room for it. Only costs time.
const STALLED: Duration = Duration::from_millis(50);

/// Read at a stall.
const ROOM: usize = 64 * 1024;

/// What there is to say about one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Every byte that came.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
    /// A `send` failed with ECONNRESET or EPIPE, or the socket was left with one of them.
    pub send_failed: bool,
}

/// A connection with a receive buffer of [`RECEIVE_BUFFER`].
#[derive(Debug)]
pub struct Dialogue {
    stream: TcpStream,
    server: SocketAddr,
    local: SocketAddr,
    bytes: Vec<u8>,
    send_failed: bool,
}

impl Dialogue {
    /// # Errors
    ///
    /// If no connection can be made.
    pub fn open(server: SocketAddr) -> Result<Self> {
        // A server that another thread starts must not have it as well: our close would then send no FIN.
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Before connecting: the window scale is agreed on in the SYN.
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        connect(&socket, &server).with_context(|| format!("connect to {server}"))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let local = stream.local_addr()?;
        Ok(Self { stream, server, local, bytes: Vec::new(), send_failed: false })
    }

    /// This end.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Says something; that it did not go is kept for [`Heard`], and returned.
    pub fn say(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes).is_ok();
        self.send_failed |= !sent;
        sent
    }

    /// Waits until `wanted` has been heard; true at once if it has been.
    ///
    /// # Errors
    ///
    /// If nothing comes for [`DEADLINE`]. That the connection ends first is no error: false.
    pub fn hear(&mut self, wanted: &[u8]) -> Result<bool> {
        while !self.has_heard(wanted) {
            let mut room = [0; 16 * 1024];
            match self.stream.read(&mut room) {
                Ok(0) => return Ok(false),
                Ok(got) => self.bytes.extend(room.iter().take(got)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    bail!("nothing more comes after {:?}", String::from_utf8_lossy(&self.bytes));
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// What has been heard so far.
    #[must_use]
    pub fn heard(&self) -> &[u8] {
        &self.bytes
    }

    /// Waits until the server's end is closed, shut or gone, reading only where the server gets nothing done otherwise.
    ///
    /// # Errors
    ///
    /// If it is still open after [`DEADLINE`].
    pub fn wait_until_let_go(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut before = None;
        let mut since = started;
        while let Some(entry) = sockets::server_end(self.server, self.local)? {
            if entry.state != State::Open {
                break;
            }
            if before != Some(entry.unacknowledged) {
                before = Some(entry.unacknowledged);
                since = Instant::now();
            } else if since.elapsed() > STALLED && entry.unacknowledged > 0 {
                self.make_room();
                since = Instant::now();
            }
            if started.elapsed() > DEADLINE {
                bail!("the server does not let go: {entry:?}");
            }
            pause(LOOK_AGAIN, "nothing tells a client that the server called close()");
        }
        Ok(())
    }

    /// Says no more, hears the rest, closes, and says how it went.
    ///
    /// # Errors
    ///
    /// If the socket cannot be shut.
    pub fn leave(self) -> Result<Heard> {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error.into()),
            _ => Ok(self.hear_to_end()),
        }
    }

    /// Hears until the server ends the connection, closes, and says how it went.
    #[must_use]
    pub fn hear_to_end(mut self) -> Heard {
        let read = self.stream.read_to_end(&mut self.bytes);
        // A reset that came after the server's FIN shows nowhere else.
        self.send_failed |= !matches!(self.stream.take_error(), Ok(None));
        let ending = match read {
            // The failing send has taken the error; what recv says afterwards is no FIN.
            Ok(_) if self.send_failed => Ending::Reset,
            Ok(_) => Ending::CleanEof,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ending::Silence,
            Err(_) => Ending::Reset,
        };
        Heard { bytes: self.bytes, ending, send_failed: self.send_failed }
    }

    fn make_room(&mut self) {
        let mut room = [0; ROOM];
        if let Ok((got, _)) = recv(&self.stream, &mut room, RecvFlags::DONTWAIT) {
            self.bytes.extend(room.iter().take(got));
        }
    }

    fn has_heard(&self, wanted: &[u8]) -> bool {
        contains(&self.bytes, wanted)
    }
}

impl Heard {
    /// Whether these bytes came.
    #[must_use]
    pub fn contains(&self, wanted: &[u8]) -> bool {
        contains(&self.bytes, wanted)
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
