//! A TUN device: the network packets of one namespace, as a file (Linux: Documentation/networking/tuntap.rst).

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use anyhow::{ensure, Context, Result};

use crate::server::find_program;

/// What the device is called in its namespace.
const NAME: &str = "linger0";

/// Makes the device in the calling thread's namespace, with this address and the other end's, and brings it up. It
/// lives as long as the file.
///
/// # Errors
///
/// If that is not allowed, or there is no TUN here.
pub(super) fn open(here: Ipv4Addr, there: Ipv4Addr) -> Result<File> {
    const DEVICE: &str = "/dev/net/tun";
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(DEVICE)
        .with_context(|| format!("open {DEVICE}: a link needs it; modprobe tun, and run as root"))?;
    attach(&file).with_context(|| format!("make the device {NAME}"))?;
    let (here, there) = (here.to_string(), there.to_string());
    ip(&["address", "add", &here, "peer", &there, "dev", NAME])?;
    ip(&["link", "set", NAME, "up"])?;
    Ok(file)
}

fn attach(file: &File) -> io::Result<()> {
    // SAFETY: ifreq is plain old data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(NAME.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives until the call returns.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new(find_program("ip", "iproute2")?).args(arguments).output().context("run ip")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {errors}", arguments.join(" "));
    Ok(())
}
