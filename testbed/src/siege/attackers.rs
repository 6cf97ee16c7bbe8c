//! What an attacking process does, until it is killed: connections that cost a server that lingers as much as they can.
//!
//! **Invariant:** each peer comes from an address of its own within 127/8, so that neither ports nor a limit for each
//! address stop it; unless all are to come from one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use rustix::net::{bind, connect, socket, AddressFamily, SocketType};

use crate::crowd::allow_descriptors;
use crate::pause;
use crate::scenario::{request, SMALL};

/// What else a process needs.
const OTHER_DESCRIPTORS: u64 = 100;

/// How long one waits for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two rounds over all connections.
const TICK: Duration = Duration::from_millis(10);

/// How often one that was thrown out comes back, at most.
const COME_BACK: Duration = Duration::from_millis(20);

/// What the attackers do once the server has let go of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Say nothing; new ones come all the time.
    Silence,
    /// Say nothing; all are there at the same time, and stay.
    Crowd,
    /// Send a byte a second.
    Trickle,
    /// Send as fast as they can.
    LineRate,
}

/// What one process is to do.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// The kind of attack.
    pub attack: Attack,
    /// Whom to attack.
    pub server: SocketAddr,
    /// How many peers there are; of the silent ones, how many come a second.
    pub peers: u32,
    /// The second byte of their addresses, 127.N.
    pub network: u8,
    /// Where they come from.
    pub homes: Homes,
}

/// Whose addresses the peers of one process have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Homes {
    /// Each its own.
    Own,
    /// All the same.
    One,
}

impl Homes {
    fn of(self, network: u8, peer: u32) -> Ipv4Addr {
        let number = if self == Homes::One { 0 } else { peer };
        let [_, _, high, low] = (number % 60_000 + 1).to_be_bytes();
        Ipv4Addr::new(127, network, high, low)
    }
}

/// What a process says when all of its [`Attack::Crowd`] are there.
pub const ALL_THERE: &str = "all there";

/// Attacks for ever.
///
/// # Errors
///
/// If it cannot have descriptors for so many, or cannot connect at all.
pub fn attack(orders: &Orders) -> Result<()> {
    match orders.attack {
        Attack::Silence => keep_silent(orders),
        Attack::Crowd => crowd(orders),
        Attack::Trickle => trickle(orders),
        Attack::LineRate => send_at_line_rate(orders),
    }
}

/// A connection from this address.
pub(super) fn connect_from(home: Ipv4Addr, server: SocketAddr) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((home, 0))).context("bind")?;
    connect(&socket, &server).context("connect")?;
    Ok(TcpStream::from(socket))
}

/// Connects and asks for a small response, behind which the server lets go.
fn visit(orders: &Orders, peer: u32) -> Result<TcpStream> {
    let mut stream = connect_from(orders.homes.of(orders.network, peer), orders.server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request(SMALL, "close").as_bytes())?;
    Ok(stream)
}

/// Takes the response, and what comes behind it: the server's FIN.
fn take_response(stream: &mut TcpStream) -> io::Result<()> {
    let mut response = [0; 2 * SMALL as usize];
    while stream.read(&mut response)? > 0 {}
    Ok(())
}

/// They come as fast as the server serves them.
fn crowd(orders: &Orders) -> Result<()> {
    allow_descriptors(u64::from(orders.peers) + OTHER_DESCRIPTORS)?;
    let mut silent = Vec::new();
    for peer in 0..orders.peers {
        let mut stream = visit(orders, peer)?;
        take_response(&mut stream)?;
        silent.push(stream);
    }
    println!("{ALL_THERE}");
    loop {
        std::thread::park();
    }
}

fn keep_silent(orders: &Orders) -> Result<()> {
    let hard_limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    allow_descriptors(hard_limit.unwrap_or(1024))?;
    let room = hard_limit.unwrap_or(1024).saturating_sub(OTHER_DESCRIPTORS) as usize;
    let mut silent = std::collections::VecDeque::new();
    let started = Instant::now();
    for peer in 0.. {
        if silent.len() >= room {
            silent.pop_front();
        }
        // One that does not get in is not one of those that linger.
        if let Ok(stream) = visit(orders, peer) {
            silent.push_back(stream);
        }
        let due = started + Duration::from_secs_f64(f64::from(peer) / f64::from(orders.peers));
        let early = due.saturating_duration_since(Instant::now());
        if early > TICK {
            pause(early, "so many come a second");
        }
    }
    Ok(())
}

fn trickle(orders: &Orders) -> Result<()> {
    const SECOND: Duration = Duration::from_secs(1);
    allow_descriptors(u64::from(orders.peers) + OTHER_DESCRIPTORS)?;
    let mut streams: Vec<Option<TcpStream>> = (0..orders.peers).map(|_| None).collect();
    loop {
        let started = Instant::now();
        for (peer, place) in (0..).zip(&mut streams) {
            let gone = place.as_mut().is_none_or(|stream| !takes_a_byte(stream));
            if gone {
                *place = visit(orders, peer).ok();
            }
        }
        pause(SECOND.saturating_sub(started.elapsed()), "a byte a second");
    }
}

fn takes_a_byte(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_ok()
}

fn send_at_line_rate(orders: &Orders) -> Result<()> {
    std::thread::scope(|scope| {
        for peer in 0..orders.peers {
            scope.spawn(move || loop {
                // That the server throws it out is not its failure.
                let _ = visit(orders, peer).and_then(|mut stream| Ok(pour(&mut stream)?));
                pause(COME_BACK, "a rate of new connections is another attack");
            });
        }
    });
    Ok(())
}

fn pour(stream: &mut TcpStream) -> io::Result<()> {
    let piece = [b'x'; 64 * 1024];
    // The response first: what comes before the close would be the next request.
    take_response(stream)?;
    loop {
        match stream.write_all(&piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_an_address_of_its_own_or_all_have_one() {
        let homes = |homes: Homes| -> std::collections::BTreeSet<_> {
            (0..60_000).map(|peer| homes.of(9, peer)).collect()
        };
        assert_eq!(homes(Homes::Own).len(), 60_000);
        assert!(homes(Homes::Own).iter().all(|home| home.is_loopback()));
        assert_eq!(homes(Homes::One).len(), 1);
    }
}
