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

pub mod blocking;
pub mod config;
pub mod drain;
pub mod engine;
mod eviction;
pub mod ffi;
pub mod handover;
pub mod holders;
mod input;
pub mod log;
mod reaper;
pub mod stats;
pub mod sys;
pub mod verdict;
mod wheel;
