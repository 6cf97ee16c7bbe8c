//! Ordinary clients on several connections at once, in one event loop, as `ab -c` has them.
//!
//! # Invariants
//!
//! * A connection is closed right after the server's end of it was read, and the next one begins: nobody is slow here,
//!   and nobody resets.
//! * What was received is counted against the answer to a first request, so that a lost byte shows.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use linger_bench::load::{Conversation, Tally};
use linger_bench::peers::DOCUMENT;
use linger_testbed::DEADLINE;
use rustix::event::epoll;
use rustix::io::Errno;

/// One thing said, and how much is answered.
struct Exchange {
    say: Vec<u8>,
    hear: Answer,
}

/// When the next thing is to be said.
#[derive(Clone, Copy)]
enum Answer {
    /// After so many bytes.
    Bytes(usize),
    /// Never: so many bytes, and the server closes.
    LastBytes(usize),
}

fn script(conversation: Conversation, server: SocketAddr) -> Result<Vec<Exchange>> {
    let http = |connection: &str| {
        let name = DOCUMENT.0;
        format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n").into_bytes()
    };
    let say = |what: &[u8], hear| Exchange { say: what.to_vec(), hear };
    Ok(match conversation {
        Conversation::HttpClose => {
            let say = http("close");
            let hear = Answer::LastBytes(answer_to_the_end(server, &say)?);
            vec![Exchange { say, hear }]
        }
        Conversation::HttpKeepAlive => {
            let say = http("keep-alive");
            let hear = Answer::Bytes(answer_by_length(server, &say)?);
            vec![Exchange { say, hear }]
        }
        Conversation::Redis => {
            vec![say(b"PING\r\n", Answer::Bytes(7)), say(b"QUIT\r\n", Answer::LastBytes(5))]
        }
        Conversation::Echo => vec![say(&[b'e'; 64], Answer::LastBytes(64))],
    })
}

fn ask(server: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).context("connect")?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request)?;
    Ok(stream)
}

fn answer_to_the_end(server: SocketAddr, request: &[u8]) -> Result<usize> {
    let mut answer = Vec::new();
    ask(server, request)?.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "the server says {:?}", String::from_utf8_lossy(&answer));
    ensure!(answer.len() > DOCUMENT.1, "the server says only {} bytes", answer.len());
    Ok(answer.len())
}

fn answer_by_length(server: SocketAddr, request: &[u8]) -> Result<usize> {
    let mut stream = ask(server, request)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..length]);
        if let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let whole = head + 4 + DOCUMENT.1;
            if answer.len() >= whole {
                return Ok(whole);
            }
        }
        ensure!(length > 0, "the server says {:?} and closes", String::from_utf8_lossy(&answer));
    }
}

/// A connection, and how far it is.
struct Talk {
    stream: TcpStream,
    exchange: usize,
    heard: usize,
}

/// What reading led to.
enum Next {
    Wait,
    Answered,
    Over { whole: bool, reset: bool },
}

impl Talk {
    fn begin(
        server: SocketAddr,
        script: &[Exchange],
        set: impl std::os::fd::AsFd,
        slot: usize,
    ) -> Result<Self> {
        let mut stream = TcpStream::connect(server).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let slot = epoll::EventData::new_u64(slot as u64);
        epoll::add(set, &stream, slot, epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?;
        say(&mut stream, &script[0])?;
        Ok(Self { stream, exchange: 0, heard: 0 })
    }

    fn hear(&mut self, script: &[Exchange], piece: &mut [u8]) -> Result<Next> {
        loop {
            let heard = match self.stream.read(piece) {
                Ok(heard) => heard,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(Next::Over { whole: self.is_whole(script), reset: true });
                }
                Err(error) => return Err(error).context("read"),
            };
            if heard == 0 {
                return Ok(Next::Over { whole: self.is_whole(script), reset: false });
            }
            self.heard += heard;
            match script[self.exchange].hear {
                Answer::Bytes(expected) if self.heard == expected => {
                    self.heard = 0;
                    self.exchange += 1;
                    let again = self.exchange == script.len();
                    if again {
                        self.exchange = 0;
                    }
                    say(&mut self.stream, &script[self.exchange])?;
                    return Ok(if again { Next::Answered } else { Next::Wait });
                }
                Answer::Bytes(expected) => ensure!(self.heard < expected, "too much was answered"),
                Answer::LastBytes(expected) => ensure!(self.heard <= expected, "too much was answered"),
            }
        }
    }

    fn is_whole(&self, script: &[Exchange]) -> bool {
        matches!(script[self.exchange].hear, Answer::LastBytes(expected) if self.heard == expected)
    }
}

fn say(stream: &mut TcpStream, exchange: &Exchange) -> Result<()> {
    // Less than the emptiest send buffer has room for.
    match stream.write(&exchange.say) {
        Ok(length) if length == exchange.say.len() => Ok(()),
        Ok(length) => bail!("only {length} bytes could be sent"),
        // The server has given up already; reading will say how.
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
        Err(error) => Err(error).context("send"),
    }
}

/// Plays it on `at_once` connections for so long; what has begun by then is played to its end.
pub(crate) fn play(
    server: SocketAddr,
    conversation: Conversation,
    at_once: usize,
    time: Duration,
) -> Result<Tally> {
    let script = script(conversation, server)?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut talks = Vec::with_capacity(at_once);
    for slot in 0..at_once {
        talks.push(Some(Talk::begin(server, &script, &set, slot)?));
    }
    let mut tally = Tally::default();
    let mut events = Vec::with_capacity(at_once);
    let mut piece = vec![0; 64 * 1024];
    let started = Instant::now();
    let mut open = at_once;
    while open > 0 {
        events.clear();
        let timeout = rustix::event::Timespec::try_from(DEADLINE)?;
        match epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Err(Errno::INTR) => continue,
            heard => ensure!(heard? > 0, "the server says nothing on {open} connections"),
        }
        let late = started.elapsed() >= time;
        for event in &events {
            let slot = event.data.u64() as usize;
            let Some(talk) = &mut talks[slot] else { continue };
            match talk.hear(&script, &mut piece)? {
                Next::Wait => continue,
                Next::Answered => {
                    tally.done += 1;
                    if late {
                        talks[slot] = None;
                        open -= 1;
                    }
                }
                Next::Over { whole, reset } => {
                    tally.done += 1;
                    tally.incomplete += u64::from(!whole);
                    tally.resets += u64::from(reset);
                    // Closed before the next one begins.
                    talks[slot] = None;
                    if late {
                        open -= 1;
                    } else {
                        talks[slot] = Some(Talk::begin(server, &script, &set, slot)?);
                    }
                }
            }
        }
    }
    tally.nanoseconds = started.elapsed().as_nanos() as u64;
    Ok(tally)
}
