//! A server that lets go of connections in every way (`every-way`), its clients, and what must be so whatever fails.
//!
//! | module | answers the question |
//! |---|---|
//! | [`launch`] | with which library, failures, filters and limits does the server run? |
//! | [`exchange`] | what did one client get? |
//! | [`holdings`] | what do it and its threads hold? |
//! | [`session`] | did everything go well from the first connection to the end of the process? |
//! | [`server`] | the same server, step by step |
//! | [`cases`] | which failures are there to try, and what must be set for the engine to come to them? |
//! | [`fates`] | what became of connections? |
//! | [`log`] | which calls did the engine make, and which were refused? |

pub mod cases;
pub mod exchange;
pub mod fates;
pub mod holdings;
pub mod launch;
pub mod log;
pub mod server;
pub mod session;

/// How each system call of the engine can fail: the table that the library itself is built with.
#[path = "../../../src/sys/faults/calls.rs"]
pub mod calls;

/// The byte at this place of the response to this request.
#[must_use]
pub fn byte_at(id: usize, at: usize) -> u8 {
    // Prime, so that the pattern never lines up with buffers and pages.
    ((at + id * 31) % 251) as u8
}
