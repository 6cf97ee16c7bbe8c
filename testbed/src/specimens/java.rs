//! The JVM, with a program in a single source file.

use std::net::SocketAddr;
use std::process::Command;

use super::source;

pub(super) fn run(command: &mut Command, class: &str, address: SocketAddr) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m"])
        .arg(source(&format!("{class}.java")))
        .args([host, port]);
}
