//! The limits hold under attack, and the server goes on serving. How well it does is measured by `make attack`: a figure
//! that depends on the machine is no test.

use std::path::Path;
use std::time::Duration;

use linger_testbed::netns;
use linger_testbed::server::Preload;
use linger_testbed::siege::{self, Attack, Force, Siege};

/// As long as the attackers need to show what they can do.
const APPROACH: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(1);

/// More than any table of ours takes for so few connections.
const MEMORY: u64 = 8 << 20;

fn lay(attack: Attack, peers: u32, settings: &[(&str, &str)]) -> Siege {
    let executable = Path::new(env!("CARGO_BIN_EXE_linger-attack"));
    let force = Force { attack, processes: 1, peers };
    let shim = Preload::shim().expect("shim");
    let siege = siege::lay(executable, Some(force), &shim, settings, APPROACH, WATCHED).expect("siege");
    println!("{attack:?}, {settings:?}: {} lingered at most, {} resets", siege.most_lingering, siege.resets);
    assert_eq!(siege.service.failures, 0, "the normal client was not served");
    assert!(siege.service.served() > 0);
    let (before, most) = siege.resident_bytes;
    assert!(most < before + MEMORY, "{before} bytes of memory, and then {most}");
    siege
}

/// What one call receives is in the table before the others make way for it.
const JUST_RECEIVED: u64 = linger::sys::passing::BATCH as u64;

#[test]
fn silent_peers_do_not_exceed_linger_max() {
    netns::isolated(|| {
        let limited = lay(Attack::Silence, 300, &[("LINGER_MAX", "50")]).most_lingering;
        assert!((50..=50 + JUST_RECEIVED).contains(&limited), "{limited} lingered");
        let unlimited = lay(Attack::Silence, 300, &[]).most_lingering;
        assert!(unlimited > 100, "only {unlimited} attackers lingered: nothing was limited");
    });
}

#[test]
fn peers_that_trickle_are_thrown_out_by_linger_max() {
    netns::isolated(|| {
        let siege = lay(Attack::Trickle, 100, &[("LINGER_MAX", "20")]);
        assert!(siege.most_lingering <= 20 + JUST_RECEIVED, "{} lingered", siege.most_lingering);
        assert!(siege.resets > 0, "nobody was thrown out");
    });
}

#[test]
fn peers_that_send_at_line_rate_are_thrown_out_by_linger_max_bytes() {
    netns::isolated(|| {
        let unlimited = lay(Attack::LineRate, 1, &[]);
        assert_eq!(unlimited.resets, 0, "somebody was thrown out without a limit");
        let limited = lay(Attack::LineRate, 1, &[("LINGER_MAX_BYTES", "65536")]);
        assert!(limited.resets > 0, "nobody was thrown out");
    });
}
