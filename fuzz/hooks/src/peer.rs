//! The other end of one connection: what arrived, and whether it ended as it should.

use crate::server::pattern;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Only a broken library makes anybody wait so long.
pub const GENEROUS: Duration = Duration::from_secs(10);

/// What a peer sends when the response has ended.
pub const LATE_BYTES: usize = 10;

pub struct Peer {
    stream: TcpStream,
    received: usize,
    sent: bool,
    ended: bool,
    /// A call reported that the connection was reset; the kernel says so once.
    reset: bool,
}

/// How the response ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
    Nothing,
}

impl Peer {
    pub fn connect(port: u16) -> std::io::Result<Peer> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(GENEROUS))?;
        stream.set_write_timeout(Some(GENEROUS))?;
        Ok(Peer { stream, received: 0, sent: false, ended: false, reset: false })
    }

    /// Whether it could send. What a server does not read fills its queue, so little is sent.
    pub fn send(&mut self, bytes: usize) -> bool {
        let sent = !self.ended && self.stream.write_all(&vec![b'?'; bytes]).is_ok();
        self.sent |= !self.ended;
        self.reset |= !sent && !self.ended;
        sent
    }

    pub fn end(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.ended = true;
    }

    /// Whether it has tried to send anything.
    pub fn has_sent(&self) -> bool {
        self.sent
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads up to `most` bytes of a response, checks each, and says how many came in all and what came then.
    fn read_until(&mut self, most: usize) -> Result<(usize, End), String> {
        let mut bytes = [0; 65536];
        while self.received < most {
            match self.stream.read(&mut bytes) {
                Ok(0) if self.reset => return Ok((self.received, End::Reset)),
                Ok(0) => return Ok((self.received, End::Fin)),
                Ok(count) => {
                    for byte in &bytes[..count] {
                        if *byte != pattern(self.received) {
                            return Err(format!("byte {} of the response is another", self.received));
                        }
                        self.received += 1;
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok((self.received, End::Nothing)),
                Err(_) => {
                    self.reset = true;
                    return Ok((self.received, End::Reset));
                }
            }
        }
        Ok((self.received, End::Nothing))
    }

    /// The whole response and its end.
    pub fn read_to_end(&mut self) -> Result<(usize, End), String> {
        self.read_until(usize::MAX)
    }

    /// The `written` bytes there are, and then nothing: the connection is still open.
    pub fn still_open_after(&mut self, written: usize) -> Result<(), String> {
        let (received, end) = self.read_until(written)?;
        if received != written {
            return Err(format!(
                "{received} of {written} bytes and then {end:?}, though the connection is open"
            ));
        }
        self.stream.set_nonblocking(true).map_err(|e| e.to_string())?;
        let end = self.read_to_end()?.1;
        self.stream.set_nonblocking(false).map_err(|e| e.to_string())?;
        if end == End::Nothing {
            Ok(())
        } else {
            Err(format!("{end:?}, though somebody still has the connection open"))
        }
    }

    /// Sends what is late. Whether the connection stood it.
    pub fn send_late(&mut self) -> bool {
        self.send(LATE_BYTES) && self.pending_error() == 0 && {
            self.end();
            self.pending_error() == 0
        }
    }

    fn pending_error(&self) -> i32 {
        let (mut error, mut length) = (0i32, 4);
        // SAFETY: the option is an int, and both pointers outlive the call.
        unsafe {
            let at = (&raw mut error).cast();
            libc::getsockopt(self.stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, at, &mut length)
        };
        error
    }
}
