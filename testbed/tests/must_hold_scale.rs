//! What 2,000 lingering connections cost the program: one thread, one descriptor, few bytes.

use linger_testbed::anatomy::Anatomy;
use linger_testbed::closer::{Closer, Start, Way};
use linger_testbed::crowd::{allow_descriptors, Crowd, ServerEnd};
use linger_testbed::netns;
use linger_testbed::server::Preload;

const PROGRAM: &str = env!("CARGO_BIN_EXE_call-latency");

/// After so many the drain thread is there, with its stack and the first page of each of its tables.
const FEW: usize = 200;

const MANY: usize = 2000;

/// Bytes of memory that a lingering connection may cost the program.
const BYTES_EACH: f64 = 64.0;

fn start(preload: Preload) -> (Closer, Crowd) {
    allow_descriptors(2 * MANY as u64).expect("descriptors");
    let closer = Closer::start(Start::new(PROGRAM, preload)).expect("program");
    let crowd = Crowd::of(closer.address());
    (closer, crowd)
}

#[test]
fn two_thousand_linger_on_one_thread() {
    netns::isolated(|| {
        let (mut closer, mut crowd) = start(Preload::shim().expect("shim"));
        let before = closer.anatomy().threads().expect("threads").len();
        closer.accept(&mut crowd, MANY).expect("connections");
        let accepted = closer.anatomy().threads().expect("threads").len();
        assert_eq!(accepted, before, "nothing has lingered, so there is nothing for a thread to do");

        closer.let_linger(Way::Close, MANY, 0).expect("they linger");
        let threads = closer.anatomy().threads().expect("threads");
        assert_eq!(threads.len(), before + 1, "{threads:?}");
        closer.anatomy().drain_thread().expect("its name");
        assert_eq!(closer.anatomy().status("Threads").expect("status"), (before + 1).to_string());
        assert_eq!(closer.pending().expect("pending"), Some(MANY));
    });
}

#[test]
fn two_thousand_linger_behind_one_descriptor_of_the_program() {
    netns::isolated(|| {
        let (mut closer, mut crowd) = start(Preload::shim().expect("shim"));
        let before = closer.anatomy().descriptors().expect("descriptors");
        closer.accept(&mut crowd, MANY).expect("connections");
        closer.let_linger(Way::Close, MANY, 0).expect("they linger");

        let mut after = closer.anatomy().descriptors().expect("descriptors");
        after.retain(|number, target| before.get(number) != Some(target));
        let after: Vec<_> = after.into_iter().collect();
        let [(number, target)] = &after[..] else {
            panic!("not the channel alone was added: {after:?}");
        };
        assert!(*number > 2 && target.starts_with("socket:["), "{after:?}");
        assert!(is_unix(closer.anatomy(), target), "{target} is not the channel");
        let lingering = crowd.server_ends().expect("table");
        assert!(lingering.iter().all(|end| *end == ServerEnd::Lingering));
    });
}

/// Whether `socket:[INODE]` is in the process's table of Unix sockets.
fn is_unix(process: Anatomy, target: &str) -> bool {
    let inode = target.trim_start_matches("socket:[").trim_end_matches(']');
    let table = process.unix_sockets().expect("net/unix");
    table.lines().any(|line| line.split_ascii_whitespace().nth(6) == Some(inode))
}

/// What every connection costs shows between few and many; what the drain thread costs once is in both.
#[test]
fn a_lingering_connection_costs_fewer_than_64_bytes() {
    netns::isolated(|| {
        let (mut closer, mut crowd) = start(Preload::shim().expect("shim"));
        let memory = |closer: &Closer| closer.anatomy().anonymous_bytes().expect("memory");
        closer.accept(&mut crowd, MANY).expect("connections");
        let none = memory(&closer);
        closer.let_linger(Way::Close, FEW, 0).expect("a few linger");
        let few = memory(&closer);
        closer.let_linger(Way::Close, MANY - FEW, FEW).expect("many linger");
        let many = memory(&closer);

        let each = many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
        println!("{each:.1} bytes a lingering connection; {} for the first {FEW}", few - none);
        assert!(each < BYTES_EACH, "{each:.1} bytes each");
    });
}

#[test]
fn the_same_program_without_the_shim_gains_and_keeps_nothing() {
    netns::isolated(|| {
        let (mut closer, mut crowd) = start(Preload::None);
        let threads = closer.anatomy().threads().expect("threads");
        let descriptors = closer.anatomy().descriptors().expect("descriptors");
        closer.accept(&mut crowd, MANY).expect("connections");
        closer.let_go(Way::Close, MANY).expect("close");
        assert_eq!(closer.anatomy().threads().expect("threads"), threads);
        assert_eq!(closer.anatomy().descriptors().expect("descriptors"), descriptors);
        let ends = crowd.server_ends().expect("table");
        assert!(ends.iter().all(|end| *end == ServerEnd::Orphaned), "something lingers");
        assert_eq!(closer.pending().expect("pending"), None, "there is no such function");
    });
}
