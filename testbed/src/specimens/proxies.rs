//! HAProxy, whose answers here are its own: a 413 to every upload, and a service in Lua.
//!
//! As Debian configures it, it gives up root and changes its root directory. It forbids itself new processes and
//! threads (RLIMIT_NPROC 0) before the first connection comes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::source;

pub(super) fn haproxy(command: &mut Command, dir: &Path, address: SocketAddr) -> Result<()> {
    let file = dir.join("haproxy.cfg");
    let service = source("bodies.lua");
    let jail = dir.join("jail");
    fs::create_dir(&jail)?;
    let unprivileged = if rustix::process::geteuid().is_root() {
        format!("user haproxy\n    group haproxy\n    chroot {}", jail.display())
    } else {
        String::new()
    };
    let configuration = format!(
        "global
    nbthread 2
    {unprivileged}
    lua-load {}
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend web
    bind {address}
    http-request return status 413 content-type text/plain string \"too large\" if METH_POST
    http-request use-service lua.bodies
",
        service.display()
    );
    fs::write(&file, configuration)?;
    command.arg("-db").arg("-f").arg(file);
    Ok(())
}
