//! Who was at the other end, for the messages of `LINGER_LOG=debug`.
//!
//! A connection that has ended has no peer any more (getpeername(2), ENOTCONN), so its address is noted when it begins to
//! linger. Without messages nothing is noted and no memory is taken.

use crate::drain::Outcome;
use crate::log;
use crate::sys::memory::{Region, Zeroed};
use crate::sys::{self, socket, Fd};
use core::net::{IpAddr, SocketAddr};

/// A peer's address, for messages: family 0 means none.
#[derive(Clone, Copy)]
struct Peer {
    family: u16,
    port: u16,
    address: [u8; 16],
}

// SAFETY: integers only; zero means "none".
unsafe impl Zeroed for Peer {}

impl Peer {
    fn new(address: SocketAddr) -> Peer {
        let v6 = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Peer { family: 1, port: address.port(), address: v6.octets() }
    }

    fn address(&self) -> Option<SocketAddr> {
        let ip = IpAddr::from(self.address).to_canonical();
        (self.family != 0).then_some(SocketAddr::new(ip, self.port))
    }
}

/// The addresses, by number in the drain thread's table.
pub(super) struct Peers {
    noted: Option<Region<Peer>>,
}

impl Peers {
    /// For numbers below `ids`.
    pub(super) fn new(ids: usize) -> sys::Result<Peers> {
        Ok(Peers { noted: if log::debugging() { Some(Region::new(ids)?) } else { None } })
    }

    /// `fd` begins to linger.
    pub(super) fn note(&mut self, fd: Fd) {
        if let Some(place) = self.noted.as_mut().and_then(|noted| noted.get_mut(fd as usize)) {
            let none = Peer { family: 0, port: 0, address: [0; 16] };
            *place = socket::peer_address(fd).map_or(none, Peer::new);
        }
    }

    /// `fd` ends: one line.
    pub(super) fn report(&self, fd: Fd, outcome: Outcome, discarded: u64, age_ms: u32) {
        let Some(noted) = &self.noted else { return };
        let name = outcome.name();
        match noted.get(fd as usize).and_then(Peer::address) {
            Some(peer) => {
                log::debug_from_thread(format_args!(
                    "{peer}: {name} after {age_ms} ms, {discarded} bytes discarded"
                ));
            }
            None => {
                log::debug_from_thread(format_args!("{name} after {age_ms} ms, {discarded} bytes discarded"))
            }
        }
    }
}
