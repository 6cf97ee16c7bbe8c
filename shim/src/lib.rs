//! liblinger.so: `linger_*` for programs that link it, and for programs that preload it a close(2) that lingers.
//!
//! **Promises:** where the [`gate`] is closed every hook is the next function and nothing else. A hook does not
//! allocate, lock or wait, except that the first lingering close of a process starts the drain thread, and never
//! changes `errno` unless the real call fails.
//!
//! **Invariant:** three tiers, never mixed: `close` (what the program calls) -> `real::close` (the next in the chain)
//! -> `sys::close` (the kernel). The engine uses only the last.

// Under loom only tests/fds_interleavings.rs is built.
#![cfg(not(loom))]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod epolls;
mod errno;
mod fds;
mod gate;
mod hooks;
mod letting_go;
mod real;
mod start;
mod streams;

// The C interface comes with the engine; this keeps it in the library.
pub use engine::ffi::*;
