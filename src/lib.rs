//! Lingering close for TCP servers.
//!
//! A server that calls close(2) while its client is still sending makes the kernel answer with RST, and the response
//! in flight is lost. The cure (RFC 9112 section 9.6): send FIN, read and discard until the client's FIN or a
//! deadline, then close. This crate does that for a descriptor handed to it, in one background thread per process,
//! and returns at once.
//!
//! The C interface is [`ffi`]; `liblinger.so` of the package `linger-shim` is the same engine for programs that
//! cannot be changed.

#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

// Under loom only the parts that it checks are built: its atomics cannot be statics.
#[cfg(not(loom))]
pub mod blocking;
#[cfg(not(loom))]
pub mod closing;
#[cfg(not(loom))]
pub mod config;
#[cfg(not(loom))]
pub mod drain;
#[cfg(not(loom))]
pub mod engine;
#[cfg(not(loom))]
mod eviction;
#[cfg(not(loom))]
pub mod family;
#[cfg(not(loom))]
pub mod ffi;
#[cfg(not(loom))]
pub mod handover;
#[cfg(not(loom))]
pub mod holders;
#[cfg(not(loom))]
mod input;
#[cfg(not(loom))]
mod interruption;
pub mod lifecycle;
#[cfg(not(loom))]
pub mod log;
#[cfg(not(loom))]
pub mod publication;
#[cfg(not(loom))]
mod reaper;
#[cfg(all(test, loom))]
#[path = "reaper/shards.rs"]
mod shards;
#[cfg(not(loom))]
pub mod stats;
pub mod sys;
#[cfg(not(loom))]
pub mod verdict;
#[cfg(not(loom))]
mod wheel;
