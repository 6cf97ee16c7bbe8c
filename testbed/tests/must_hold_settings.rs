//! The `LINGER_*` variables: what is wrong is said once and changes nothing, and nothing is said unasked.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use linger_testbed::closer::{Closer, Start, Way};
use linger_testbed::crowd::Crowd;
use linger_testbed::server::{find_program, Preload};
use linger_testbed::{netns, settings, DEADLINE};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_call-latency");

/// Wrong values, what is accepted, and what is used.
const WRONG: [(&str, &[&str], &[&str], &str); 12] = [
    ("LINGER_TIMEOUT_MS", &["", "-1", "30s", "99999999999"], &["0", "2147483647"], "30000"),
    ("LINGER_IDLE_MS", &["0", "soon"], &["1", "2147483647"], "5000"),
    ("LINGER_MAX_MS", &["0x10", " 7"], &["0", "2147483647"], "120000"),
    ("LINGER_EXIT_MS", &["1.5", "-0.1"], &["0", "2147483647"], "2000"),
    ("LINGER_MAX_BYTES", &["1M", "-5"], &["0", "9223372036854775807"], "0"),
    ("LINGER_MAX_RATE", &["1M/s", "-1"], &["0", "9223372036854775807"], "0"),
    ("LINGER_MAX_PER_PEER", &["1000001", "all"], &["0", "1000000"], "0"),
    ("LINGER_MAX", &["1000001", "many"], &["0", "1000000"], "10000"),
    ("LINGER_WHEN", &["Open", "always", ""], &["open", "unread"], "open"),
    ("LINGER_SIDE", &["client", "1"], &["server", "both"], "server"),
    ("LINGER_LOG", &["verbose", "2"], &["off", "info", "debug"], "off"),
    ("LINGER_PRELOAD", &["2", "yes", ""], &["0", "1"], "as without it"),
];

/// A program with a behaviour of its own, as far as it can be seen from outside.
fn run(preload: &Preload, settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(find_program("sh", "dash").expect("a shell"));
    command.args(["-c", "read line; echo \"it said $line\"; exit 7"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    settings::apply(&mut command, preload, settings);
    let mut child = command.spawn().expect("sh");
    child.stdin.take().expect("stdin").write_all(b"hello\n").expect("write");
    child.wait_with_output().expect("wait")
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

#[test]
fn every_variable_is_tried() {
    let (mut tried, mut names) = (WRONG.map(|(name, ..)| name).to_vec(), settings::names());
    tried.sort_unstable();
    names.sort_unstable();
    assert_eq!(tried, names);
}

#[test]
fn a_wrong_value_is_said_once_with_what_is_accepted_and_what_is_used() {
    let shim = Preload::shim().expect("shim");
    let usual = run(&Preload::None, &[]);
    assert_eq!((usual.status.code(), &usual.stdout[..]), (Some(7), &b"it said hello\n"[..]));
    for (name, values, accepted, default) in WRONG {
        for value in values {
            let output = run(&shim, &[(name, value)]);
            let said = lines(&output.stderr);
            let [line] = &said[..] else { panic!("{name}={value:?}: not one line: {said:?}") };
            assert!(line.starts_with("liblinger["), "{line:?} does not say who speaks");
            let named = format!("{name}=");
            for part in [&named, default].into_iter().chain(accepted.iter().copied()) {
                assert!(line.contains(part), "{name}={value:?}: no {part:?} in {line:?}");
            }
            assert_eq!(
                (output.status, output.stdout),
                (usual.status, usual.stdout.clone()),
                "{name}={value:?}"
            );
        }
    }
}

#[test]
fn every_wrong_variable_has_its_line() {
    let all: Vec<_> = WRONG.iter().map(|(name, values, ..)| (*name, values[0])).collect();
    let said = lines(&run(&Preload::shim().expect("shim"), &all).stderr);
    assert_eq!(said.len(), WRONG.len(), "{said:?}");
    for (name, _) in all {
        assert_eq!(said.iter().filter(|line| line.contains(&format!("{name}="))).count(), 1, "{said:?}");
    }
}

#[test]
fn right_values_are_taken_without_a_word() {
    let shim = Preload::shim().expect("shim");
    for (name, _, accepted, _) in WRONG {
        for value in accepted.iter().filter(|_| name != "LINGER_LOG") {
            assert_eq!(lines(&run(&shim, &[(name, value)]).stderr), [""; 0], "{name}={value}");
        }
    }
    assert_eq!(lines(&run(&shim, &[]).stderr), [""; 0], "nothing set");
    assert_eq!(lines(&run(&shim, &[("LINGER_LOG", "off")]).stderr), [""; 0]);
}

#[test]
fn info_is_one_line_at_start() {
    let said = lines(&run(&Preload::shim().expect("shim"), &[("LINGER_LOG", "info")]).stderr);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("liblinger[") && said[0].contains(" on "), "{said:?}");
}

/// What a program says while three silent peers and one that has closed are let go of, and end.
fn said_while_closing(level: &str) -> Vec<String> {
    let dir = TempDir::new().expect("directory");
    let log = dir.path().join("stderr");
    let stderr = File::create(&log).expect("file").into();
    let settings = &[("LINGER_LOG", level)];
    let preload = Preload::shim().expect("shim");
    let start = Start { settings, stderr, ..Start::new(PROGRAM, preload) };
    close_four(Closer::start(start).expect("program"));
    lines(&std::fs::read(Path::new(&log)).expect("read"))
}

fn close_four(mut closer: Closer) {
    let mut gone = Crowd::of(closer.address());
    closer.accept(&mut gone, 1).expect("connection");
    gone.leave(1);
    let mut silent = Crowd::of(closer.address());
    closer.accept(&mut silent, 3).expect("connections");
    closer.let_go(Way::Close, 4).expect("close");
    silent.wait_until_lingering(3).expect("they linger");
    silent.leave(3);
    closer.wait_until_pending(0).expect("they end");
}

#[test]
fn debug_is_a_line_for_every_outcome_too() {
    netns::isolated(|| {
        let said = said_while_closing("debug");
        assert_eq!(said.len(), 1 + 4, "{said:#?}");
        let outcomes: Vec<_> = said.iter().filter(|line| line.contains(" fin ")).collect();
        assert_eq!(outcomes.len(), 4, "{said:#?}");
    });
}

#[test]
fn info_says_nothing_of_outcomes() {
    netns::isolated(|| assert_eq!(said_while_closing("info").len(), 1));
}

/// A program that never writes there itself does not expect the signal.
#[test]
fn a_standard_error_that_nobody_reads_does_not_end_the_program() {
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let mut command = Command::new(find_program("sh", "dash").expect("a shell"));
    command.args(["-c", "exit 7"]).stdin(Stdio::null()).stderr(writer);
    let settings = [("LINGER_MAX", "wrong"), ("LINGER_LOG", "info")];
    settings::apply(&mut command, &Preload::shim().expect("shim"), &settings);
    let status = command.status().expect("sh");
    assert_eq!(status.code(), Some(7), "{status}");
}

/// As under inetd: what is said on standard error goes to a client.
#[test]
fn nothing_is_said_to_a_client_on_standard_error() {
    netns::isolated(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let mut client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        client.set_read_timeout(Some(DEADLINE)).expect("timeout");
        let (server_end, _) = listener.accept().expect("accept");
        let start = Start {
            settings: &[("LINGER_LOG", "debug"), ("LINGER_MAX", "wrong")],
            stderr: OwnedFd::from(server_end).into(),
            ..Start::new(PROGRAM, Preload::shim().expect("shim"))
        };
        // The program ends in here, and the connection with it.
        close_four(Closer::start(start).expect("program"));
        let mut heard = String::new();
        client.read_to_string(&mut heard).expect("its end");
        assert_eq!(heard, "", "the client was told");
    });
}
