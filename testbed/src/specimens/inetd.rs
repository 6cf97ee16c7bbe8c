//! Programs started by inetd: they have the connection on 0, 1 and 2 from the first instruction on.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::server::find_program;

pub(super) fn micro_httpd(command: &mut Command, dir: &Path, address: SocketAddr) -> Result<()> {
    let program = find_program("micro-httpd", "micro-httpd")?;
    configure(command, dir, address, &program, "micro-httpd")
}

pub(super) fn busybox(command: &mut Command, dir: &Path, address: SocketAddr) -> Result<()> {
    let program = find_program("busybox", "busybox")?;
    configure(command, dir, address, &program, "busybox httpd -i -h")
}

/// `argv` is what inetd starts `program` with; the directory to serve follows.
fn configure(
    command: &mut Command,
    dir: &Path,
    address: SocketAddr,
    program: &Path,
    argv: &str,
) -> Result<()> {
    let user = Command::new(find_program("id", "coreutils")?).arg("-un").output()?;
    let user = String::from_utf8_lossy(&user.stdout);
    let (program, documents) = (program.display(), dir.join("htdocs"));
    let line = format!(
        "{address} stream tcp nowait.100000 {} {program} {argv} {}\n",
        user.trim(),
        documents.display()
    );
    let file = dir.join("inetd.conf");
    fs::write(&file, line)?;
    // -E: without it LD_PRELOAD and LINGER_* do not reach the programs.
    command.args(["-i", "-E"]).arg(file);
    Ok(())
}
