//! Counters, one for each outcome and each way around the drain thread.
//!
//! **Promises:** counting is one relaxed atomic add, safe everywhere. A forked child starts from zero.
//!
//! **Invariant:** `PENDING` goes up before a connection is handed to the drain thread and down when the thread has
//! closed it, so that it is never too low.

use crate::drain::Outcome;
use crate::sys::process;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

static OUTCOMES: [AtomicU64; 7] = [const { AtomicU64::new(0) }; 7];
static LINGERED: AtomicU64 = AtomicU64::new(0);
static SHARED: AtomicU64 = AtomicU64::new(0);
static FALLBACKS: AtomicU64 = AtomicU64::new(0);
static DISCARDED: AtomicU64 = AtomicU64::new(0);
static PENDING: AtomicU32 = AtomicU32::new(0);

fn outcome_counter(outcome: Outcome) -> &'static AtomicU64 {
    OUTCOMES.get(outcome as usize).unwrap_or(&LINGERED)
}

/// A connection is about to be handed to the drain thread.
pub fn begin() {
    PENDING.fetch_add(1, Ordering::SeqCst);
    LINGERED.fetch_add(1, Ordering::Relaxed);
}

/// It was not, after all.
pub fn cancel() {
    LINGERED.fetch_sub(1, Ordering::Relaxed);
    leave();
}

/// The drain thread closed it.
pub fn finish(outcome: Outcome, discarded: u64) {
    count(outcome, discarded);
    leave();
}

/// The drain thread found that somebody else holds it, and let go.
pub fn dropped_as_shared() {
    SHARED.fetch_add(1, Ordering::Relaxed);
    LINGERED.fetch_sub(1, Ordering::Relaxed);
    leave();
}

/// A connection ended without the drain thread.
pub fn count(outcome: Outcome, discarded: u64) {
    outcome_counter(outcome).fetch_add(1, Ordering::Relaxed);
    discard(discarded);
}

/// Bytes of a connection that ends otherwise.
pub fn discard(bytes: u64) {
    if bytes > 0 {
        DISCARDED.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A connection should have lingered, but was drained inline and closed.
pub fn fallback() {
    FALLBACKS.fetch_add(1, Ordering::Relaxed);
}

fn leave() {
    // Never below zero: `forget_pending` may have come between.
    let before = PENDING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_sub(1)));
    if before == Ok(1) {
        process::futex_wake(&PENDING);
    }
}

/// How many connections linger now.
pub fn pending() -> u32 {
    PENDING.load(Ordering::SeqCst)
}

/// Waits until nothing lingers or the time (of [`process::now_ms`]) has come; `None` waits without limit.
/// **Blocks.**
pub fn wait_until_none(until_ms: Option<u64>) -> u32 {
    loop {
        let pending = pending();
        let left = until_ms.map_or(1000, |until| until.saturating_sub(process::now_ms()));
        if pending == 0 || left == 0 {
            return pending;
        }
        process::futex_wait(&PENDING, pending, left.min(1000));
    }
}

/// Everything to zero: in a forked child.
pub fn reset() {
    for counter in OUTCOMES.iter().chain([&LINGERED, &SHARED, &FALLBACKS, &DISCARDED]) {
        counter.store(0, Ordering::Relaxed);
    }
    PENDING.store(0, Ordering::SeqCst);
}

/// The drain thread is gone, and what it held with it.
pub fn forget_pending() {
    PENDING.store(0, Ordering::SeqCst);
    process::futex_wake(&PENDING);
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Snapshot {
    pub lingered: u64,
    pub pending: u64,
    pub outcomes: [u64; 7],
    pub shared: u64,
    pub fallbacks: u64,
    pub discarded: u64,
}

/// Reads every counter; each is exact, together they may be of slightly different moments.
pub fn snapshot() -> Snapshot {
    let mut outcomes = [0; 7];
    for (to, from) in outcomes.iter_mut().zip(&OUTCOMES) {
        *to = from.load(Ordering::Relaxed);
    }
    Snapshot {
        lingered: LINGERED.load(Ordering::Relaxed),
        pending: pending().into(),
        outcomes,
        shared: SHARED.load(Ordering::Relaxed),
        fallbacks: FALLBACKS.load(Ordering::Relaxed),
        discarded: DISCARDED.load(Ordering::Relaxed),
    }
}
