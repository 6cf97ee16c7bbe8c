//! `linger probe` against real HTTP servers: those that lose answers are found out, those that linger are not accused.

mod probing;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use linger_testbed::netns::isolated;
use linger_testbed::server::{Preload, Program, Server};
use linger_testbed::specimens::Specimen;
use probing::{buggy, probe, read_head, run, serve, Nginx};
use rustix::net::sockopt::set_socket_linger;

fn url(address: SocketAddr, size: usize) -> String {
    format!("http://{address}/{size}")
}

fn start(program: &Program, preload: &Preload) -> Server {
    Server::start(program, preload).expect("server")
}

fn shim() -> Preload {
    Preload::shim().expect("shim")
}

#[test]
fn a_server_that_just_closes_is_found_out() {
    isolated(|| {
        let server = start(&buggy(), &Preload::None);
        let probed = probe(&[&url(server.address(), 3_000_000)]);
        assert_eq!(probed.code, 1, "{probed:?}");
        assert_eq!(probed.json()["summary"], "lost");
        // It reads a head of any size.
        assert_eq!(probed.scenario("refusal")["results"][0]["provocation"], "took_everything");
        for name in ["pipeline", "late"] {
            let scenario = probed.scenario(name);
            assert!(scenario["lost"].as_u64() > Some(0), "{scenario}");
            let results = scenario["results"].as_array().expect("results");
            for result in results.iter().filter(|result| result["verdict"] == "lost") {
                let (missing, received) = (&result["missing_bytes"], &result["received_bytes"]);
                let sum = missing.as_u64().expect("missing") + received.as_u64().expect("received");
                assert_eq!(Some(sum), result["total_bytes"].as_u64(), "{result}");
                assert_eq!(result["cause"], "reset");
                assert!(result["reset_ms"].is_number() && result["fin_ms"].is_null(), "{result}");
            }
        }
        let upload = probed.scenario("upload");
        assert_eq!((&upload["complete"], &upload["undecided"]), (&0.into(), &0.into()), "{upload}");
        assert_eq!(probed.scenario("polite")["complete"], 1);
    });
}

#[test]
fn the_same_server_with_liblinger_is_clean() {
    isolated(|| {
        let server = start(&buggy(), &shim());
        probe(&[&url(server.address(), 3_000_000)]).assert_clean();
    });
}

#[test]
fn a_short_answer_shows_the_reset_though_nothing_is_lost() {
    isolated(|| {
        let server = start(&buggy(), &Preload::None);
        let probed = probe(&[&url(server.address(), 1_000), "--scenario", "late"]);
        assert_eq!(probed.code, 1, "{probed:?}");
        assert_eq!(probed.json()["summary"], "reset", "{probed:?}");
        assert_eq!(probed.scenario("late")["complete_but_reset"], 3);
    });
}

#[test]
fn a_server_that_aborts_when_the_client_leaves_is_seen_to() {
    isolated(|| {
        let address = serve(|mut stream| {
            read_head(&stream);
            // That the client goes away is what is waited for.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            set_socket_linger(&stream, Some(Duration::ZERO)).expect("SO_LINGER");
        });
        let probed = probe(&[&url(address, 1), "--scenario", "late", "--repeat", "1"]);
        assert_eq!(probed.code, 1, "{probed:?}");
        assert_eq!(probed.scenario("polite")["complete_but_reset"], 1, "{probed:?}");
    });
}

#[test]
fn nginx_as_it_comes_loses_answers_to_late_bytes_and_is_told_of_its_setting() {
    isolated(|| {
        let nginx = Nginx::start("", "client_max_body_size 1m;", &[]);
        let probed = probe(&[&nginx.url("http", 3_000_000)]);
        assert_eq!(probed.code, 1, "{probed:?}");
        assert!(probed.scenario("late")["lost"].as_u64() > Some(0), "{probed:?}");
        assert_eq!(probed.scenario("pipeline")["complete"], 3, "{probed:?}");
        let document = probed.json();
        assert!(document["server"].as_str().expect("server").starts_with("nginx/"));
        let advice = document["advice"].as_str().expect("advice");
        assert!(advice.contains("lingering_close always"), "{advice}");
    });
}

/// With packets of a usual size the server's send queue does not hold all of the answer, so that bytes sent as soon as
/// the window is full arrive before the close, and nginx lingers when it sees any.
#[test]
fn nginx_is_found_out_where_its_send_queue_is_short() {
    isolated(|| {
        let ip = std::process::Command::new("ip").args(["link", "set", "lo", "mtu", "1500"]).status();
        assert!(ip.expect("run ip: apt-get install iproute2").success());
        let nginx = Nginx::start("", "", &[]);
        let probed = probe(&[&nginx.url("http", 3_000_000), "--scenario", "late"]);
        assert!(probed.scenario("late")["lost"].as_u64() > Some(0), "{probed:?}");
        let linger = Nginx::start("", "lingering_close always;", &[]);
        probe(&[&linger.url("http", 3_000_000), "--scenario", "late"]).assert_clean();
    });
}

#[test]
fn nginx_with_lingering_close_always_is_clean() {
    isolated(|| {
        let nginx = Nginx::start("", "lingering_close always; client_max_body_size 1m;", &[]);
        let probed = probe(&[&nginx.url("http", 3_000_000)]);
        probed.assert_clean();
        assert_eq!(probed.scenario("upload")["results"][0]["status"], 413);
    });
}

#[test]
fn nginx_with_liblinger_is_clean() {
    isolated(|| {
        let server = start(&Program::Nginx, &shim());
        probe(&[&url(server.address(), 3_000_000)]).assert_clean();
    });
}

#[test]
fn servers_that_linger_by_themselves_are_clean() {
    isolated(|| {
        for program in [Program::Lighttpd, Program::Apache] {
            let server = start(&program, &Preload::None);
            probe(&[&url(server.address(), 3_000_000)]).assert_clean();
        }
    });
}

#[test]
fn node_loses_answers_and_keeps_them_with_liblinger() {
    isolated(|| {
        let bare = start(&Specimen::Node.program(), &Preload::None);
        let probed = probe(&[&url(bare.address(), 3_000_000)]);
        assert_eq!(probed.code, 1, "{probed:?}");
        for name in ["pipeline", "late"] {
            assert!(probed.scenario(name)["lost"].as_u64() > Some(0), "{name}: {probed:?}");
        }
        let with_shim = start(&Specimen::Node.program(), &shim());
        let probed = probe(&[&url(with_shim.address(), 3_000_000)]);
        probed.assert_clean();
        assert_eq!(probed.scenario("refusal")["results"][0]["status"], 431);
    });
}

#[test]
fn the_report_for_people_tells_what_happened_and_what_to_do() {
    isolated(|| {
        let nginx = Nginx::start("", "", &[]);
        let probed = run(&[&nginx.url("http", 3_000_000), "--scenario", "late", "--repeat", "1"]);
        assert_eq!((probed.code, probed.stderr.as_str()), (1, ""), "{probed:?}");
        assert!(!probed.stdout.contains('\x1b'), "colour outside of a terminal: {probed:?}");
        for part in [
            "nginx/",
            "late: ",
            "bytes LOST",
            "ms  ->  GET /3000000 (Connection: close)",
            "<-  RST: ",
            "Advice: ",
        ] {
            assert!(probed.stdout.contains(part), "no {part:?} in\n{}", probed.stdout);
        }
        assert!(probed.stdout.trim_end().ends_with('.'));
    });
}
