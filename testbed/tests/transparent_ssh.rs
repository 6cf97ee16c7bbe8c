//! ssh to an sshd with keys of its own: commands with their exit status, megabytes in both directions, files copied.
//!
//! sshd starts itself anew for every connection, gives up its privilege and sandboxes itself.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use linger_testbed::netns::isolated;
use linger_testbed::pattern;
use linger_testbed::scenario::LARGE;
use linger_testbed::server::{find_program, Program, Recipe};
use linger_testbed::transparency::{
    compare, finds_the_same_with_the_shim, said, succeed, Findings, Sign, Stage,
};

const SSHD: Recipe = Recipe { name: "sshd", prepare: sshd };

/// Where Debian's sshd wants an empty directory, if root runs it.
const EMPTY: &str = "/run/sshd";

fn sshd(dir: &Path, address: SocketAddr) -> Result<Command> {
    for (key, name) in [("host_key", "host"), ("user_key", "user")] {
        let mut generate = Command::new(find_program("ssh-keygen", "openssh-client")?);
        succeed(generate.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(dir.join(key)))?;
    }
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all(EMPTY).with_context(|| format!("make {EMPTY}"))?;
    }
    let (host, port, dir_name) = (address.ip(), address.port(), dir.display());
    let configuration = format!(
        "ListenAddress {host}:{port}
HostKey {dir_name}/host_key
AuthorizedKeysFile {dir_name}/user_key.pub
PidFile {dir_name}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"
    );
    let file = dir.join("sshd_config");
    fs::write(&file, configuration)?;
    // By its full path: it starts itself anew.
    let mut command = Command::new(find_program("sshd", "openssh-server")?);
    command.arg("-D").arg("-e").arg("-f").arg(file);
    Ok(command)
}

fn client(stage: &Stage<'_>, name: &str) -> Result<Command> {
    let mut command = stage.client(name, "openssh-client")?;
    let port = format!("Port={}", stage.server.address().port());
    for option in [&*port, "BatchMode=yes", "StrictHostKeyChecking=accept-new", "LogLevel=ERROR"] {
        command.args(["-o", option]);
    }
    command.args(["-F", "none", "-o", "UserKnownHostsFile=known_hosts", "-i", "user_key"]);
    Ok(command)
}

fn run_commands(stage: &Stage<'_>) -> Result<Findings> {
    let host = stage.server.address().ip().to_string();
    let output = client(stage, "ssh")?.args([&host, "echo out; echo error >&2; exit 7"]).output()?;
    ensure!(output.status.code() == Some(7), "{}: {}", output.status, said(&output));
    ensure!(output.stdout == b"out\n" && output.stderr == b"error\n", "{}", said(&output));
    let many: Result<Vec<_>> = (0..2)
        .map(|number| succeed(client(stage, "ssh")?.args([&host, &format!("echo {number}")])))
        .collect();
    Ok(Findings::from([
        ("exit status".to_owned(), "7".to_owned()),
        ("commands one after the other".to_owned(), many?.concat()),
    ]))
}

/// There and back through `cat`.
fn pipe_through(stage: &Stage<'_>) -> Result<Findings> {
    let host = stage.server.address().ip().to_string();
    let mut cat = client(stage, "ssh")?;
    let mut cat = cat.args([&host, "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = cat.stdin.take().context("no standard input")?;
    let writer = std::thread::spawn(move || input.write_all(&pattern::bytes(LARGE)));
    let output = cat.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ensure!(output.status.success(), "{}: {}", output.status, said(&output));
    ensure!(output.stdout == pattern::bytes(LARGE), "{} bytes came back", output.stdout.len());
    Ok(Findings::from([("there and back".to_owned(), format!("{} bytes", output.stdout.len()))]))
}

fn copy(stage: &Stage<'_>) -> Result<Findings> {
    let dir = stage.server.directory();
    let file = dir.join("htdocs").join(LARGE.to_string());
    let mut findings = Findings::new();
    // The protocol of today, and the one before it.
    for (name, how) in [("sftp", &[][..]), ("rcp", &["-O"])] {
        for (way, from, to) in [
            (
                "up",
                file.clone(),
                format!("{}:{}/up-{name}", stage.server.address().ip(), dir.display()).into(),
            ),
            (
                "down",
                format!("{}:{}", stage.server.address().ip(), file.display()).into(),
                dir.join(format!("down-{name}")),
            ),
        ] {
            succeed(client(stage, "scp")?.args(how).arg("-q").arg(from).arg(to))?;
            let found = compare(&file, &dir.join(format!("{way}-{name}")))?;
            ensure!(found == format!("{LARGE} bytes, the same"), "scp {way} by {name}: {found}");
            findings.insert(format!("scp {way} by {name}"), found);
        }
    }
    Ok(findings)
}

#[test]
fn sshd_runs_commands_and_copies_files() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Recipe(SSHD), Sign::On, |stage| {
            let mut findings = run_commands(stage)?;
            findings.extend(pipe_through(stage)?);
            findings.extend(copy(stage)?);
            Ok(findings)
        });
    });
}
