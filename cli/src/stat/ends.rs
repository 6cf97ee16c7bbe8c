//! Who is at the ends of a connection: the kernel's tables of TCP sockets (`net/tcp` and `net/tcp6`, proc(5)).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Both ends of a connection, and its state as ss(8) names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub state: &'static str,
}

/// Adds those of the sockets in `table` that are `wanted`, by inode.
pub fn find(table: &Path, wanted: impl Fn(u64) -> bool, found: &mut HashMap<u64, Ends>) -> io::Result<()> {
    for line in BufReader::new(File::open(table)?).lines().skip(1) {
        if let Some((inode, ends)) = parse(&line?).filter(|(inode, _)| wanted(*inode)) {
            found.insert(inode, ends);
        }
    }
    Ok(())
}

/// A line without its number: local, peer, state, queues, timer, retransmissions, owner, timeout, inode.
fn parse(line: &str) -> Option<(u64, Ends)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = address(words.next()?)?;
    let peer = address(words.next()?)?;
    let state = state(u8::from_str_radix(words.next()?, 16).ok()?);
    let inode = words.nth(5)?.parse().ok()?;
    Some((inode, Ends { local, peer, state }))
}

/// The kernel prints addresses as numbers of 32 bits in the machine's byte order, and ports as they are read.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            // An IPv4 client of a server that listens on both.
            IpAddr::from(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// include/net/tcp_states.h
fn state(number: u8) -> &'static str {
    const STATES: [&str; 12] = [
        "ESTAB",
        "SYN-SENT",
        "SYN-RECV",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "CLOSED",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
        "SYN-RECV",
    ];
    usize::from(number).checked_sub(1).and_then(|index| STATES.get(index)).copied().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    // As a machine of this byte order prints them.
    #[cfg(target_endian = "little")]
    #[test]
    fn lines_of_both_tables_are_read() {
        let v4 = "   0: 0100007F:1F90 0200007F:C3A2 05 00000000:00000000 02:000005DC 00000000     0        0 4711 2 f 20 4 0 10 -1";
        let v6 = "   1: 00000000000000000000000001000000:0050 B80D0120000000000000000007000000:FFFF 01 00000000:00000001 \
                  00:00000000 00000000 33 0 4712 1 f";
        let mapped = "   2: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000300007F:0051 04 0:0 0:0 0 0 0 9 1";
        let ends = |line: &str| {
            parse(line)
                .map(|(inode, ends)| (inode, ends.local.to_string(), ends.peer.to_string(), ends.state))
        };
        let expected =
            |inode, local: &str, peer: &str, state| Some((inode, local.to_owned(), peer.to_owned(), state));
        assert_eq!(ends(v4), expected(4711, "127.0.0.1:8080", "127.0.0.2:50082", "FIN-WAIT-2"));
        assert_eq!(ends(v6), expected(4712, "[::1]:80", "[2001:db8::7]:65535", "ESTAB"));
        assert_eq!(ends(mapped), expected(9, "127.0.0.1:80", "127.0.0.3:81", "FIN-WAIT-1"));
    }

    #[test]
    fn anything_else_is_passed_over() {
        for line in [
            "",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            "0: 0100007F:1F90",
            "0: 0100007:1F90 0200007F:C3A2 05 0:0 0:0 0 0 0 1",
            "0: ¹²³⁴:1F90 0200007F:C3A2 05 0:0 0:0 0 0 0 1",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
        assert_eq!((state(0), state(12), state(99)), ("?", "SYN-RECV", "?"));
    }

    #[test]
    fn a_real_connection_is_found_by_its_inode() {
        let listener = std::net::TcpListener::bind("[::1]:0").expect("bind");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let inode = rustix::fs::fstat(&client).expect("fstat").st_ino;
        let mut found = HashMap::new();
        find(Path::new("/proc/thread-self/net/tcp6"), |one| one == inode, &mut found).expect("table");
        let (local, peer) = (client.local_addr().expect("address"), client.peer_addr().expect("address"));
        assert_eq!(found, HashMap::from([(inode, Ends { local, peer, state: "ESTAB" })]));
    }
}
