//! A process for every connection.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::source;

pub(super) fn perl(command: &mut Command, address: SocketAddr, who: &str) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.arg(source("forking.pl")).args([&host, &port, who]);
}

pub(super) fn python(command: &mut Command, address: SocketAddr, how: &[&str]) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.arg(source("forking.py")).args([host, port]).args(how).env("PYTHONDONTWRITEBYTECODE", "1");
}

pub(super) fn busybox(command: &mut Command, dir: &Path, address: SocketAddr) {
    command.args(["httpd", "-f", "-p", &address.to_string(), "-h"]).arg(dir.join("htdocs"));
}
