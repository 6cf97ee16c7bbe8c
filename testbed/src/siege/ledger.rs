//! What the kernel says of an attack: what it has received, and what it holds for it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::Ipv4Addr;
use std::ops::Sub;

use anyhow::{Context, Result};

use crate::counters::{field, Counters};
use crate::server::Server;

/// A page of memory, as the kernel counts it.
const PAGE: u64 = 4096;

/// What this network namespace has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received, of either end, with their headers.
    pub received_bytes: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Resets sent, by either end.
    pub resets: u64,
}

impl Traffic {
    /// Until now.
    ///
    /// # Errors
    ///
    /// If procfs does not have these counters.
    pub fn read() -> Result<Self> {
        let snmp = fs::read_to_string("/proc/thread-self/net/snmp").context("read net/snmp")?;
        let netstat = fs::read_to_string("/proc/thread-self/net/netstat").context("read net/netstat")?;
        Ok(Self {
            received_bytes: field(&netstat, "IpExt:", "InOctets")?,
            accepted: field(&snmp, "Tcp:", "PassiveOpens")?,
            resets: Counters::read()?.out_rsts,
        })
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            received_bytes: self.received_bytes.saturating_sub(earlier.received_bytes),
            accepted: self.accepted.saturating_sub(earlier.accepted),
            resets: self.resets.saturating_sub(earlier.resets),
        }
    }
}

/// What the kernel of this machine holds, for sockets and for all else, in bytes: its slabs (sockets, descriptors) and the
/// buffers of TCP. It has both ends of every connection here.
///
/// # Errors
///
/// If procfs does not say so.
pub fn kernel_bytes() -> Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("read meminfo")?;
    let sockstat = fs::read_to_string("/proc/net/sockstat").context("read net/sockstat")?;
    let slab = meminfo.lines().find_map(|line| line.strip_prefix("Slab:")?.trim().strip_suffix(" kB"));
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:")?.split_once(" mem "));
    let (_, pages) = tcp.context("no TCP line in net/sockstat")?;
    Ok(slab.context("no Slab line in meminfo")?.trim().parse::<u64>()? * 1024
        + pages.trim().parse::<u64>()? * PAGE)
}

/// How large a receive queue the kernel lets any connection have.
///
/// # Errors
///
/// If procfs does not say so.
pub fn largest_receive_queue() -> Result<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").context("read tcp_rmem")?;
    Ok(text.split_ascii_whitespace().last().context("tcp_rmem is empty")?.parse()?)
}

/// How many connections of one address are in the tables of the server's drain threads: of the address that has most.
///
/// # Errors
///
/// If the server is gone, or procfs reads differently.
pub fn most_of_one_address(server: &Server) -> Result<u64> {
    let mut held = HashSet::new();
    for anatomy in server.anatomies()? {
        for thread in anatomy.drain_threads()? {
            held.extend(anatomy.sockets_of_thread(&thread).unwrap_or_default());
        }
    }
    let table = fs::read_to_string("/proc/thread-self/net/tcp").context("read net/tcp")?;
    let mut count: HashMap<Ipv4Addr, u64> = HashMap::new();
    for (peer, inode) in table.lines().skip(1).filter_map(peer_and_inode) {
        // The kernel lists a socket twice where others come and go meanwhile.
        if held.remove(&inode) {
            *count.entry(peer).or_default() += 1;
        }
    }
    Ok(count.into_values().max().unwrap_or(0))
}

/// Of a line of net/tcp.
fn peer_and_inode(line: &str) -> Option<(Ipv4Addr, u64)> {
    let mut words = line.split_ascii_whitespace();
    let (address, _port) = words.nth(2)?.split_once(':')?;
    // As the number that the four bytes are on this machine.
    let peer = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
    Some((peer, words.nth(6)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_has_peer_and_inode() {
        let line = "   1: 0100007F:1F90 0201037F:C3A2 05 00000000:00000000 02:00000014 00000000     0        0 4711 1";
        let peer = Ipv4Addr::from(0x0201_037F_u32.to_ne_bytes());
        assert_eq!(peer_and_inode(line), Some((peer, 4711)));
        assert_eq!(peer_and_inode("nothing"), None);
    }

    #[test]
    fn the_kernel_says_all_of_it() {
        Traffic::read().expect("traffic");
        assert!(kernel_bytes().expect("memory") > 0);
        assert!(largest_receive_queue().expect("tcp_rmem") > 0);
    }
}
