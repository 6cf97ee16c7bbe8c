//! What cannot be tested is told in one line, with a word for scripts and exit code 2.

mod probing;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};

use linger_testbed::netns::isolated;
use probing::{free_address, probe, read_head, run, serve};

#[test]
fn a_name_that_does_not_exist() {
    probe(&["http://linger-probe.invalid/"]).assert_trouble("unknown_host");
}

#[test]
fn a_port_where_nobody_listens() {
    isolated(|| probe(&[&free_address().to_string()]).assert_trouble("connection_refused"));
}

#[test]
fn a_server_that_never_answers() {
    isolated(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        for (options, kind) in [
            (&[][..], "never_answered"),
            (&["--tls"], "tls"),
            (&["--protocol", "redis"], "never_answered"),
            (&["--protocol", "smtp"], "never_answered"),
            (&["--protocol", "tcp"], "never_answered"),
        ] {
            let arguments = [&[address.as_str(), "--timeout", "200ms"], options].concat();
            probe(&arguments).assert_trouble(kind);
        }
    });
}

#[test]
fn a_server_that_ends_every_connection_without_a_word() {
    isolated(|| {
        let address = serve(|stream| drop(read_head(&stream)));
        probe(&[&address.to_string()]).assert_trouble("closed_unanswered");
    });
}

#[test]
fn a_server_of_another_protocol() {
    isolated(|| {
        let address = serve(|mut stream| {
            // The client may be gone.
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
            read_head(&stream);
        });
        let probed = probe(&[&address.to_string()]);
        probed.assert_trouble("wrong_protocol");
        assert!(probed.stderr.contains("SSH-2.0"), "{probed:?}");
    });
}

#[test]
fn an_answer_too_large_for_a_probe() {
    isolated(|| {
        let address = serve(|mut stream| {
            read_head(&stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx");
        });
        probe(&[&address.to_string()]).assert_trouble("too_large");
    });
}

#[test]
fn arguments_that_mean_nothing() {
    let table: &[(&[&str], &str)] = &[
        (&["http://"], "bad_url"),
        (&["gopher://localhost"], "bad_url"),
        (&["http://u:p@localhost/"], "bad_url"),
        (&["localhost:1", "--timeout", "10"], "bad_duration"),
        (&["localhost:1", "--timeout", "soon"], "bad_duration"),
        (&["localhost:1", "--repeat", "0"], "bad_option"),
        (&["localhost:1", "--upload", "65"], "bad_option"),
        (&["localhost:1", "--data", r"\q"], "bad_option"),
        (&["redis://localhost", "--scenario", "late"], "bad_option"),
        (&["postgres://localhost", "--tls"], "bad_option"),
    ];
    for (arguments, kind) in table {
        probe(arguments).assert_trouble(kind);
    }
}

#[test]
fn without_json_there_is_one_line_on_stderr_and_nothing_else() {
    let probed = run(&["http://linger-probe.invalid/"]);
    assert_eq!((probed.code, probed.stdout.as_str()), (2, ""));
    assert!(probed.stderr.starts_with("linger: probe: linger-probe.invalid: "), "{probed:?}");
}

/// An HTTP server that answers `GET` with `answer` and then closes in order.
fn answer_in_order(answer: impl Fn() -> Vec<u8> + Send + 'static) -> SocketAddr {
    serve(move |mut stream| {
        read_head(&stream);
        let _ = stream.write_all(&answer());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // Everything is read before the close, so that no reset follows.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

#[test]
fn an_answer_whose_length_nobody_knows_is_not_judged() {
    isolated(|| {
        let turn = std::sync::atomic::AtomicUsize::new(1);
        let address = answer_in_order(move || {
            let length = 100_000 - 1000 * turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), vec![b'x'; length]].concat()
        });
        let probed = probe(&[&address.to_string(), "--scenario", "late", "--repeat", "1"]);
        assert_eq!(probed.code, 2, "{probed:?}");
        assert_eq!(probed.json()["summary"], "undecided");
        assert_eq!(probed.scenario("late")["results"][0]["reason"], "length_varies", "{probed:?}");
    });
}

#[test]
fn an_answer_without_a_length_is_compared_with_another_one() {
    isolated(|| {
        let address = answer_in_order(|| [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), vec![b'x'; 300_000]].concat());
        let probed = probe(&[&address.to_string(), "--scenario", "late", "--repeat", "1"]);
        probed.assert_clean();
        assert_eq!(probed.json()["reference"]["body_bytes"], 300_000, "{probed:?}");
    });
}

#[test]
fn an_answer_that_ends_too_early_is_no_matter_of_closing() {
    isolated(|| {
        let address = answer_in_order(|| b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour".to_vec());
        let probed = probe(&[&address.to_string(), "--scenario", "late", "--repeat", "1"]);
        assert_eq!(probed.code, 1, "{probed:?}");
        let result = &probed.scenario("late")["results"][0];
        assert_eq!(
            (&result["cause"], &result["missing_bytes"]),
            (&"early_fin".into(), &6.into()),
            "{probed:?}"
        );
        assert!(!probed.json()["advice"].as_str().expect("advice").contains("linger run"), "{probed:?}");
    });
}

#[test]
fn a_server_that_goes_away_in_between() {
    isolated(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let once = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            drop(listener);
            read_head(&stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("answer");
            read_head(&stream);
        });
        let probed = probe(&[&address.to_string(), "--scenario", "late", "--repeat", "2"]);
        once.join().expect("server");
        assert_eq!(probed.code, 2, "{probed:?}");
        let late = probed.scenario("late");
        assert_eq!((&late["runs"], &late["failed"]), (&2.into(), &2.into()), "{late}");
        assert_eq!(late["results"][0]["error"]["kind"], "connection_refused");
    });
}

/// A server that says `words` to a head that is too long, and ends the connection in order.
fn refuse_long_heads(words: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        let answer = match read_head(&stream).len() {
            0..1000 => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            _ => words,
        };
        let _ = stream.write_all(answer);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

#[test]
fn a_refusal_in_other_words_or_none_ends_in_order() {
    isolated(|| {
        for words in [&b"HTTP/1.1 431 No\r\n\r\n"[..], b"<html>That is too long.</html>\r\n", b""] {
            let address = refuse_long_heads(words).to_string();
            probe(&[&address, "--scenario", "refusal", "--repeat", "1"]).assert_clean();
        }
    });
}
