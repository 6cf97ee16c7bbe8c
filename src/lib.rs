//! Lingering close for TCP servers: no response is lost to a reset.
//!
//! A server that closes a connection while its client is still sending makes its kernel answer with RST, and what is
//! left of the response is thrown away: in the server's send queue, and in a client that gives up when its send fails. It
//! is enough that bytes arrive *after* the close. `SO_LINGER` does not help, for it does not read.
//!
//! The cure (RFC 9112 section 9.6) is to send FIN, to read and discard until the client's FIN or a deadline, and only
//! then to close. [`close`] does that in one background thread of the process, and returns at once:
//!
//! ```no_run
//! # use std::{io::{self, Write}, net::TcpStream, time::Duration};
//! # fn refuse(mut connection: TcpStream) -> io::Result<()> {
//! connection.write_all(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")?;
//! linger::close(connection, Duration::from_secs(30)) // where `drop(connection)` was
//! # }
//! ```
//!
//! # When to call what
//!
//! | where the server | call |
//! |---|---|
//! | lets go of a connection: after its last response, on an error, on a timeout | [`close`] |
//! | does so in a thread that has nothing else to do, and wants to know how it ended | [`close_wait`] |
//! | wants to know that in an event loop or an async task | [`close_reporting`] |
//! | stops | [`flush`], with the longest time the stop may take |
//! | wants to know how many linger | [`pending`] |
//!
//! Two cases need no lingering close, and [`close`] sees both: the client's FIN has arrived already, or the connection is
//! gone. So call it everywhere. A connection that is to be *aborted* is dropped instead.
//!
//! What lingers costs the thread 60 bytes of memory and one descriptor in a table of its own, which does not count
//! against the program's limit.
//!
//! # What goes wrong otherwise
//!
//! - **A clone is alive.** After [`TcpStream::try_clone`](std::net::TcpStream::try_clone), or with a reader and a writer in
//!   two threads, drop all but one before. [`close`] sends FIN for all of them.
//! - **The stream is dropped**, by `?`, a panic or a `return`. A wrapper whose `Drop` calls [`close`] lingers on each of
//!   these paths, too; the example `std_server` has one.
//! - **The process ends** while connections linger: call [`flush`] before, and before `exec`.
//! - **The socket is in an epoll set of your own**: remove it before, or the set reports events of a descriptor that
//!   you no longer have for as long as the connection lingers.
//!
//! # In an async server
//!
//! The stream must leave its runtime. With tokio, `into_std` does so:
//!
//! ```ignore
//! stream.write_all(response).await?;
//! linger::close(stream.into_std()?, None)?;
//! ```
//!
//! [`close`] never blocks and may be called from a task; [`close_wait`] and [`flush`] block and may not, except by way of
//! `spawn_blocking`. Where the stream was split, reunite its halves first. [`close_reporting`] gives a [`Lingering`], whose descriptor
//! becomes readable when the connection has ended: wait for it with tokio's `AsyncFd` or its like.
//!
//! # Settings
//!
//! The variables `LINGER_TIMEOUT_MS`, `LINGER_IDLE_MS`, `LINGER_MAX_MS`, `LINGER_MAX_BYTES`, `LINGER_MAX_RATE`, `LINGER_MAX`,
//! `LINGER_MAX_PER_PEER`, `LINGER_WHEN` and `LINGER_LOG` of the environment are read at the first call; the manual page liblinger(7) describes them.
//!
//! # Elsewhere
//!
//! The same engine has a C interface, `linger.h`, and there is `liblinger.so`, which gives programs that cannot be changed a
//! lingering close when it is preloaded. For these the crate has some public modules that its documentation
//! does not list; they are no part of its interface and change without notice.

#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

// Under loom only the parts that it checks are built: its atomics cannot be statics.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod blocking;
#[cfg(not(loom))]
mod close;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod closing;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod config;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod drain;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod engine;
#[cfg(not(loom))]
mod eviction;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod family;
#[cfg(all(test, loom))]
#[path = "family/departures.rs"]
mod family_departures;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod ffi;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod handover;
#[cfg(all(test, loom))]
#[path = "handover/number.rs"]
mod handover_number;
#[cfg(all(test, loom))]
#[path = "handover/pace.rs"]
mod handover_pace;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod holders;
#[cfg(not(loom))]
mod input;
#[cfg(not(loom))]
mod interruption;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod leader;
#[doc(hidden)]
pub mod lifecycle;
#[cfg(not(loom))]
mod lingering;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod log;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod publication;
#[cfg(not(loom))]
mod reaper;
#[cfg(all(test, loom))]
#[path = "reaper/shards.rs"]
mod shards;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod stats;
#[doc(hidden)]
pub mod sys;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod verdict;
#[cfg(not(loom))]
mod wheel;

#[cfg(not(loom))]
pub use close::{close, close_wait, flush, pending};
#[cfg(not(loom))]
#[doc(inline)]
pub use drain::Outcome;
#[cfg(not(loom))]
pub use lingering::{close_reporting, Lingering};
