//! A small HTTP server with the bug: when it is done with a connection, it just closes it.
//!
//! It is what most servers are: nothing here is wrong but the last line of a connection. One thread
//! per connection, `GET /N` answered with N bytes, any request with a body refused before it is read.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use rustix::net::sockopt::set_socket_linger;
use serde::{Deserialize, Serialize};

use crate::interface::{Interface, Statistics};
use crate::pattern;
use crate::scenario::LARGE;

/// Where the server says what it has let go of, and what liblinger says to that: [`Account`] as JSON.
pub const ACCOUNT: &str = "/account";

static LET_GO: AtomicU64 = AtomicU64::new(0);

/// What the server and liblinger in it have counted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Account {
    /// Connections that the server was done with.
    pub let_go: u64,
    /// Of liblinger, where it is there.
    pub statistics: Option<Statistics>,
}

impl Account {
    fn draw_up() -> Self {
        let statistics = Interface::find(None).and_then(|interface| interface.statistics());
        Self { let_go: LET_GO.load(Relaxed), statistics: statistics.ok() }
    }
}

/// The page that goes with a 413.
pub const REFUSAL: &str = "<html><body><h1>413</h1><p>Uploads may have 1 MB at most.</p></body></html>\n";

/// What the server sets as `SO_LINGER` before it closes: not the cure, though often taken for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum SoLinger {
    /// Nothing, as nearly everybody.
    #[default]
    Unset,
    /// `{1, 0}`: asks for a reset.
    Abort,
    /// `{1, 5}`: makes `close()` wait five seconds at most.
    FiveSeconds,
}

/// Serves for ever on a port that the kernel chooses, and prints `listening ADDRESS` first.
///
/// # Errors
///
/// If it cannot listen or say where.
pub fn serve(host: Ipv4Addr, requests_served: usize, so_linger: SoLinger) -> io::Result<()> {
    let listener = TcpListener::bind((host, 0))?;
    writeln!(io::stdout(), "listening {}", listener.local_addr()?)?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            // The client going away is not our business.
            let _ = answer(&stream, requests_served);
            if let Some(duration) = so_linger.value() {
                let _ = set_socket_linger(&stream, Some(duration));
            }
            drop(stream);
            LET_GO.fetch_add(1, Relaxed);
        });
    }
    Ok(())
}

impl SoLinger {
    fn value(self) -> Option<Duration> {
        match self {
            SoLinger::Unset => None,
            SoLinger::Abort => Some(Duration::ZERO),
            SoLinger::FiveSeconds => Some(Duration::from_secs(5)),
        }
    }
}

fn answer(stream: &TcpStream, requests_served: usize) -> io::Result<()> {
    let mut input = BufReader::new(stream);
    for _ in 0..requests_served {
        match Request::read(&mut input)? {
            None => return Ok(()),
            Some(Request { uploads: true, .. }) => {
                return respond(stream, "413 Content Too Large", REFUSAL.as_bytes());
            }
            Some(request) if request.accounts => {
                return respond(stream, "200 OK", &serde_json::to_vec(&Account::draw_up())?);
            }
            Some(request) => {
                respond(stream, "200 OK", &body(request.body))?;
                if request.is_last {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Head and body go out together; the body is not copied, so that many large responses take no memory.
fn respond(mut stream: &TcpStream, status: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut slices = [IoSlice::new(head.as_bytes()), IoSlice::new(body)];
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match stream.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The first bytes of the pattern, made once.
fn body(length: u64) -> Cow<'static, [u8]> {
    static LARGEST: OnceLock<Vec<u8>> = OnceLock::new();
    let largest = LARGEST.get_or_init(|| pattern::bytes(LARGE));
    let known = usize::try_from(length).ok().and_then(|length| largest.get(..length));
    known.map_or_else(|| Cow::Owned(pattern::bytes(length)), Cow::Borrowed)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    /// The N of `GET /N`.
    body: u64,
    /// `Connection: close`
    is_last: bool,
    /// [`ACCOUNT`]
    accounts: bool,
    /// A body follows that nobody is going to read.
    uploads: bool,
}

impl Request {
    /// `None` if the client has no more requests.
    fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        input.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            return Ok(None);
        }
        let path = line.split(' ').nth(1).unwrap_or_default();
        let body = path.trim_start_matches('/').parse().unwrap_or_default();
        let mut request = Request { body, accounts: path == ACCOUNT, ..Request::default() };
        loop {
            line.clear();
            if input.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                return Ok(Some(request));
            }
            let line = line.trim_end().to_ascii_lowercase();
            request.is_last |= line == "connection: close";
            request.uploads |= line.starts_with("content-length:");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_understood() {
        let mut input: &[u8] = b"GET /42 HTTP/1.1\r\nConnection: close\r\n\r\nGET";
        let request = Request::read(&mut input).expect("read").expect("a request");
        assert_eq!(request, Request { body: 42, is_last: true, ..Request::default() });
        assert_eq!(input, b"GET");
    }

    #[test]
    fn no_more_input_is_no_request() {
        assert_eq!(Request::read(&mut &b""[..]).expect("read"), None);
    }
}
