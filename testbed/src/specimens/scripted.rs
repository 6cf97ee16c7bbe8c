//! Node and PHP.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::source;

pub(super) fn node(command: &mut Command, address: SocketAddr, mode: &[&str]) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.arg(source("bodies.js")).args([host, port]).args(mode);
}

pub(super) fn php_files(command: &mut Command, dir: &Path, address: SocketAddr) {
    command.args(["-S", &address.to_string(), "-t"]).arg(dir.join("htdocs"));
}

pub(super) fn php_script(command: &mut Command, address: SocketAddr) {
    command.args(["-S", &address.to_string()]).arg(source("bodies.php"));
}
