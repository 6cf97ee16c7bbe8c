//! The client that the server is there for, and how long it waits.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::answers::Promise;
use crate::client::Client;
use crate::pause;
use crate::scenario::{request, SMALL};

/// Between two requests.
const BREATH: Duration = Duration::from_millis(10);

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
    ///
    /// # Errors
    ///
    /// If the client cannot be set up. That the server does not answer is a failure to be counted.
    pub fn of(server: SocketAddr, duration: Duration) -> Result<Self> {
        let mut service = Self::default();
        let started = Instant::now();
        while started.elapsed() < duration {
            let before = Instant::now();
            let whole = Client::connect(server).is_ok_and(|mut client| {
                client.send(request(SMALL, "close").as_bytes());
                client.read_to_end();
                client.finish(&Promise { answers: 1, status: 200, body: SMALL }).all_complete()
            });
            if whole {
                service.latencies.push(before.elapsed());
            } else {
                service.failures += 1;
            }
            pause(BREATH, "the normal load is light");
        }
        service.latencies.sort_unstable();
        Ok(service)
    }

    /// Two as one.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        self.latencies.extend(later.latencies);
        self.latencies.sort_unstable();
        self.failures += later.failures;
        self
    }

    /// How many responses were whole.
    #[must_use]
    pub fn served(&self) -> usize {
        self.latencies.len()
    }

    /// Nearest rank, in milliseconds.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(rank).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }
}
