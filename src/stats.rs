//! Counters, one for each outcome and each way around the drain thread.
//!
//! **Promises:** counting is one relaxed atomic add, safe everywhere. A forked child starts from zero.
//!
//! **Invariant:** `PENDING` goes up before a connection is handed to the drain thread and down when the thread has
//! closed it, so that it is never too low.

use crate::drain::Outcome;
use crate::sys::process;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The counters, which are zeros at first; the layout is published (see [`crate::publication`]).
#[repr(C)]
pub struct Counters {
    /// By outcome.
    pub outcomes: [AtomicU64; 7],
    /// Handed to the drain thread.
    pub lingered: AtomicU64,
    /// Left to another holder.
    pub shared: AtomicU64,
    /// Should have lingered and could not.
    pub fallbacks: AtomicU64,
    /// Bytes.
    pub discarded: AtomicU64,
}

/// What was counted before there was a drain thread, and where nothing is published.
static UNPUBLISHED: Counters = Counters::zeros();
static PUBLISHED: AtomicPtr<Counters> = AtomicPtr::new(core::ptr::null_mut());
static PENDING: AtomicU32 = AtomicU32::new(0);

fn counters() -> &'static Counters {
    // SAFETY: null, or what `publish` was given, which lives as long as the process.
    unsafe { PUBLISHED.load(Ordering::Acquire).as_ref() }.unwrap_or(&UNPUBLISHED)
}

/// From now on counting is done there. What was counted so far moves there; a count made at this very moment may stay
/// behind.
pub fn publish(there: &'static Counters) {
    let before = PUBLISHED.swap(core::ptr::from_ref(there).cast_mut(), Ordering::AcqRel);
    // SAFETY: null, or what `publish` was given, which lives as long as the process.
    let before = unsafe { before.as_ref() };
    for from in before.into_iter().chain([&UNPUBLISHED]) {
        for (from, to) in from.all().zip(there.all()) {
            to.fetch_add(from.swap(0, Ordering::SeqCst), Ordering::Relaxed);
        }
    }
}

impl Counters {
    const fn zeros() -> Counters {
        Counters {
            outcomes: [const { AtomicU64::new(0) }; 7],
            lingered: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
        }
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        let Counters { outcomes, lingered, shared, fallbacks, discarded } = self;
        outcomes.iter().chain([lingered, shared, fallbacks, discarded])
    }
}

/// A connection is about to be handed to the drain thread.
pub fn begin() {
    PENDING.fetch_add(1, Ordering::SeqCst);
    counters().lingered.fetch_add(1, Ordering::Relaxed);
}

/// It was not, after all.
pub fn cancel() {
    counters().lingered.fetch_sub(1, Ordering::Relaxed);
    leave();
}

/// The drain thread closed it.
pub fn finish(outcome: Outcome, discarded: u64) {
    count(outcome, discarded);
    leave();
}

/// The drain thread found that somebody else holds it, and let go.
pub fn dropped_as_shared() {
    counters().shared.fetch_add(1, Ordering::Relaxed);
    counters().lingered.fetch_sub(1, Ordering::Relaxed);
    leave();
}

/// A connection ended without the drain thread.
pub fn count(outcome: Outcome, discarded: u64) {
    if let Some(counter) = counters().outcomes.get(outcome as usize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
    discard(discarded);
}

/// Bytes of a connection that ends otherwise.
pub fn discard(bytes: u64) {
    if bytes > 0 {
        counters().discarded.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A connection should have lingered, but was drained inline and closed.
pub fn fallback() {
    counters().fallbacks.fetch_add(1, Ordering::Relaxed);
}

fn leave() {
    // Never below zero: `forget_all_but` may have come between.
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

/// Everything to zero: in a forked child. What its parent publishes is the parent's.
pub fn reset() {
    PUBLISHED.store(core::ptr::null_mut(), Ordering::Release);
    UNPUBLISHED.all().for_each(|counter| counter.store(0, Ordering::Relaxed));
    PENDING.store(0, Ordering::SeqCst);
}

/// All but `left` are gone: closed, with a drain thread's table or in a channel to which none listens.
pub fn forget_all_but(left: usize) {
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    let fewer = |n: u32| Some(n.min(left));
    let before = PENDING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).unwrap_or(0);
    let lost = before.saturating_sub(left);
    if let Some(closed) = counters().outcomes.get(Outcome::Closed as usize) {
        closed.fetch_add(lost.into(), Ordering::Relaxed);
    }
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
    // Both places: see `publish`.
    let published = counters();
    let both = |counter: fn(&Counters) -> &AtomicU64| {
        let here = counter(&UNPUBLISHED).load(Ordering::Relaxed);
        if core::ptr::eq(published, &UNPUBLISHED) {
            return here;
        }
        here.wrapping_add(counter(published).load(Ordering::Relaxed))
    };
    let [c0, c1, c2, c3, c4, c5, c6]: [fn(&Counters) -> &AtomicU64; 7] = [
        |c| &c.outcomes[0],
        |c| &c.outcomes[1],
        |c| &c.outcomes[2],
        |c| &c.outcomes[3],
        |c| &c.outcomes[4],
        |c| &c.outcomes[5],
        |c| &c.outcomes[6],
    ];
    Snapshot {
        lingered: both(|c| &c.lingered),
        pending: pending().into(),
        outcomes: [both(c0), both(c1), both(c2), both(c3), both(c4), both(c5), both(c6)],
        shared: both(|c| &c.shared),
        fallbacks: both(|c| &c.fallbacks),
        discarded: both(|c| &c.discarded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FIRST: Counters = Counters::zeros();
    static SECOND: Counters = Counters::zeros();

    #[test]
    fn what_was_counted_moves_to_where_counting_goes_on() {
        let before = snapshot().discarded;
        discard(3);
        publish(&FIRST);
        discard(4);
        publish(&SECOND);
        discard(5);
        assert!(snapshot().discarded >= before + 12, "other tests count, too");
        assert!(SECOND.discarded.load(Ordering::Relaxed) >= 12);
        assert_eq!(FIRST.discarded.load(Ordering::Relaxed), 0);
    }
}
