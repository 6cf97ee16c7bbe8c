//! Real servers under `linger run`: the library is in the process, the settings are in its environment, and no answer is lost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use linger_testbed::counters::Counters;
use linger_testbed::scenario::{Scenario, LARGE};
use linger_testbed::server::find_program;
use linger_testbed::{netns, pattern, pause, sockets, DEADLINE};

use crate::stage::{library, linger_run, Stage};

/// Ended with the test, whatever comes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn is_preloaded_with(&self, entries: &[&str]) {
        let at = |file: &str| format!("/proc/{}/{file}", self.0.id());
        let maps = fs::read_to_string(at("maps")).expect("maps");
        assert!(maps.contains(&library().display().to_string()), "{maps}");
        let environment = fs::read(at("environ")).expect("environ");
        let environment: Vec<_> = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        for entry in entries {
            assert!(environment.iter().any(|have| have == entry), "no {entry} in {environment:?}");
        }
    }
}

/// The answers of a client that sends one more request in the middle of one, and the resets that cost it.
fn play_late(address: SocketAddr) -> (bool, Counters) {
    let before = Counters::read().expect("counters");
    let exchange = Scenario::Late.play(address).expect("exchange");
    sockets::settle(address.port()).expect("the end of all connections");
    (exchange.all_complete() && !exchange.saw_reset(), before.since().expect("counters"))
}

fn serve_plainly(mut command: Command) -> (Running, SocketAddr) {
    let child =
        command.arg(env!("CARGO_BIN_EXE_linger")).args(["demo", "serve"]).stdout(Stdio::piped()).spawn();
    let mut running = Running(child.expect("a server"));
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening ").and_then(|address| address.parse().ok());
    (running, address.expect("an address"))
}

#[test]
fn a_server_that_closes_plainly_loses_nothing() {
    netns::isolated(|| {
        let (_plain, address) = serve_plainly(Command::new("env"));
        assert!(!play_late(address).0, "it loses nothing without liblinger: the test shows nothing");
        let mut command = linger_run();
        command.args(["--timeout", "17s", "--exit-wait", "0", "--side", "server", "--"]);
        let (running, address) = serve_plainly(command);
        running.is_preloaded_with(&["LINGER_TIMEOUT_MS=17000", "LINGER_EXIT_MS=0", "LINGER_SIDE=server"]);
        assert_eq!(play_late(address), (true, Counters::default()));
    });
}

#[test]
fn nginx_is_preloaded() {
    netns::isolated(|| {
        let nginx = find_program("nginx", "nginx-light").expect("nginx");
        let stage = Stage::new();
        fs::write(stage.path(&LARGE.to_string()), pattern::bytes(LARGE)).expect("write");
        // In a namespace of our own nobody else takes the port.
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        drop(listener);
        let here = stage.root().display();
        let configuration = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log;
             events {{ }}
             http {{
                 access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
                 fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
                 server {{ listen {address}; root {here}; }}
             }}"
        );
        fs::write(stage.path("nginx.conf"), configuration).expect("write");
        let mut command = linger_run();
        command.args(["--idle", "3s", "--log", "off"]).arg(nginx);
        command.arg("-e").arg(stage.path("error.log")).arg("-c").arg(stage.path("nginx.conf"));
        let running = Running(command.spawn().expect("nginx"));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < DEADLINE, "nginx does not listen");
            pause(
                std::time::Duration::from_millis(10),
                "there is no event for a server that begins to listen",
            );
        }
        running.is_preloaded_with(&["LINGER_IDLE_MS=3000", "LINGER_LOG=off"]);
        let (complete, resets) = play_late(address);
        assert!(complete, "an answer was lost");
        assert_eq!(resets, Counters::default());
    });
}
