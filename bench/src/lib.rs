//! What liblinger costs: every figure of the brief, measured beside the same program without it and beside its peers.
//!
//! | module | answers the question |
//! |---|---|
//! | [`figures`] | what is measured, how, and what must it reach? |
//! | [`samples`] | what do the rounds say together: median, spread, ratio? |
//! | [`processor`] | how much processor time has a program used, with all its processes and threads? |
//! | [`isolation`] | whose traffic is in the kernel's tables and counters? |
//! | [`process`], [`peers`] | how is a server started and ended, and how is it configured? |
//! | [`commanded`], [`crowd`] | what do the bare programs and the silent peers do when they are told? |
//! | [`load`] | what do the clients do, in their own process? |
//! | [`report`] | how are the figures shown? |
//! | [`stopped`] | what if the drain thread does not get a turn?
//! | [`machine`] | where were they measured? |
//!
//! # Invariants
//!
//! * Contenders take turns within each round, and who is first changes from round to round, so that whatever else
//!   the machine does falls on all of them.
//! * A ratio is the median of the ratios of the rounds, never a ratio of medians.
//! * Client and server are processes of their own, and only the server's processor time counts: throughput on a few
//!   cores that both share says nothing about either.
//! * A figure is what was measured. A target that is not reached is shown as not reached.

#![warn(missing_docs)]

pub mod commanded;
pub mod crowd;
pub mod figures;
pub mod isolation;
pub mod load;
pub mod machine;
pub mod peers;
pub mod process;
pub mod processor;
pub mod report;
pub mod samples;
pub mod stopped;
