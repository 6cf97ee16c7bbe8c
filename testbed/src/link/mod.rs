//! A link between two network namespaces that takes its time, loses packets and changes their order.
//!
//! `tc netem` is a kernel module that many machines lack; TUN devices they have. One is in each namespace, and a thread
//! of ours carries the packets from the one to the other. The near end is in the calling thread's namespace, the far
//! end in one that is made for it: servers go there ([`Link::far`]), clients stay here.
//!
//! # Invariants
//!
//! * Dropping a [`Link`] ends its thread and its devices. The far namespace goes when nobody is in it.
//! * Loopback does not cross the link: it is as fast as ever at both ends.

mod carrier;
mod conditions;
mod tun;

pub use conditions::{Conditions, Fate, LONGEST_DELAY};

use std::fs;
use std::io::PipeWriter;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use crate::client::Client;
use crate::counters::Counters;
use crate::netns::Place;
use crate::server::{Preload, Program, Server};
use crate::sockets;

/// The address of the end in the calling thread's namespace.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 201, 0, 1);

/// The address of the other end.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 201, 0, 2);

/// What a link has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Packets that arrived.
    pub carried: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Packets that arrived later than one sent after them may have.
    pub overtaken: u64,
}

/// The link; dropping it cuts it for good.
#[derive(Debug)]
pub struct Link {
    far: Arc<Place>,
    shared: Arc<carrier::Shared>,
    carrier: Option<JoinHandle<Result<()>>>,
    /// Its end is how the thread learns that it is no longer wanted.
    stop: Option<PipeWriter>,
}

impl Link {
    /// Between the calling thread's namespace, which must have none yet, and a new one.
    ///
    /// # Errors
    ///
    /// If no namespace or no TUN device can be made, or no link can be like that.
    pub fn open(conditions: Conditions) -> Result<Self> {
        conditions.check()?;
        let far = Place::make().context("make the far namespace")?;
        let near_end = tun::open(NEAR, FAR)?;
        let far_end = far.within(|| tun::open(FAR, NEAR))??;
        far.within(keep_what_is_over)?;
        let shared = Arc::new(carrier::Shared::default());
        let (stopped, stop) = std::io::pipe()?;
        let theirs = Arc::clone(&shared);
        let carry =
            move || carrier::carry([near_end, far_end], &conditions, &theirs, &OwnedFd::from(stopped));
        let carrier = std::thread::Builder::new().name("link".to_owned()).spawn(carry)?;
        Ok(Self { far: Arc::new(far), shared, carrier: Some(carrier), stop: Some(stop) })
    }

    /// The far namespace.
    #[must_use]
    pub fn far(&self) -> &Place {
        &self.far
    }

    /// Starts a server at the far end.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub fn start(&self, program: &Program, preload: &Preload) -> Result<Server> {
        self.far.within(|| Server::start_at(program, preload, FAR))?
    }

    /// Connects a client at the near end with a server at the far end.
    ///
    /// # Errors
    ///
    /// If no connection can be made.
    pub fn connect(&self, server: SocketAddr) -> Result<Client> {
        Client::connect_across(server, &self.far)
    }

    /// Lets clients play against the server, waits until its end of every connection is over, and says what the
    /// server's kernel counted meanwhile.
    ///
    /// # Errors
    ///
    /// If playing fails, or a connection does not end.
    pub fn count_resets<T>(
        &self,
        server: &Server,
        play: impl FnOnce(SocketAddr) -> Result<T>,
    ) -> Result<(T, Counters)> {
        let before = self.far.within(Counters::read)??;
        let outcome = play(server.address())?;
        self.far.within(|| sockets::settle(server.address().port()))??;
        Ok((outcome, self.far.within(|| before.since())??))
    }

    /// From now on nothing arrives: each end is as if the other had vanished.
    pub fn cut(&self) {
        self.shared.cut.store(true, Relaxed);
    }

    /// Undoes [`Link::cut`].
    pub fn mend(&self) {
        self.shared.cut.store(false, Relaxed);
    }

    /// What it has done so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let carrier::Shared { carried, lost, overtaken, .. } = &*self.shared;
        Traffic {
            carried: carried.load(Relaxed),
            lost: lost.load(Relaxed),
            overtaken: overtaken.load(Relaxed),
        }
    }
}

/// Lets no reset end a TIME_WAIT of the calling thread's namespace (RFC 1337).
///
/// On a link that repeats and delays packets, the server answers old ones out of TIME_WAIT, a client that has closed answers
/// that with a reset, and what then still comes of the old ones the server answers with another: nobody is told, and nothing
/// is lost, but `OutRsts` counts it. Where settings may not be written it stays so.
fn keep_what_is_over() {
    let _ = fs::write("/proc/sys/net/ipv4/tcp_rfc1337", "1");
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.carrier.take().map(JoinHandle::join);
        if let Some(Ok(Err(error))) = ended {
            eprintln!("the link broke: {error:#}");
        }
    }
}
