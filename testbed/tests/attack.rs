//! The limits hold under attack, and the server goes on serving. How well it does is measured by `make attack`: a figure
//! that depends on the machine is no test.
//!
//! Every limit is also seen to be broken where its variable is not set: a check that cannot fail proves nothing.

use std::path::Path;
use std::time::Duration;

use linger_testbed::netns;
use linger_testbed::server::Preload;
use linger_testbed::siege::{self, promised, Attack, Force, Homes, Limit, Plan, Siege};

/// As long as the attackers need to show what they can do.
const APPROACH: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(1);

fn lay(force: Force, settings: &[(&str, &str)]) -> Siege {
    let preload = Preload::shim().expect("shim");
    let siege = siege::lay(&Plan {
        executable: Path::new(env!("CARGO_BIN_EXE_linger-attack")),
        force: Some(force),
        preload: &preload,
        settings,
        approach: APPROACH,
        silence: Duration::ZERO,
        duration: WATCHED,
    });
    let siege = siege.expect("siege");
    println!("{:?}, {settings:?}: {siege:?}", force.attack);
    hold(&siege, &promised(&preload, settings));
    siege
}

fn hold(siege: &Siege, limits: &[Limit]) {
    for limit in limits {
        let verdict = limit.check(siege);
        assert!(verdict.holds, "{}", verdict.text);
    }
}

fn breaks(siege: &Siege, limit: Limit) {
    let verdict = limit.check(siege);
    assert!(!verdict.holds, "nothing was limited: {}", verdict.text);
}

fn one_process(attack: Attack, peers: u32) -> Force {
    Force { attack, processes: 1, peers, homes: Homes::Own }
}

#[test]
fn silent_peers_do_not_exceed_linger_max() {
    netns::isolated(|| {
        let silent = one_process(Attack::Silence, 300);
        hold(&lay(silent, &[("LINGER_MAX", "50")]), &[Limit::AtLeast(50)]);
        breaks(&lay(silent, &[]), Limit::AtMost(50));
    });
}

#[test]
fn silent_peers_that_are_there_at_the_same_time_all_linger_and_the_others_are_served() {
    netns::isolated(|| {
        let crowd = Force { processes: 2, ..one_process(Attack::Crowd, 1000) };
        let patient = [("LINGER_IDLE_MS", "600000"), ("LINGER_TIMEOUT_MS", "600000")];
        hold(&lay(crowd, &patient), &[Limit::AtLeast(2000), Limit::NeighboursKept]);
    });
}

#[test]
fn peers_that_trickle_are_thrown_out_by_linger_max() {
    netns::isolated(|| {
        let siege = lay(one_process(Attack::Trickle, 100), &[("LINGER_MAX", "20")]);
        assert!(siege.traffic.resets > 0, "nobody was thrown out");
    });
}

#[test]
fn peers_that_send_at_line_rate_are_thrown_out_by_linger_max_bytes_and_slowed_down_by_linger_max_rate() {
    netns::isolated(|| {
        let sender = one_process(Attack::LineRate, 1);
        let unlimited = lay(sender, &[]);
        assert_eq!(unlimited.traffic.resets, 0, "somebody was thrown out without a limit");
        breaks(&unlimited, Limit::Bytes(65536));
        breaks(&unlimited, Limit::Rate(65536));
        assert!(lay(sender, &[("LINGER_MAX_BYTES", "65536")]).traffic.resets > 0, "nobody was thrown out");
        let slow = lay(sender, &[("LINGER_MAX_RATE", "65536")]);
        assert_eq!(slow.traffic.resets, 0, "somebody was thrown out, and not slowed down");
        hold(&slow, &[Limit::NeighboursKept]);
    });
}

#[test]
fn one_address_that_holds_everything_is_held_off_by_linger_max_per_peer() {
    netns::isolated(|| {
        let one_address = Force { homes: Homes::One, ..one_process(Attack::Silence, 500) };
        let max = ("LINGER_MAX", "100");
        hold(&lay(one_address, &[max, ("LINGER_MAX_PER_PEER", "10")]), &[Limit::NeighboursKept]);
        // Without the limit it drives everybody out.
        let unlimited = lay(one_address, &[max]);
        hold(&unlimited, &[Limit::AtLeast(100)]);
        assert!(unlimited.most_of_one_address > 50, "it does not hold everything");
        breaks(&unlimited, Limit::OfOneAddress(10));
        breaks(&unlimited, Limit::NeighboursKept);
    });
}
