//! Programs that are no TCP servers make the same system calls with the shim as without: a few more when they start,
//! and not one after that.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;

use linger_testbed::netns;
use linger_testbed::server::{find_program, Preload};
use linger_testbed::trace::{name, Comparison, Trace, ADDED_AT_START};
use tempfile::TempDir;

/// Two libraries with eight calls or so each, and the constructor's.
const HANDFUL: usize = 32;

fn compare(program: &[&str], directory: &Path) -> Comparison {
    let shim = Preload::shim().expect("shim");
    let bare = Trace::of(program, directory, &Preload::None).expect("trace");
    let preloaded = Trace::of(program, directory, &shim).expect("trace with the shim");
    bare.compare(&preloaded).expect("comparison")
}

fn is_untouched(program: &[&str], directory: &Path) {
    has_nothing_but_more_at_start(program, &compare(program, directory));
}

fn has_nothing_but_more_at_start(program: &[&str], comparison: &Comparison) {
    let added = &comparison.added_at_start;
    println!("{program:?}: {} calls, {} more at start", comparison.bare.len(), added.len());
    assert!(added.len() <= HANDFUL, "{} calls at start: {added:#?}", added.len());
    for call in added {
        assert!(ADDED_AT_START.contains(&name(call)), "{call} at start");
    }
    if let Some(difference) = comparison.first_difference() {
        panic!("{program:?}: {difference}");
    }
}

fn directory() -> TempDir {
    TempDir::new().expect("directory")
}

#[test]
fn ls_is_untouched() {
    let directory = directory();
    is_untouched(&["ls", "-R", "/usr/include"], directory.path());
}

#[test]
fn cat_is_untouched() {
    let directory = directory();
    fs::write(directory.path().join("file"), [b'x'; 300_000]).expect("write");
    is_untouched(&["cat", "file"], directory.path());
}

#[test]
fn sort_is_untouched() {
    let directory = directory();
    let numbers: Vec<_> = (0..5000).rev().map(|n| n.to_string()).collect();
    fs::write(directory.path().join("file"), numbers.join("\n")).expect("write");
    is_untouched(&["sort", "-o", "sorted", "file"], directory.path());
}

/// Whether what it accepts are TCP connections is asked of a listener, after its first accept(2), by the process that
/// owns what is remembered; says how often.
fn take_question_to_listener(calls: &mut Vec<String>) -> usize {
    let is_question = |call: &String| call.contains("SO_PROTOCOL");
    let questions = calls.iter().filter(|call| is_question(call)).count();
    if let Some(place) = calls.iter().position(is_question) {
        let from = place - usize::from(place > 0 && name(&calls[place - 1]) == "getpid");
        calls.drain(from..=place);
    }
    questions
}

/// `programs/descriptors.pl`: pipes, Unix sockets, UDP, streams, and a TCP connection that it opens itself.
#[test]
fn sockets_that_are_no_tcp_servers_are_untouched() {
    netns::isolated(|| {
        find_program("perl", "perl").expect("perl");
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("address").port().to_string();
        // Once for each of the two runs.
        let peer = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut connection, _) = listener.accept().expect("accept");
                connection.read_to_end(&mut Vec::new()).expect("its FIN");
            }
        });
        let directory = directory();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/descriptors.pl");
        let script = script.to_str().expect("a path in UTF-8");
        let program = ["perl", script, &port];
        let mut comparison = compare(&program, directory.path());
        assert_eq!(
            take_question_to_listener(&mut comparison.preloaded),
            1,
            "asked once, not at every accept"
        );
        has_nothing_but_more_at_start(&program, &comparison);
        peer.join().expect("the peer of its TCP connection");
    });
}
