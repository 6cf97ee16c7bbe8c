//! redis and memcached: one event loop, few clients allowed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// How many connections memcached has room for, listeners and its own included; also what it sets RLIMIT_NOFILE to.
pub const MEMCACHED_CONNECTIONS: usize = 16;

pub(super) fn redis(command: &mut Command, dir: &Path, address: SocketAddr) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["--bind", &host, "--port", &port, "--maxclients", "1", "--save", "", "--dir"]).arg(dir);
}

pub(super) fn memcached(command: &mut Command, address: SocketAddr) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let connections = MEMCACHED_CONNECTIONS.to_string();
    // -I: items as large as a response must be to be lost.
    command.args(["-l", &host, "-p", &port, "-U", "0", "-t", "1", "-c", &connections, "-I", "8m"]);
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
}
