//! Peers of every kind, each a loop of connections until it is told to stop.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_linger;

use crate::answers::Promise;
use crate::client::{Client, Exchange};
use crate::pause;
use crate::scenario::{request, Scenario, LARGE, SMALL};

use super::firewall::Gone;

/// Between two connections of a peer: their number, not the machine's speed, is to be the load.
const BREATH: Duration = Duration::from_millis(30);

/// How long a peer that misbehaves does so, longer than the server's connection may linger.
const MISBEHAVES: Duration = Duration::from_secs(8);

/// How long one sends as fast as it can, and how long it rests then.
const FLOOD: Duration = Duration::from_millis(400);
const REST: Duration = Duration::from_millis(1600);

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Asks for a large response, with a request behind it that nobody reads, and takes all of it.
    Behaves,
    /// Asks for a large response, and for more only after the server has let go.
    SpeaksLate,
    /// Takes nothing of its response, and goes.
    Stalls,
    /// Sends a byte a second after the server let go.
    Trickles,
    /// Goes with a reset in the middle of the response.
    Resets,
    /// Is gone in the middle of the response: nothing of it arrives any more, and nothing reaches it.
    Vanishes,
    /// Sends as fast as it can after the server let go.
    Floods,
}

/// All of them, and how many of each there are.
pub(super) const CROWD: [(Peer, usize); 7] = [
    (Peer::Behaves, 3),
    (Peer::SpeaksLate, 1),
    (Peer::Stalls, 6),
    (Peer::Trickles, 10),
    (Peer::Resets, 2),
    (Peer::Vanishes, 6),
    (Peer::Floods, 1),
];

/// What the peers have seen.
#[derive(Debug, Default)]
pub(super) struct Diary {
    pub(super) stop: AtomicBool,
    pub(super) connections: AtomicU64,
    pub(super) complete: AtomicU64,
    /// Peers that vanished.
    pub(super) gone: AtomicU64,
    /// What went wrong for those that behave.
    pub(super) complaints: Mutex<Vec<String>>,
}

impl Diary {
    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Lets this much time pass, or less if the end comes.
    fn wait(&self, time: Duration, because: &str) {
        let started = Instant::now();
        while !self.stopped() && started.elapsed() < time {
            pause(Duration::from_millis(50).min(time), because);
        }
    }

    /// Writes down how it went for one that behaves.
    fn judge(&self, exchange: &Exchange) -> Result<()> {
        if exchange.all_complete() && !exchange.saw_reset() {
            self.complete.fetch_add(1, Relaxed);
        } else {
            self.complain(format!("{exchange:?}"));
        }
        Ok(())
    }

    pub(super) fn complain(&self, complaint: String) {
        if let Ok(mut complaints) = self.complaints.lock() {
            complaints.push(complaint);
        }
    }
}

impl Peer {
    /// Comes again and again until the end. What its connection comes to is the business only of one that behaves.
    /// `share`, from 0 to 1, is how much of a visit it waits first, so that not all peers are at the same point of theirs.
    pub(super) fn come_and_go(self, server: SocketAddr, share: f64, diary: &Diary) {
        diary.wait(MISBEHAVES.mul_f64(share), "the peers are spread over the length of a visit");
        while !diary.stopped() {
            diary.connections.fetch_add(1, Relaxed);
            match self.visit(server, diary) {
                Err(error) if self.behaves() => diary.complain(format!("{error:#}")),
                _ => {}
            }
            diary.wait(BREATH, "the load is chosen");
        }
    }

    fn behaves(self) -> bool {
        matches!(self, Peer::Behaves | Peer::SpeaksLate)
    }

    pub(super) fn visit(self, server: SocketAddr, diary: &Diary) -> Result<()> {
        match self {
            Peer::Behaves => return diary.judge(&behave(server)?),
            Peer::SpeaksLate => return diary.judge(&Scenario::Late.play(server)?),
            _ => {}
        }
        let mut stream = TcpStream::connect(server).context("connect")?;
        // So that the end of the soak does not wait for it.
        stream.set_write_timeout(Some(MISBEHAVES))?;
        stream.set_read_timeout(Some(MISBEHAVES))?;
        match self {
            Peer::Behaves | Peer::SpeaksLate => {}
            Peer::Stalls => {
                stream.write_all(request(LARGE, "close").as_bytes())?;
                diary.wait(MISBEHAVES, "it takes nothing for so long");
            }
            Peer::Trickles => {
                read_answer(&mut stream)?;
                for _ in 0..MISBEHAVES.as_secs() {
                    stream.write_all(b"x")?;
                    diary.wait(Duration::from_secs(1), "a byte a second");
                }
            }
            Peer::Resets => {
                stream.write_all(request(LARGE, "close").as_bytes())?;
                stream.read_exact(&mut [0; 1000])?;
                set_socket_linger(&stream, Some(Duration::ZERO))?;
            }
            Peer::Vanishes => {
                stream.write_all(request(LARGE, "close").as_bytes())?;
                stream.read_exact(&mut [0; 1000])?;
                let _gone = Gone::make(stream.local_addr()?.port())?;
                diary.gone.fetch_add(1, Relaxed);
                diary.wait(MISBEHAVES, "it is gone for so long");
            }
            Peer::Floods => {
                read_answer(&mut stream)?;
                let piece = [b'x'; 64 * 1024];
                let started = Instant::now();
                while started.elapsed() < FLOOD && stream.write_all(&piece).is_ok() {}
                drop(stream);
                diary.wait(REST, "the processors are not for one peer alone");
            }
        }
        Ok(())
    }
}

fn behave(server: SocketAddr) -> Result<Exchange> {
    let mut client = Client::connect(server)?;
    client.send(request(LARGE, "close").as_bytes());
    client.send(request(SMALL, "close").as_bytes());
    client.read_to_end();
    Ok(client.finish(&Promise { answers: 1, status: 200, body: LARGE }))
}

/// Head and body of a small response; the server lets go behind it.
fn read_answer(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(request(SMALL, "close").as_bytes())?;
    // The head is shorter than the body, and the body is all there is to wait for.
    stream.read_exact(&mut [0; SMALL as usize])?;
    Ok(())
}
