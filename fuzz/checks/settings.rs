//! `linger_configure` takes all of a configuration or nothing of it, and what it takes is within bounds and in force.

use arbitrary::Arbitrary;
use linger::{config, ffi};

#[derive(Arbitrary, Debug)]
pub struct Input {
    size: Option<usize>,
    times: [i32; 4],
    amounts: [i64; 2],
    counts: [i32; 2],
    words: [i32; 3],
    /// Bits: which fields are brought near their bounds, where arbitrary numbers hardly ever are.
    near: u16,
}

impl Input {
    fn number(&self, field: u16, given: i64) -> i64 {
        let edges = [-1, 0, 1, 2, 3, 1_000_000, 1_000_001, i64::from(i32::MAX)];
        if self.near >> field & 1 == 1 {
            edges[given.rem_euclid(8) as usize]
        } else {
            given
        }
    }
}

/// All that can be asked of the settings.
fn in_force() -> impl PartialEq + std::fmt::Debug {
    let numbers = (config::limits(), config::exit_ms(), config::max_connections(), config::max_per_peer());
    (numbers, config::when(), config::side(), config::log_level())
}

pub fn check(given: Input) {
    let [a, b, c, d] = given.times;
    let [e, f] = given.amounts;
    let [g, h] = given.counts;
    let [i, j, k] = given.words;
    let small = |field, n: i32| given.number(field, n.into()) as i32;
    let wanted = ffi::linger_config {
        size: given.size.unwrap_or(size_of::<ffi::linger_config>()),
        timeout_ms: small(0, a),
        idle_ms: small(1, b),
        max_ms: small(2, c),
        exit_ms: small(3, d),
        max_bytes: given.number(4, e),
        max_rate: given.number(5, f),
        max_connections: small(6, g),
        max_per_peer: small(7, h),
        when: small(8, i),
        side: small(9, j),
        log: small(10, k),
    };
    let before = in_force();
    // SAFETY: a structure of the right type; with another size it is not read.
    let result = unsafe { ffi::linger_configure(&wanted) };
    let acceptable = wanted.size == size_of::<ffi::linger_config>()
        && wanted.idle_ms != 0
        && wanted.max_connections <= 1_000_000
        && wanted.max_per_peer <= 1_000_000
        && wanted.when <= 1
        && wanted.side <= 1
        && wanted.log <= 2;
    assert_eq!(result == 0, acceptable);
    if !acceptable {
        assert_eq!(in_force(), before, "nothing was changed");
        return;
    }
    let limits = config::limits();
    let taken = |wanted: i64, now: i64| wanted < 0 || wanted == now;
    assert!(taken(wanted.timeout_ms.into(), limits.timeout_ms.into()));
    assert!(taken(wanted.idle_ms.into(), limits.idle_ms.into()) && limits.idle_ms >= 1);
    assert!(taken(wanted.max_ms.into(), limits.max_ms.into()));
    assert!(taken(wanted.exit_ms.into(), config::exit_ms() as i64));
    assert!(taken(wanted.max_bytes, limits.max_bytes as i64));
    assert!(taken(wanted.max_rate, limits.max_rate as i64));
    assert!(taken(wanted.max_connections.into(), config::max_connections() as i64));
    assert!(taken(wanted.max_per_peer.into(), config::max_per_peer().into()));
    assert!(taken(wanted.log.into(), config::log_level()));
}
