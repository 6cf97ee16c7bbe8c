//! One client's dealings with `every-way`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};
use rustix::net::{connect, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

use super::byte_at;
use crate::client::RECEIVE_BUFFER;
use crate::DEADLINE;

/// What the client does once the server has let go of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Reads to the end and closes.
    Behaves,
    /// Says something more before it reads: the plain close costs it the response.
    SpeaksLate,
    /// Closes without reading.
    Leaves,
    /// Reads to the end and keeps the connection.
    Stays,
}

/// How it ended for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// The whole response, and its end.
    Everything,
    /// A reset after so many bytes: what the plain close may do.
    Reset(usize),
    /// It left first.
    Nothing,
}

impl Got {
    /// What the plain close, too, would have given to a client that behaves so; the complaint if this is less. Nothing is
    /// unread, and nothing comes, where the client is silent: the plain close sends all, and FIN. Only who speaks late is
    /// reset, and keeps what it had received.
    #[must_use]
    pub fn worse_than_plain(self, behaviour: Behaviour) -> Option<String> {
        match (behaviour, self) {
            (Behaviour::Behaves | Behaviour::Stays, Self::Reset(received)) => {
                Some(format!("reset after {received} bytes, where the plain close gives everything"))
            }
            (Behaviour::SpeaksLate, Self::Reset(0)) => {
                Some("reset before the first byte, where the plain close gives a part".into())
            }
            _ => None,
        }
    }
}

/// A client with a small window.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    id: usize,
    bytes: usize,
}

impl Client {
    /// Connects and sends the request.
    ///
    /// # Errors
    ///
    /// If there is no server.
    pub fn ask(server: SocketAddr, way: &str, id: usize, bytes: usize) -> Result<Self> {
        let mut client = Self { stream: open(server)?, id, bytes };
        client.stream.write_all(format!("{way} {id} {bytes}\n").as_bytes()).context("request")?;
        Ok(client)
    }

    /// A request without an answer to the client.
    ///
    /// # Errors
    ///
    /// If there is no server.
    pub fn request(server: SocketAddr, what: &str) -> Result<()> {
        open(server)?.write_all(format!("{what}\n").as_bytes()).context("request")
    }

    /// Behaves so, and says what it got, with the connection if it keeps it.
    ///
    /// # Errors
    ///
    /// What the server must never do to a client: silence, other bytes than its own, an end without the end.
    pub fn hear(mut self, behaviour: Behaviour) -> Result<(Got, Option<TcpStream>), String> {
        match behaviour {
            Behaviour::Leaves => return Ok((Got::Nothing, None)),
            Behaviour::SpeaksLate => {
                // Once it has a part of the response, a reset cannot take all of it.
                if self.bytes > 0 {
                    let _ = self.stream.peek(&mut [0]);
                }
                // It may be reset already.
                let _ = self.stream.write_all(b"late");
            }
            Behaviour::Behaves | Behaviour::Stays => {}
        }
        let got = self.read_to_end()?;
        Ok((got, (behaviour == Behaviour::Stays).then_some(self.stream)))
    }

    fn read_to_end(&mut self) -> Result<Got, String> {
        let mut piece = vec![0; 64 * 1024];
        let mut received = 0;
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) if received == self.bytes => return Ok(Got::Everything),
                Ok(0) => return Err(format!("FIN after {received} of {} bytes", self.bytes)),
                Ok(length) => {
                    let ours = |(at, byte): (usize, &u8)| *byte == byte_at(self.id, received + at);
                    if received + length > self.bytes || !piece[..length].iter().enumerate().all(ours) {
                        return Err(format!("bytes that are not its own, from {received} on"));
                    }
                    received += length;
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(format!("silence after {received} of {} bytes", self.bytes));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(Got::Reset(received)),
            }
        }
    }
}

/// Connects with a small receive buffer: what is still in the server's send queue is what a reset costs.
fn open(server: SocketAddr) -> Result<TcpStream> {
    // A server that another thread starts must not have it as well: our close would then send no FIN.
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    connect(&socket, &server).context("connect")?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}
