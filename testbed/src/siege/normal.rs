//! The clients that the server is there for: one that behaves as servers like it, and how long it waits; and one that says
//! something while its response is still on its way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::answers::Promise;
use crate::client::Client;
use crate::pause;
use crate::scenario::{request, PIPELINED, SMALL};

/// Between two requests.
const BREATH: Duration = Duration::from_millis(10);

/// The other one leaves more time, for its responses are larger.
const LONG_BREATH: Duration = Duration::from_millis(30);

/// What it sends late comes so long after the beginning of the response: the server has let go by then, as a rule.
const LATE: Duration = Duration::from_millis(20);

/// Its receive buffer: doubled, it does not hold all of the response, so that a reset costs something.
const LESS_THAN_HALF: usize = 32 * 1024;

/// How it went.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// From before the connect to the end of the response, in order.
    latencies: Vec<Duration>,
    /// Requests without a whole response.
    pub failures: usize,
}

impl Service {
    /// A request, a response, and the end of the connection, again and again for so long.
    #[must_use]
    pub fn of(server: SocketAddr, duration: Duration) -> Self {
        Self::repeat(duration, BREATH, || {
            Client::connect(server).is_ok_and(|mut client| {
                client.send(request(SMALL, "close").as_bytes());
                client.read_to_end();
                client.finish(&Promise { answers: 1, status: 200, body: SMALL }).all_complete()
            })
        })
    }

    /// The same with something sent after the request, when the server has let go: a plain close answers it with a reset,
    /// and what of the response is still with the server is lost.
    #[must_use]
    pub fn late(server: SocketAddr, duration: Duration) -> Self {
        Self::repeat(duration, LONG_BREATH, || {
            Client::connect_with_buffer(server, LESS_THAN_HALF).is_ok_and(|mut client| {
                client.send(request(PIPELINED, "close").as_bytes());
                client.wait_for_anything();
                pause(LATE, "what is late comes late");
                client.send(request(SMALL, "keep-alive").as_bytes());
                client.read_to_end();
                client.finish(&Promise { answers: 1, status: 200, body: PIPELINED }).all_complete()
            })
        })
    }

    /// `is_whole` again and again, once at least. That the server does not answer is a failure to be counted.
    fn repeat(duration: Duration, breath: Duration, mut is_whole: impl FnMut() -> bool) -> Self {
        let mut service = Self::default();
        let started = Instant::now();
        while service.requests() == 0 || started.elapsed() < duration {
            let before = Instant::now();
            if is_whole() {
                service.latencies.push(before.elapsed());
            } else {
                service.failures += 1;
            }
            pause(breath, "the normal load is light");
        }
        service.latencies.sort_unstable();
        service
    }

    /// One request, for tests of what is made of it.
    #[cfg(test)]
    pub(super) fn once(whole: bool) -> Self {
        let latencies = if whole { vec![BREATH] } else { Vec::new() };
        Self { failures: 1 - latencies.len(), latencies }
    }

    /// How many responses were whole.
    #[must_use]
    pub fn served(&self) -> usize {
        self.latencies.len()
    }

    /// How many were asked for.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.served() + self.failures
    }

    /// Nearest rank, in milliseconds.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }
}
