//! What liblinger is tested and shown with: real server programs, raw clients that say exactly what
//! they received, and the kernel's own counters of resets, in a network namespace of their own.
//!
//! | module | answers the question |
//! |---|---|
//! | [`netns`] | whose resets are counted? Only this thread's and its children's |
//! | [`counters`] | how many resets did the kernel send, and why? |
//! | [`sockets`] | has the server let go of the connection yet? Is every connection over? |
//! | [`client`], [`answers`] | which answers arrived whole, and how did the connection end? |
//! | [`scenario`] | what does the client do to get its answers lost? |
//! | [`server`] | a real server with a written-out configuration, with the shim or without |
//! | [`buggy`] | the embedded server that closes plainly |
//! | [`demo`] | what `linger demo` shows |
//! | [`link`] | what if the client is far away, and packets get lost on the way? |
//! | [`transparency`], [`cpython`] | do programs with checks of their own notice the shim? |
//! | [`soak`] | does anything grow while peers of every kind come and go? |
//! | [`siege`] | what can an attacker cost the server and its other clients? |
//! | [`wvstreams`] | the client this all began with: WvStreams' `WvHttpPool` |
//!
//! # Invariants
//!
//! * Nothing sleeps to make a race come out well. Clients wait until the kernel's socket table shows
//!   that the server let go; where time itself is the subject, [`pause`] says so.
//! * A Linux client keeps what is in its receive queue when a reset comes. So every scenario that
//!   shows lost bytes has an answer larger than the client's window ([`client::RECEIVE_BUFFER`]).
//! * Ports are chosen by the kernel, on loopback.

#![warn(missing_docs)]

pub mod active;
pub mod anatomy;
pub mod answers;
pub mod buggy;
pub mod client;
pub mod closer;
pub mod counters;
pub mod cpython;
pub mod crowd;
pub mod demo;
pub mod dialogue;
pub mod family_trace;
pub mod faults;
pub mod interface;
pub mod link;
pub mod netns;
pub mod pattern;
pub mod postgres;
pub mod processes;
pub mod proof;
pub mod scenario;
pub mod secure_mode;
pub mod server;
pub mod settings;
pub mod siege;
pub mod soak;
pub mod sockets;
pub mod specimens;
pub mod trace;
pub mod transparency;
pub mod within_reach;
pub mod wvstreams;

use std::time::Duration;

/// How long anything here waits for an event before it calls its absence a failure.
///
/// Longer than the longest wait the product can be asked for by default except the timeouts
/// themselves, and far longer than a loaded machine needs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Lets time pass where time itself is the subject; `_because` is for the reader of the call.
///
/// Everything else waits for an event with a deadline.
pub fn pause(duration: Duration, _because: &str) {
    std::thread::sleep(duration);
}
