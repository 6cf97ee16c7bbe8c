//! What is promised under attack, and whether what was seen keeps it. No promise is about time: that depends on the machine.

use std::fmt;

use super::Siege;
use crate::server::Preload;

/// What one call receives is in the table before others make way for it.
const JUST_RECEIVED: u64 = linger::sys::passing::BATCH as u64;

/// `LINGER_MAX` where it is not set: liblinger(7).
const DEFAULT_MAX: u64 = 10_000;

/// Resident memory that a lingering connection may cost, and what may come to it for everything else.
const BYTES_EACH: u64 = 100;
const BYTES_MORE: u64 = 4 << 20;

/// Memory that nginx takes for a request, and keeps, where that many come at the same time.
const BYTES_A_REQUEST: u64 = 10 << 10;

/// What the clients that are no attackers receive and send, at most, for each small and each large response.
const SMALL_TRAFFIC: u64 = 8 << 10;
const LARGE_TRAFFIC: u64 = 256 << 10;

/// One promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Every request of the normal client is answered as a whole.
    Served,
    /// So is every one of the client that sends something late.
    LateServed,
    /// So many linger at once, at most.
    AtMost(u64),
    /// So many did linger at once: that the others hold means nothing otherwise.
    AtLeast(u64),
    /// So many of one address, at most.
    OfOneAddress(u64),
    /// The server's processes take no more memory than so many lingering connections may cost, and the requests that it may
    /// have at once.
    Memory(u64),
    /// So many bytes are received of each attacking connection in a second of its life, and for one second more.
    Rate(u64),
    /// So many bytes are received of each attacking connection.
    Bytes(u64),
    /// Well-behaved peers of other addresses keep what lingers for them.
    NeighboursKept,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Served => write!(f, "every small response is whole"),
            Limit::LateServed => write!(f, "every response is whole in spite of late data"),
            Limit::AtMost(limit) => write!(f, "at most {limit} linger"),
            Limit::AtLeast(limit) => write!(f, "{limit} did linger"),
            Limit::OfOneAddress(limit) => write!(f, "at most {limit} of one address linger"),
            Limit::Memory(connections) => {
                write!(f, "memory grows by what {connections} lingering connections may cost, at most")
            }
            Limit::Rate(rate) => {
                write!(f, "at most {rate} bytes a second are received of an attacking connection")
            }
            Limit::Bytes(bytes) => write!(f, "at most {bytes} bytes are received of an attacking connection"),
            Limit::NeighboursKept => write!(f, "every neighbour is kept"),
        }
    }
}

/// Whether it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The promise, and what was seen.
    pub text: String,
    /// Whether the promise was kept.
    pub holds: bool,
}

/// What these settings promise, whatever the attack.
#[must_use]
pub fn promised(preload: &Preload, settings: &[(&str, &str)]) -> Vec<Limit> {
    let mut limits = vec![Limit::Served];
    if !preload.is_shim() {
        return limits;
    }
    let set = |wanted: &str| {
        let (_, value) = settings.iter().find(|(name, _)| *name == wanted)?;
        value.parse::<u64>().ok().filter(|value| *value > 0)
    };
    let max = set("LINGER_MAX").unwrap_or(DEFAULT_MAX);
    let per_peer = set("LINGER_MAX_PER_PEER");
    // Whoever came within the last delayed acknowledgement (40 ms) counts as waiting for a response still. Where so many come that
    // they alone take all places, they drive out those that really wait.
    if max >= DEFAULT_MAX || per_peer.is_some() {
        limits.push(Limit::LateServed);
    }
    limits.extend([Limit::AtMost(max), Limit::Memory(max)]);
    limits.extend(per_peer.map(Limit::OfOneAddress));
    limits.extend(set("LINGER_MAX_RATE").map(Limit::Rate));
    limits.extend(set("LINGER_MAX_BYTES").map(Limit::Bytes));
    limits
}

impl Limit {
    /// Whether this siege kept it.
    #[must_use]
    pub fn check(self, siege: &Siege) -> Verdict {
        let lingering = siege.most_lingering;
        let at_most = |what: &str, seen: u64, limit: u64| Verdict {
            text: format!("{what}: at most {limit} and {JUST_RECEIVED} just received, seen {seen}"),
            holds: seen <= limit + JUST_RECEIVED,
        };
        let megabytes = |what: &str, seen: u64, limit: u64| Verdict {
            text: format!("{what}: at most {:.1} MB, seen {:.1} MB", limit as f64 / 1e6, seen as f64 / 1e6),
            holds: seen <= limit,
        };
        let whole = |what: &str, whole: usize, of: usize| Verdict {
            text: format!("{what}: {whole} of {of}"),
            holds: whole == of && of > 0,
        };
        let (service, late) = (&siege.service, &siege.late);
        match self {
            Limit::Served => whole("whole responses", service.served(), service.requests()),
            Limit::LateServed => {
                whole("whole responses in spite of late data", late.served(), late.requests())
            }
            Limit::AtMost(limit) => at_most("lingering", lingering, limit),
            Limit::AtLeast(limit) => Verdict {
                text: format!("lingering: at least {limit}, seen {lingering}"),
                holds: lingering >= limit,
            },
            Limit::OfOneAddress(limit) => {
                let seen = siege.most_of_one_address;
                let verdict = at_most("lingering of one address", seen, limit);
                // Where nobody looked, or nobody lingered, nothing was bounded.
                Verdict { holds: verdict.holds && seen > 0, ..verdict }
            }
            Limit::Memory(connections) => {
                let (before, most) = siege.resident_bytes;
                let allowed = connections * BYTES_EACH + siege.most_requests * BYTES_A_REQUEST + BYTES_MORE;
                megabytes("memory of the server more", most.saturating_sub(before), allowed)
            }
            Limit::Rate(rate) => {
                let seconds = siege.elapsed.as_secs_f64() + 1.0;
                let each = (rate as f64 * seconds) as u64 + siege.receive_queue;
                megabytes("received", siege.traffic.received_bytes, siege.allowed_bytes(each))
            }
            Limit::Bytes(bytes) => {
                let each = bytes + siege.receive_queue;
                megabytes("received", siege.traffic.received_bytes, siege.allowed_bytes(each))
            }
            Limit::NeighboursKept => {
                let neighbours = siege.neighbours;
                let all = neighbours.kept + neighbours.lost;
                whole("neighbours kept", neighbours.kept as usize, all as usize)
            }
        }
    }
}

impl Siege {
    /// How many bytes the kernel may have received where so many are allowed of each attacking connection.
    fn allowed_bytes(&self, each: u64) -> u64 {
        let small = self.service.requests() as u64 + u64::from(super::NEIGHBOURS);
        let large = self.late.requests() as u64;
        let attacking = self.traffic.accepted.saturating_sub(small + large);
        // Headers and acknowledgements: with packets of 64 KiB hardly anything.
        let payload = attacking * each;
        payload + payload / 20 + small * SMALL_TRAFFIC + large * LARGE_TRAFFIC
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Neighbours, Service, Traffic};
    use super::*;

    /// One that keeps everything that any of these settings promises.
    fn good() -> Siege {
        let served = || Service::once(true);
        Siege {
            service: served(),
            late: served(),
            neighbours: Neighbours { kept: 50, lost: 0 },
            most_lingering: 100,
            most_of_one_address: 10,
            threads: 3,
            resident_bytes: (18_000_000, 18_500_000),
            kernel_bytes: (0, 0),
            silent_percent: None,
            processor_percent: 1.0,
            elapsed: Duration::from_secs(9),
            traffic: Traffic { received_bytes: 1_000_000, accepted: 54, resets: 0 },
            received_a_second: 0.0,
            receive_queue: 1_000_000,
            most_requests: 10,
        }
    }

    const ALL: [(&str, &str); 4] = [
        ("LINGER_MAX", "100"),
        ("LINGER_MAX_PER_PEER", "10"),
        ("LINGER_MAX_RATE", "1000000"),
        ("LINGER_MAX_BYTES", "1000000"),
    ];

    fn broken(siege: &Siege) -> Vec<Limit> {
        let mut limits = promised(&Preload::Shim("liblinger.so".into()), &ALL);
        limits.extend([Limit::AtLeast(100), Limit::NeighboursKept]);
        limits.retain(|limit| !limit.check(siege).holds);
        limits
    }

    #[test]
    fn a_siege_that_keeps_all_of_them_breaks_none() {
        assert_eq!(broken(&good()), []);
    }

    #[test]
    fn every_promise_can_be_broken() {
        let failed = || Service::once(false);
        let traffic = |received_bytes| Traffic { received_bytes, ..good().traffic };
        for (siege, expected) in [
            (Siege { service: failed(), ..good() }, vec![Limit::Served]),
            (Siege { late: failed(), ..good() }, vec![Limit::LateServed]),
            (Siege { service: Service::default(), ..good() }, vec![Limit::Served]),
            (Siege { most_lingering: 133, ..good() }, vec![Limit::AtMost(100)]),
            (Siege { most_lingering: 99, ..good() }, vec![Limit::AtLeast(100)]),
            (Siege { most_of_one_address: 43, ..good() }, vec![Limit::OfOneAddress(10)]),
            (Siege { most_of_one_address: 0, ..good() }, vec![Limit::OfOneAddress(10)]),
            (Siege { resident_bytes: (18_000_000, 23_000_000), ..good() }, vec![Limit::Memory(100)]),
            (Siege { traffic: traffic(7_000_000), ..good() }, vec![Limit::Bytes(1_000_000)]),
            (
                Siege { traffic: traffic(30_000_000), ..good() },
                vec![Limit::Rate(1_000_000), Limit::Bytes(1_000_000)],
            ),
            (Siege { neighbours: Neighbours { kept: 49, lost: 1 }, ..good() }, vec![Limit::NeighboursKept]),
        ] {
            assert_eq!(broken(&siege), expected);
        }
    }

    #[test]
    fn few_places_do_not_promise_that_those_who_wait_keep_theirs() {
        let shim = Preload::Shim("liblinger.so".into());
        let late = |settings: &[(&str, &str)]| promised(&shim, settings).contains(&Limit::LateServed);
        assert!(late(&[]));
        assert!(!late(&ALL[..1]));
        assert!(late(&ALL[..2]), "the others are kept from taking them");
    }

    #[test]
    fn without_the_library_only_the_service_is_promised() {
        assert_eq!(promised(&Preload::None, &ALL), [Limit::Served]);
    }
}
