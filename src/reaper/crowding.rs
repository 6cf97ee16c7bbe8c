//! How many connections of one address linger (`LINGER_MAX_PER_PEER`).
//!
//! **Promises:** nothing is counted, asked or allocated where there is no limit.
//!
//! **Invariants:** an address is counted in two arrays at places that depend on a secret, and its number is the smaller of
//! the two (a count-min sketch). So a stranger who happens to share a place with a crowd is hardly ever taken for one of it, and
//! nobody can arrange it. The arrays are shared by all drain threads.

use crate::sys::memory::{zeros, Region};
use crate::sys::{self, process, socket, Fd};
use core::net::IpAddr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Places in each array.
const PLACES: usize = 1 << 16;

static COUNTS: AtomicPtr<[AtomicU32; PLACES]> = AtomicPtr::new(core::ptr::null_mut());
static SECRETS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// What one drain thread needs to count.
pub(super) struct Crowding {
    limit: u32,
    /// By number in the thread's table: where its address is counted, plus 1; 0 for one that is not counted.
    places: Option<Region<u64>>,
}

/// One more connection of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Crowd {
    /// As many as are allowed are there.
    Full,
    /// It is counted, or nobody counts.
    Room,
}

impl Crowding {
    /// For numbers below `ids`, at most `limit` of an address; 0 for no limit.
    pub(super) fn new(ids: usize, limit: u32) -> sys::Result<Crowding> {
        if limit == 0 {
            return Ok(Crowding { limit, places: None });
        }
        prepare()?;
        Ok(Crowding { limit, places: Some(Region::new(ids)?) })
    }

    /// `fd` is about to linger.
    pub(super) fn enter(&mut self, fd: Fd) -> Crowd {
        let Some(places) = &mut self.places else { return Crowd::Room };
        let (Some(peer), Some(noted)) = (socket::peer_address(fd), places.get_mut(fd as usize)) else {
            return Crowd::Room;
        };
        let counted = places_of(peer.ip());
        if counts(counted).all(|count| count.load(Ordering::Relaxed) >= self.limit) {
            return Crowd::Full;
        }
        counts(counted).for_each(|count| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        *noted = ((counted[0] as u64) << 32 | counted[1] as u64) + 1;
        Crowd::Room
    }

    /// `fd` no longer lingers.
    pub(super) fn leave(&mut self, fd: Fd) {
        let Some(noted) = self.places.as_mut().and_then(|places| places.get_mut(fd as usize)) else { return };
        let Some(counted) = core::mem::take(noted).checked_sub(1) else { return };
        counts([(counted >> 32) as usize, counted as u32 as usize]).for_each(|count| {
            count.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// In a forked child: the counts are the parent's.
pub(super) fn forget() {
    COUNTS.store(core::ptr::null_mut(), Ordering::SeqCst);
}

fn prepare() -> sys::Result<()> {
    if COUNTS.load(Ordering::SeqCst).is_null() {
        for secret in &SECRETS {
            secret.store(process::random() | 1, Ordering::SeqCst);
        }
        let arrays = zeros(2 * PLACES * core::mem::size_of::<AtomicU32>())?;
        COUNTS.store(arrays.cast(), Ordering::SeqCst);
    }
    Ok(())
}

/// The place of an address in each array. An IPv6 network is one address: whoever has one has them all.
fn places_of(ip: IpAddr) -> [usize; 2] {
    let bits = match ip.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()) | 1 << 63,
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    };
    let [a, b] = &SECRETS;
    let fold = |bits: u64, secret: u64| {
        let product = u128::from(bits ^ secret) * u128::from(secret.rotate_left(29) | 1);
        (product >> 64) as u64 ^ product as u64
    };
    let mixed = fold(fold(bits, a.load(Ordering::Relaxed)), b.load(Ordering::Relaxed));
    [(mixed >> 32) as usize % PLACES, mixed as u32 as usize % PLACES]
}

fn counts(places: [usize; 2]) -> impl Iterator<Item = &'static AtomicU32> {
    let arrays = COUNTS.load(Ordering::SeqCst);
    // SAFETY: null, or two arrays of zeros that stay mapped for the life of the process.
    let arrays = if arrays.is_null() { &[] } else { unsafe { core::slice::from_raw_parts(arrays, 2) } };
    arrays.iter().zip(places).filter_map(|(array, place)| array.get(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn one_address_has_its_limit_and_others_have_theirs() {
        let mut crowding = Crowding::new(1024, 2).unwrap();
        let accept = |address: &str| {
            let listener = TcpListener::bind((address, 0)).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (listener.accept().unwrap().0, client)
        };
        let crowd: Vec<_> = (0..3).map(|_| accept("127.0.0.1")).collect();
        let fds: Vec<Fd> = crowd.iter().map(|(server, _)| server.as_raw_fd()).collect();
        assert_eq!(crowding.enter(fds[0]), Crowd::Room);
        assert_eq!(crowding.enter(fds[1]), Crowd::Room);
        assert_eq!(crowding.enter(fds[2]), Crowd::Full);
        let (stranger, _client) = accept("::1");
        assert_eq!(crowding.enter(stranger.as_raw_fd()), Crowd::Room);
        crowding.leave(fds[0]);
        crowding.leave(fds[0]);
        assert_eq!(crowding.enter(fds[2]), Crowd::Room, "one has left");
        assert_eq!(crowding.enter(fds[0]), Crowd::Full, "and left only once");

        // Addresses of one network are one, and others are not. In one test: the secrets are the process's.
        let place = |ip: &str| places_of(ip.parse().unwrap());
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:1"));
        assert_eq!(place("192.0.2.1"), place("::ffff:192.0.2.1"));
        assert_ne!(place("192.0.2.1"), place("192.0.2.2"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
    }
}
