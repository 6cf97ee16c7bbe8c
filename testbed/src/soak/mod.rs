//! A server under the shim for a while, with peers that behave and peers that do not: nothing grows, and those that
//! behave get everything.

mod firewall;
mod peers;
mod samples;

pub use peers::Peer;
pub use samples::{describe, growth, Sample};

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

use crate::answers::Promise;
use crate::client::Client;
use crate::scenario::{request, SMALL};
use crate::server::Server;
use crate::{pause, sockets};
use peers::{Diary, CROWD};

/// How long a soak takes; a number of seconds, 30 if it is not set.
pub const SECONDS: &str = "SOAK_S";

const USUAL_SECONDS: u64 = 30;

/// Deadlines that come within a short soak; a peer that misbehaves outlasts all of them.
pub const SETTINGS: [(&str, &str); 3] =
    [("LINGER_TIMEOUT_MS", "3000"), ("LINGER_IDLE_MS", "1000"), ("LINGER_MAX_MS", "5000")];

/// At first everything grows: tables, arenas, the number of those that linger. This covers the longest visit.
const WARM_UP: Duration = Duration::from_secs(15);

const BETWEEN_SAMPLES: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// All of the peers' connections.
    pub connections: u64,
    /// Responses that those which behave got whole.
    pub complete: u64,
    /// What went wrong for those that behave.
    pub complaints: Vec<String>,
    /// Peers that vanished.
    pub gone: u64,
    /// After the warm-up.
    pub samples: Vec<Sample>,
}

/// The time that [`SECONDS`] asks for.
///
/// # Panics
///
/// If it is not a number, or the time is too short for a judgement.
#[must_use]
pub fn duration() -> Duration {
    let seconds = match std::env::var(SECONDS) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SECONDS}={text} is not a number")),
        Err(_) => USUAL_SECONDS,
    };
    let duration = Duration::from_secs(seconds);
    assert!(
        duration > WARM_UP + WARM_UP / 2,
        "{SECONDS}={seconds} is too short: the warm-up alone takes {WARM_UP:?}"
    );
    duration
}

/// Lets the peers at the server for so long; all of them have gone when this returns.
///
/// # Errors
///
/// If the server ends meanwhile.
pub fn run(server: &Server, duration: Duration) -> Result<Report> {
    firewall::raise()?;
    let diary = Diary::default();
    let address = server.address();
    let samples = std::thread::scope(|scope| {
        for (peer, count) in CROWD {
            for number in 0..count {
                let diary = &diary;
                let share = number as f64 / count as f64;
                scope.spawn(move || peer.come_and_go(address, share, diary));
            }
        }
        let samples = watch(server, duration);
        diary.stop.store(true, Relaxed);
        samples
    })?;
    let complaints = diary.complaints.into_inner().unwrap_or_default();
    let (connections, complete) = (diary.connections.load(Relaxed), diary.complete.load(Relaxed));
    ensure!(complete > 0 || !complaints.is_empty(), "nobody behaved");
    let gone = diary.gone.load(Relaxed);
    ensure!(gone > 0 && firewall::dropped()? > gone, "nobody vanished");
    Ok(Report { connections, complete, complaints, gone, samples })
}

/// One visit after which nothing lingers, as the client closes first; what the server needs for its first client it has
/// now.
///
/// # Errors
///
/// If the client gets no answer, or the connection does not end.
pub fn accustom(server: &Server) -> Result<()> {
    let mut client = Client::connect(server.address())?;
    client.send(request(SMALL, "keep-alive").as_bytes());
    client.read_answers(1);
    let exchange = client.finish(&Promise { answers: 1, status: 200, body: SMALL });
    ensure!(exchange.all_complete(), "{exchange:?}");
    sockets::settle(server.address().port())
}

/// What those that behave but speak late complain of in `visits` visits, one after the other.
///
/// # Errors
///
/// If they cannot come.
pub fn complaints_of_late_speakers(server: &Server, visits: usize) -> Result<Vec<String>> {
    let diary = Diary::default();
    for _ in 0..visits {
        Peer::SpeaksLate.visit(server.address(), &diary)?;
    }
    Ok(diary.complaints.into_inner().unwrap_or_default())
}

fn watch(server: &Server, duration: Duration) -> Result<Vec<Sample>> {
    let started = Instant::now();
    let mut samples = Vec::new();
    while started.elapsed() < duration {
        pause(BETWEEN_SAMPLES, "time is what a soak consists of");
        if started.elapsed() > WARM_UP {
            samples.push(Sample::take(server)?);
        }
    }
    Ok(samples)
}
