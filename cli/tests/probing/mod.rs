//! `linger probe`, run as people and scripts run it, and servers that the testbed has no program for.

#![allow(dead_code, reason = "every test program uses a part of it")]

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use linger_testbed::server::{find_program, Program};
use linger_testbed::{pattern, pause, DEADLINE};
use rustix::process::{kill_process, set_parent_process_death_signal, Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// What came of one run.
#[derive(Debug)]
pub struct Probed {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Probed {
    /// The document of `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// One scenario of it.
    pub fn scenario(&self, name: &str) -> Value {
        let document = self.json();
        let all = document["scenarios"].as_array().expect("scenarios").clone();
        all.into_iter().find(|it| it["scenario"] == name).unwrap_or_else(|| panic!("no {name}: {document}"))
    }

    /// Nothing was lost or reset in any run.
    pub fn assert_clean(&self) {
        assert_eq!(self.code, 0, "{self:?}");
        assert_eq!(self.json()["summary"], "clean");
        for scenario in self.json()["scenarios"].as_array().expect("scenarios") {
            assert_eq!(scenario["complete"], scenario["runs"], "{scenario}");
        }
    }

    /// It could not be tested, for this reason, which is told in one line.
    pub fn assert_trouble(&self, kind: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        let document = self.json();
        assert_eq!(document["error"]["kind"], kind, "{self:?}");
        assert_eq!(document["summary"], Value::Null);
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        let message = document["error"]["message"].as_str().expect("a message");
        assert_eq!(self.stderr, format!("linger: probe: {message}\n"));
    }
}

/// Runs `linger probe` with `--json`.
pub fn probe(arguments: &[&str]) -> Probed {
    run(&[arguments, &["--json"]].concat())
}

/// Runs `linger probe`.
pub fn run(arguments: &[&str]) -> Probed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linger"));
    let Output { status, stdout, stderr } =
        command.arg("probe").args(arguments).stdin(Stdio::null()).output().expect("run linger");
    Probed {
        code: status.code().expect("no signal"),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// The embedded server that just closes, from the release build as the library that is tested.
pub fn buggy() -> Program {
    let this = std::env::current_exe().expect("this program");
    let found = this.ancestors().map(|dir| dir.join("release/buggy-server")).find(|program| program.exists());
    Program::buggy(found.expect("release/buggy-server is missing: run make first"))
}

/// nginx with settings of the test's own; dropping it ends it.
pub struct Nginx {
    process: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Nginx {
    /// Serves files of 3,000,000 and 100 bytes; `listen` comes behind the address, `settings` into the server block.
    /// `files` are written into its directory, where `$DIR` in the settings is.
    pub fn start(listen: &str, settings: &str, files: &[(&str, &str)]) -> Nginx {
        let dir = tempfile::Builder::new().prefix("linger-probe-").tempdir().expect("directory");
        let address = free_address();
        let path = dir.path();
        for (name, content) in files {
            fs::write(path.join(name), content).expect("write");
        }
        for size in [100, 3_000_000] {
            fs::write(path.join(size.to_string()), pattern::bytes(size)).expect("write");
        }
        make_readable(path);
        let configuration = configuration(path, address, listen, settings);
        let file = path.join("nginx.conf");
        fs::write(&file, configuration).expect("write");
        let mut command = Command::new(find_program("nginx", "nginx-light").expect("nginx"));
        command.arg("-e").arg(path.join("error.log")).arg("-c").arg(file);
        let process = start(command);
        let nginx = Nginx { process, address, dir };
        wait_until_listening(address, &nginx.dir.path().join("error.log"));
        nginx
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, scheme: &str, size: usize) -> String {
        format!("{scheme}://{}/{size}", self.address)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers, too. An error means that it is gone already.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

fn configuration(dir: &Path, address: SocketAddr, listen: &str, settings: &str) -> String {
    let dir = dir.display();
    let user = if rustix::process::geteuid().is_root() { "user www-data;" } else { "" };
    let settings = settings.replace("$DIR", &dir.to_string());
    format!(
        "{user} daemon off; worker_processes 1; pid {dir}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    sendfile on; tcp_nopush on; access_log off;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{ listen {address} {listen}; root {dir}; {settings} }}
}}
"
    )
}

/// Ends with us, should we be killed.
fn start(mut command: Command) -> Child {
    use std::os::unix::process::CommandExt;
    // SAFETY: one system call between fork and exec, nothing allocated.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start")
}

fn make_readable(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// In a private namespace nobody else takes it before the server does.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn wait_until_listening(address: SocketAddr, log: &Path) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        let log = || fs::read_to_string(log).unwrap_or_default();
        assert!(started.elapsed() < DEADLINE, "it does not listen on {address}: {}", log());
        pause(Duration::from_millis(10), "nothing announces that a server listens");
    }
}

/// A listener whose connections a thread answers, for ever, each with `answer`.
pub fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

/// Reads the head of a request.
pub fn read_head(mut stream: impl Read) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.extend(byte);
    }
    head
}
