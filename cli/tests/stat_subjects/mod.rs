//! `linger stat`, run as people and scripts run it, and processes for it to look into.

#![allow(dead_code, reason = "every test program uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use linger_testbed::closer::{Closer, Start, Way as LetGo};
use linger_testbed::server::Preload;
use linger_testbed::within_reach::copy_program;
use linger_testbed::{pause, settings, DEADLINE};
use rustix::process::{set_parent_process_death_signal, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// What came of one run.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Told {
    /// Of a command that has ended.
    pub fn by(command: &mut Command) -> Told {
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("run it");
        Told {
            code: status.code().expect("no signal"),
            stdout: String::from_utf8(stdout).expect("UTF-8"),
            stderr: String::from_utf8(stderr).expect("UTF-8"),
        }
    }

    /// The document of `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Nothing was wrong.
    pub fn assert_well(&self) {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
    }

    /// One line says what was wrong, and so does the document where there is one.
    pub fn assert_trouble(&self, code: i32, kind: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        let document = self.json();
        assert_eq!(document["errors"][0]["kind"], kind, "{self:?}");
        let message = document["errors"][0]["message"].as_str().expect("a message");
        assert_eq!(self.stderr, format!("linger: stat: {message}\n"));
    }
}

/// The command.
pub fn linger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linger"));
    command.arg("stat");
    command
}

/// Runs `linger stat`.
pub fn stat(arguments: &[&str]) -> Told {
    Told::by(linger().args(arguments))
}

/// What `linger stat PID --json --connections` says of one process.
pub fn look(pid: u32) -> Value {
    let told = stat(&[&pid.to_string(), "--json", "--connections"]);
    told.assert_well();
    told.json()["processes"][0].clone()
}

/// Looks until it is so. Where the library is linked statically, nothing can be seen before the drain thread is there.
pub fn look_until(pid: u32, so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let told = stat(&[&pid.to_string(), "--json", "--connections"]);
        let seen = told.json()["processes"][0].clone();
        if told.code == 0 && so(&seen) {
            return seen;
        }
        assert!(started.elapsed() < DEADLINE, "it does not come to that: {told:?}");
        pause(Duration::from_millis(5), "counters are asked, they do not tell");
    }
}

/// Looks until so many linger.
pub fn look_until_lingering(pid: u32, count: u64) -> Value {
    look_until(pid, |seen| seen["lingering"] == count)
}

/// The bytes that were discarded of the connection with this peer.
pub fn discarded_of(seen: &Value, peer: SocketAddr) -> Option<u64> {
    let connections = seen["connections"].as_array().expect("connections");
    let mut of_peer = connections.iter().filter(|connection| connection["peer"] == peer.to_string());
    let found = of_peer.next()?["discarded_bytes"].as_u64();
    assert!(of_peer.next().is_none(), "twice: {seen}");
    found
}

/// The testbed's program that closes when it is told to, from the release build as the library that is tested.
pub fn closer(preload: Preload, settings: &[(&str, &str)]) -> (Closer, u32) {
    let this = std::env::current_exe().expect("this program");
    let found = this.ancestors().map(|dir| dir.join("release/call-latency")).find(|program| program.exists());
    let program = found.expect("release/call-latency is missing: run make first");
    let start = Start { settings, ..Start::new(program.to_str().expect("UTF-8"), preload) };
    let closer = Closer::start(start).expect("program");
    let pid = closer.anatomy().status("Pid").expect("status").parse().expect("a number");
    (closer, pid)
}

/// That, with the shim and patient.
pub fn patient_closer() -> (Closer, u32) {
    closer(Preload::shim().expect("shim"), &settings::PATIENT)
}

/// A client of it, whose connection was accepted.
pub fn client_of(closer: &mut Closer) -> TcpStream {
    let client = TcpStream::connect(closer.address()).expect("connect");
    closer.tell("accept 1").expect("accept");
    client
}

/// A process of which `count` connections linger, after one that ended.
pub fn busy(count: usize) -> (Closer, u32, Vec<TcpStream>) {
    let (mut closer, pid) = patient_closer();
    let clients: Vec<_> = (0..=count).map(|_| client_of(&mut closer)).collect();
    closer.let_go(LetGo::Close, count + 1).expect("close");
    look_until_lingering(pid, count as u64 + 1);
    let mut clients = clients.into_iter();
    let mut first = clients.next().expect("a client");
    first.write_all(b"late").expect("send");
    drop(first);
    look_until_lingering(pid, count as u64);
    (closer, pid, clients.collect())
}

/// How the program of subject.c is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Preloaded,
    Linked,
    LinkedStatically,
}

/// The program of subject.c, running; dropping it ends it.
pub struct Subject {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub port: u16,
    /// The program, and the library beside it.
    _dir: TempDir,
}

impl Subject {
    /// Builds and starts it.
    pub fn start(way: Way) -> Subject {
        let dir = tempfile::Builder::new().prefix("linger-stat-").tempdir().expect("directory");
        let mut command = Command::new(build(way, dir.path()));
        match way {
            Way::Preloaded => settings::apply(&mut command, &shim(), &settings::PATIENT),
            Way::Linked | Way::LinkedStatically => {
                settings::apply(&mut command, &Preload::None, &settings::PATIENT)
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: one system call between fork and exec, nothing allocated.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut process = command.spawn().expect("start");
        let commands = process.stdin.take().expect("standard input");
        let answers = BufReader::new(process.stdout.take().expect("standard output"));
        let mut subject = Subject { process, commands, answers, port: 0, _dir: dir };
        subject.port = subject.hear().try_into().expect("a port");
        subject
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn hear(&mut self) -> u32 {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim().parse().unwrap_or_else(|_| panic!("{line:?} is no number"))
    }

    /// Tells it to do something, and says which process answers.
    pub fn tell(&mut self, command: &str) -> u32 {
        writeln!(self.commands, "{command}").expect("tell");
        self.hear()
    }

    /// Clients at this address of which it has let go.
    pub fn let_go_of(&mut self, count: usize, ip: IpAddr) -> Vec<TcpStream> {
        let connect = |_| TcpStream::connect((ip, self.port)).expect("connect");
        let clients: Vec<_> = (0..count).map(connect).collect();
        self.tell(&format!("accept {count}"));
        self.tell(&format!("close {count}"));
        clients
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn shim() -> Preload {
    Preload::shim().expect("shim")
}

fn build(way: Way, dir: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = dir.join("subject");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c17", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(&program);
    compiler.arg(here.join("tests/stat_subjects/subject.c"));
    let Preload::Shim(library) = shim() else { unreachable!("the shim is one") };
    if way != Way::Preloaded {
        compiler.arg("-DLINKED").arg("-I").arg(here.join("../include"));
    }
    match way {
        Way::Preloaded => {}
        Way::Linked => {
            let linked = dir.join("liblinger.so.0");
            std::os::unix::fs::symlink(library, &linked).expect("link");
            compiler.arg(&linked).arg(format!("-Wl,-rpath,{}", dir.display()));
        }
        Way::LinkedStatically => {
            compiler.arg(library.with_file_name("liblinger.a")).args(["-lpthread", "-ldl", "-lm", "-lgcc_s"]);
        }
    }
    assert!(compiler.status().expect("cc").success(), "it is not built");
    program
}

/// A command, and what it needs while it runs.
pub struct Prepared {
    pub command: Command,
    _program: TempDir,
}

/// `linger stat` as a user who is nobody in particular.
pub fn stat_command_as_nobody(arguments: &[&str]) -> Prepared {
    use std::os::unix::fs::PermissionsExt;
    // Where everybody can run it.
    let dir = tempfile::Builder::new().prefix("linger-stat-").tempdir().expect("directory");
    let program = dir.path().join("linger");
    copy_program(Path::new(env!("CARGO_BIN_EXE_linger")), &program).expect("copy");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut command = as_nobody(program.as_os_str());
    command.arg("stat").args(arguments);
    Prepared { command, _program: dir }
}

/// Runs that.
pub fn stat_as_nobody(arguments: &[&str]) -> Told {
    Told::by(&mut stat_command_as_nobody(arguments).command)
}

/// A program run by nobody in particular.
pub fn as_nobody(program: &std::ffi::OsStr) -> Command {
    assert!(rustix::process::geteuid().is_root(), "run the tests as root: only root can be somebody else");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    command
}
