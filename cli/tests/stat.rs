//! What `linger stat` says is what happened.

mod stat_subjects;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use linger_testbed::closer::{Statistics, Way as LetGo};
use linger_testbed::crowd::Crowd;
use linger_testbed::netns::isolated;
use linger_testbed::pause;
use serde_json::Value;
use stat_subjects::{
    client_of, discarded_of, linger, look, look_until, look_until_lingering, patient_closer, Subject, Told,
    Way,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The same numbers as `linger_stats()` has.
fn assert_same(seen: &Value, own: &Statistics) {
    let Statistics { lingered, pending, fin, reset, idle, timeout, bytes, evicted, closed, .. } = *own;
    let outcomes = serde_json::json!({
        "fin": fin, "reset": reset, "idle": idle, "timeout": timeout, "bytes": bytes, "evicted": evicted,
        "closed": closed,
    });
    assert_eq!(seen["outcomes"], outcomes);
    let numbers = ["lingered", "lingering", "shared", "fallbacks", "discarded_bytes"].map(|name| &seen[name]);
    let expected = [lingered, pending, own.shared, own.fallbacks, own.bytes_discarded].map(Value::from);
    assert_eq!(numbers, expected.each_ref(), "{own:?}");
}

#[test]
fn connections_are_counted_while_they_linger_and_when_they_have_ended() {
    isolated(|| {
        let (mut closer, pid) = patient_closer();
        let before = look(pid);
        assert_eq!((&before["state"], &before["lingering"]), (&"nothing_lingered_yet".into(), &0.into()));
        let mut crowd = Crowd::of(closer.address());
        closer.accept(&mut crowd, 5).expect("connections");
        closer.let_linger(LetGo::Close, 5, 0).expect("they linger");
        let seen = look_until_lingering(pid, 5);
        assert_eq!((&seen["state"], &seen["drain_threads"]), (&"publishing".into(), &1.into()));
        assert_eq!((&seen["command"], &seen["pid"]), (&"call-latency".into(), &pid.into()));
        assert_eq!(seen["library_version"], env!("CARGO_PKG_VERSION"));
        assert_same(&seen, &closer.statistics().expect("statistics"));

        let oldest = |seen: &Value| seen["oldest_ms"].as_u64();
        let first = oldest(&seen);
        assert!(first < Some(60_000), "{seen}");
        let grown = look_until(pid, |seen| oldest(seen) > first);
        let ages = grown["connections"].as_array().expect("connections").iter();
        assert_eq!(ages.filter(|connection| connection["age_ms"].as_u64() >= first).count(), 5, "{grown}");

        crowd.leave(2);
        assert_eq!(look_until_lingering(pid, 3)["outcomes"]["fin"], 2);
        crowd.leave(3);
        let seen = look_until_lingering(pid, 0);
        assert_eq!((&seen["outcomes"]["fin"], &seen["lingered"]), (&5.into(), &5.into()));
        assert_eq!((&seen["oldest_ms"], &seen["connections"]), (&Value::Null, &Value::Array(Vec::new())));
        assert_same(&seen, &closer.statistics().expect("statistics"));
    });
}

#[test]
fn what_was_sent_late_is_counted_to_the_byte() {
    isolated(|| {
        let (mut closer, pid) = patient_closer();
        let mut clients: Vec<TcpStream> = (0..3).map(|_| client_of(&mut closer)).collect();
        closer.let_go(LetGo::Close, 3).expect("close");
        look_until_lingering(pid, 3);
        let sizes = [0, 5, 300_000];
        for (client, size) in clients.iter_mut().zip(sizes) {
            client.write_all(&vec![b'x'; size]).expect("send");
        }
        for (client, size) in clients.iter().zip(sizes) {
            let peer = client.local_addr().expect("address");
            let seen = look_until(pid, |seen| discarded_of(seen, peer) == Some(size as u64));
            assert_eq!(seen["discarded_bytes"], 0, "none has ended");
        }
        assert_eq!(look(pid)["lingering_discarded_bytes"], 300_005);
        let last = clients.pop();
        drop(clients);
        let seen = look_until_lingering(pid, 1);
        assert_eq!(
            (&seen["discarded_bytes"], &seen["lingering_discarded_bytes"]),
            (&5.into(), &300_000.into())
        );
        drop(last);
        let seen = look_until_lingering(pid, 0);
        assert_eq!(
            (&seen["discarded_bytes"], &seen["lingering_discarded_bytes"]),
            (&300_005.into(), &0.into())
        );
    });
}

/// Peers and server's ends as `linger stat` tells them.
fn addresses(seen: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let connections = seen["connections"].as_array().expect("connections").iter();
    let mut all: Vec<_> = connections.map(|one| (text(&one["peer"]), text(&one["local"]))).collect();
    all.sort();
    all
}

fn addresses_of(clients: &[TcpStream]) -> Vec<(String, String)> {
    let ends = |client: &TcpStream| {
        (client.local_addr().expect("address").to_string(), client.peer_addr().expect("address").to_string())
    };
    let mut all: Vec<_> = clients.iter().map(ends).collect();
    all.sort();
    all
}

#[test]
fn every_connection_is_listed_with_its_real_addresses() {
    for way in [Way::Preloaded, Way::Linked, Way::LinkedStatically] {
        isolated(move || {
            let mut subject = Subject::start(way);
            let mut clients = subject.let_go_of(2, V4);
            look_until_lingering(subject.pid(), 2);
            clients.extend(subject.let_go_of(1, V6));
            let seen = look_until_lingering(subject.pid(), 3);
            assert_eq!(addresses(&seen), addresses_of(&clients));
            for connection in seen["connections"].as_array().expect("connections") {
                // Its FIN may not be acknowledged yet.
                let state = connection["state"].as_str().expect("a state");
                assert!(state.starts_with("FIN-WAIT"), "{connection}");
                assert_eq!(connection["deadline_ms"], 600_000);
            }
            let ages: Vec<_> = seen["connections"].as_array().expect("connections").iter().collect();
            assert!(ages.is_sorted_by(|a, b| a["age_ms"].as_u64() >= b["age_ms"].as_u64()), "{seen}");
            drop(clients);
            assert_eq!(look_until_lingering(subject.pid(), 0)["outcomes"]["fin"], 3, "{way:?}");
        });
    }
}

#[test]
fn addresses_are_those_of_the_network_namespace_of_the_process() {
    isolated(|| {
        let (mut closer, pid) = patient_closer();
        let client = client_of(&mut closer);
        closer.let_go(LetGo::Close, 1).expect("close");
        look_until_lingering(pid, 1);
        // The first thread of this test program has stayed outside.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", std::process::id())).arg(linger().get_program());
        let told = Told::by(command.args(["stat", "--json", "--connections"]).arg(pid.to_string()));
        told.assert_well();
        assert_eq!(addresses(&told.json()["processes"][0]), addresses_of(&[client]));
    });
}

#[test]
fn the_counters_of_a_forked_child_are_its_own() {
    isolated(|| {
        let mut subject = Subject::start(Way::Preloaded);
        let parent = subject.pid();
        let of_parent = subject.let_go_of(3, V4);
        look_until_lingering(parent, 3);
        let child = subject.tell("fork");
        assert_ne!(child, parent);
        let seen = look(child);
        assert_eq!((&seen["state"], &seen["lingered"]), (&"nothing_lingered_yet".into(), &0.into()));

        let mut of_child = subject.let_go_of(2, V4);
        let seen = look_until_lingering(child, 2);
        assert_eq!((&seen["lingered"], &seen["drain_threads"]), (&2.into(), &1.into()));
        assert_eq!(addresses(&seen), addresses_of(&of_child));
        of_child[0].write_all(b"late").expect("send");
        drop(of_child);
        let seen = look_until_lingering(child, 0);
        assert_eq!((&seen["outcomes"]["fin"], &seen["discarded_bytes"]), (&2.into(), &4.into()));

        let seen = look(parent);
        assert_eq!(
            [&seen["lingered"], &seen["lingering"], &seen["outcomes"]["fin"], &seen["discarded_bytes"]],
            [3, 3, 0, 0].map(Value::from).each_ref()
        );
        assert_eq!(addresses(&seen), addresses_of(&of_parent));
        assert_eq!(subject.tell("leave"), parent);
    });
}

#[test]
fn drain_threads_of_one_process_are_summed() {
    isolated(|| {
        let (mut closer, pid) = patient_closer();
        closer.tell("limit 256").expect("setrlimit");
        let mut crowd = Crowd::of(closer.address());
        let (rounds, each) = (6, 80);
        for round in 1..=rounds {
            closer.accept(&mut crowd, each).expect("connections");
            closer.let_go(LetGo::Close, each).expect("close");
            look_until_lingering(pid, (round * each) as u64);
        }
        let seen = look(pid);
        assert!(seen["drain_threads"].as_u64() > Some(1), "{seen}");
        assert_eq!(seen["lingered"], rounds * each);
        let peers: std::collections::HashSet<_> = addresses(&seen).into_iter().collect();
        assert_eq!(peers.len(), rounds * each);
        assert!(peers.iter().all(|(_, local)| *local == closer.address().to_string()), "{peers:?}");
        assert_same(&seen, &closer.statistics().expect("statistics"));

        crowd.leave(rounds * each);
        assert_eq!(look_until_lingering(pid, 0)["outcomes"]["fin"], rounds * each);
    });
}

/// A program that links the static library may close every descriptor, the way to the drain thread among them. There is a new
/// thread then, and what the old one counted still counts.
#[test]
fn drain_threads_whose_channel_was_swept_are_summed_too() {
    isolated(|| {
        let mut subject = Subject::start(Way::LinkedStatically);
        let before = subject.let_go_of(2, V4);
        look_until_lingering(subject.pid(), 2);
        subject.tell("sweep");
        // The first close of all finds the channel gone, and is drained without waiting.
        let after = subject.let_go_of(5, V4);
        let number = |seen: &Value, name: &str| seen[name].as_u64().expect("a number");
        let seen = look_until(subject.pid(), |seen| {
            number(seen, "lingered") + number(seen, "fallbacks") == 7 && seen["lingering"] == seen["lingered"]
        });
        assert_eq!(seen["drain_threads"], 2);
        let lingering = number(&seen, "lingering");
        assert!(lingering > 2, "{seen}");
        assert_eq!(addresses(&seen).len() as u64, lingering);
        drop(before);
        assert_eq!(look_until_lingering(subject.pid(), lingering - 2)["outcomes"]["fin"], 2);
        drop(after);
        assert_eq!(look_until_lingering(subject.pid(), 0)["outcomes"]["fin"], lingering);
    });
}

#[test]
fn the_age_is_told_by_the_clock_of_the_process() {
    isolated(|| {
        let (mut closer, pid) = patient_closer();
        let _client = client_of(&mut closer);
        closer.let_go(LetGo::Close, 1).expect("close");
        look_until_lingering(pid, 1);
        pause(Duration::from_millis(50), "time is the subject");
        let mut command = Command::new("unshare");
        command.args(["--time", "--monotonic", "1000000", "--"]).arg(linger().get_program());
        let told = Told::by(command.args(["stat", "--json"]).arg(pid.to_string()));
        told.assert_well();
        let oldest = told.json()["processes"][0]["oldest_ms"].as_u64().expect("an age");
        assert!((50..600_000).contains(&oldest), "{oldest} ms");
    });
}
