//! Peers of every kind, each a loop of connections until it is told to stop.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_linger;

use crate::answers::Promise;
use crate::client::Client;
use crate::pause;
use crate::scenario::{request, LARGE, SMALL};

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
    /// Takes nothing of its response, and goes.
    Stalls,
    /// Sends a byte a second after the server let go.
    Trickles,
    /// Goes with a reset in the middle of the response.
    Resets,
    /// Acknowledges and answers nothing any more.
    Vanishes,
    /// Sends as fast as it can after the server let go.
    Floods,
}

/// All of them, and how many of each there are.
pub(super) const CROWD: [(Peer, usize); 6] = [
    (Peer::Behaves, 4),
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
                Err(error) if self == Peer::Behaves => diary.complain(format!("{error:#}")),
                _ => {}
            }
            diary.wait(BREATH, "the load is chosen");
        }
    }

    fn visit(self, server: SocketAddr, diary: &Diary) -> Result<()> {
        if self == Peer::Behaves {
            return behave(server, diary);
        }
        let mut stream = TcpStream::connect(server).context("connect")?;
        // So that the end of the soak does not wait for it.
        stream.set_write_timeout(Some(MISBEHAVES))?;
        stream.set_read_timeout(Some(MISBEHAVES))?;
        match self {
            Peer::Behaves => {}
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
                vanish(&stream)?;
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

fn behave(server: SocketAddr, diary: &Diary) -> Result<()> {
    let mut client = Client::connect(server)?;
    client.send(request(LARGE, "close").as_bytes());
    client.send(request(SMALL, "close").as_bytes());
    client.read_to_end();
    let exchange = client.finish(&Promise { answers: 1, status: 200, body: LARGE });
    if exchange.all_complete() && !exchange.saw_reset() {
        diary.complete.fetch_add(1, Relaxed);
    } else {
        diary.complain(format!("{exchange:?}"));
    }
    Ok(())
}

/// Head and body of a small response; the server lets go behind it.
fn read_answer(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(request(SMALL, "close").as_bytes())?;
    // The head is shorter than the body, and the body is all there is to wait for.
    stream.read_exact(&mut [0; SMALL as usize])?;
    Ok(())
}

/// From now on its kernel drops every segment before TCP sees it (socket(7), SO_ATTACH_FILTER): a filter of one
/// instruction, which accepts no byte.
fn vanish(stream: &TcpStream) -> Result<()> {
    let mut accept_nothing =
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &mut accept_nothing };
    // SAFETY: the option takes a sock_fprog, whose one instruction lives until the call returns.
    let failed = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    anyhow::ensure!(failed == 0, "SO_ATTACH_FILTER: {}", std::io::Error::last_os_error());
    Ok(())
}
