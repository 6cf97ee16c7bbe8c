//! A network namespace for every sample: nobody else's connections in the kernel's tables, nobody else's resets in its
//! counters, and none of the TIME_WAIT sockets that the sample before left behind.

use std::fs;

use anyhow::{anyhow, Context, Result};
use linger_testbed::netns::{self, Namespace};

/// Ports that clients are given. The kernel's default has 28,232, fewer than some samples make connections.
const PORTS: &str = "1024 65535";

/// Runs `sample` on a thread of its own in a namespace of its own. Processes that it starts are in there, too, and
/// must end before it returns.
///
/// # Errors
///
/// If the sample fails, or no namespace can be had: run as root.
pub fn isolated<T: Send>(sample: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            if let Namespace::Shared { reason } = netns::enter()? {
                return Err(anyhow!("no private network namespace ({reason}): run as root"));
            }
            fs::write("/proc/sys/net/ipv4/ip_local_port_range", PORTS).context("widen the range of ports")?;
            sample()
        });
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
