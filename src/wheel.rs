//! Deadlines of many connections: a hierarchical timer wheel.
//!
//! **Promises:** setting and cancelling cost the same whatever the number of timers; no allocation after
//! construction. A timer fires in the tick of its time or later, never earlier.
//!
//! **Invariants:** an id is in at most one list; `Link::slot` says which; a list is closed at both ends by
//! `NONE`. Ids are indices into the link array; one out of range is ignored.
//!
//! Four levels of 64 slots: a slot of level `n` spans `64^n` ticks. What lies beyond the last level waits in its
//! farthest slot and is sorted in again when that slot comes round (Varghese and Lauck, SOSP 1987, scheme 7).

use crate::sys::memory::{Region, Zeroed};
use crate::sys::Result;

const LEVELS: u32 = 4;
const SLOT_BITS: u32 = 6;
const SLOTS: u32 = 1 << SLOT_BITS;
/// Milliseconds in a tick.
pub const TICK_MS: u64 = 4;
const NONE: u32 = u32::MAX;

/// A timer's place. All zeros: not set.
#[derive(Clone, Copy, Default)]
struct Link {
    /// The low half of the tick.
    tick: u32,
    next: u32,
    previous: u32,
    /// 1 + level * SLOTS + slot; 0 when not set.
    slot: u32,
}

// SAFETY: integers only; zero means "not set".
unsafe impl Zeroed for Link {}

/// The timers of ids below a fixed number.
pub struct Wheel {
    links: Region<Link>,
    heads: [u32; (LEVELS * SLOTS) as usize],
    occupied: [u64; LEVELS as usize],
    now: u64,
    set: u32,
}

impl Wheel {
    /// Timers for ids `0..ids`, none set.
    pub fn new(ids: usize, now_ms: u64) -> Result<Wheel> {
        Ok(Wheel {
            links: Region::new(ids)?,
            heads: [NONE; (LEVELS * SLOTS) as usize],
            occupied: [0; LEVELS as usize],
            now: now_ms / TICK_MS,
            set: 0,
        })
    }

    /// Sets the timer of `id` to `at_ms`, in place of what it was set to.
    pub fn set(&mut self, id: u32, at_ms: u64) {
        self.cancel(id);
        // Rounded up, and at least one tick ahead: the current slot has already fired.
        let tick = at_ms.div_ceil(TICK_MS).max(self.now + 1);
        if self.links.get(id as usize).is_some() {
            self.insert(id, tick);
            self.set += 1;
        }
    }

    /// Cancels the timer of `id`, if it is set.
    pub fn cancel(&mut self, id: u32) {
        if self.links.get(id as usize).is_some_and(|l| l.slot != 0) {
            self.unlink(id);
            self.set -= 1;
        }
    }

    /// The next id whose time has come by `now_ms`, if there is one; its timer is then no longer set. Call it until it
    /// has none.
    pub fn expire(&mut self, now_ms: u64) -> Option<u32> {
        let target = now_ms / TICK_MS;
        loop {
            if let Some(id) = self.pop((self.now % u64::from(SLOTS)) as u32) {
                self.set -= 1;
                return Some(id);
            }
            if self.now >= target {
                return None;
            }
            if self.set == 0 {
                self.now = target;
                return None;
            }
            self.now += 1;
            self.cascade();
        }
    }

    /// When to call [`Wheel::expire`] next, if any timer is set: never later than the earliest one.
    pub fn next_ms(&self) -> Option<u64> {
        if self.set == 0 {
            return None;
        }
        if self.heads.get((self.now % u64::from(SLOTS)) as usize).is_some_and(|head| *head != NONE) {
            return Some(self.now * TICK_MS);
        }
        let mut best = u64::MAX;
        for level in 0..LEVELS {
            let shift = SLOT_BITS * level;
            let position = self.now >> shift;
            let occupied = self.occupied.get(level as usize).copied().unwrap_or(0);
            // The slots after the current one, in the order in which they come round.
            let ahead = occupied.rotate_right((position % u64::from(SLOTS)) as u32 + 1);
            if ahead != 0 {
                let slots = u64::from(ahead.trailing_zeros()) + 1;
                best = best.min((position + slots) << shift);
            }
        }
        Some(best.saturating_mul(TICK_MS))
    }

    /// Sorts the slots of the higher levels that begin at this tick into the lower ones.
    fn cascade(&mut self) {
        for level in 1..LEVELS {
            if self.now & ((1u64 << (SLOT_BITS * level)) - 1) != 0 {
                return;
            }
            let slot = ((self.now >> (SLOT_BITS * level)) % u64::from(SLOTS)) as u32;
            let mut id = self.take(level * SLOTS + slot);
            while let Some(link) = self.links.get(id as usize).copied() {
                // No timer is set farther ahead than half of what the low half can tell.
                let ahead = link.tick.wrapping_sub(self.now as u32) as i32;
                self.insert(id, self.now + u64::from(ahead.max(0).unsigned_abs()));
                id = link.next;
            }
        }
    }

    fn insert(&mut self, id: u32, tick: u64) {
        let horizon = (1u64 << (SLOT_BITS * LEVELS)) - 1;
        let ahead = tick.saturating_sub(self.now).min(horizon);
        let at = self.now + ahead;
        let level = (0..LEVELS).find(|l| ahead < 1 << (SLOT_BITS * (l + 1))).unwrap_or(LEVELS - 1);
        let slot = level * SLOTS + ((at >> (SLOT_BITS * level)) % u64::from(SLOTS)) as u32;
        let Some(head) = self.heads.get_mut(slot as usize) else {
            return;
        };
        let next = *head;
        *head = id;
        if let Some(other) = self.links.get_mut(next as usize) {
            other.previous = id;
        }
        if let Some(link) = self.links.get_mut(id as usize) {
            *link = Link { tick: tick as u32, next, previous: NONE, slot: slot + 1 };
        }
        if let Some(bits) = self.occupied.get_mut(level as usize) {
            *bits |= 1 << (slot % SLOTS);
        }
    }

    fn unlink(&mut self, id: u32) {
        let Some(link) = self.links.get(id as usize).copied() else {
            return;
        };
        let slot = link.slot - 1;
        if let Some(other) = self.links.get_mut(link.next as usize) {
            other.previous = link.previous;
        }
        if let Some(other) = self.links.get_mut(link.previous as usize) {
            other.next = link.next;
        } else if let Some(head) = self.heads.get_mut(slot as usize) {
            *head = link.next;
            if link.next == NONE {
                self.vacate(slot);
            }
        }
        if let Some(link) = self.links.get_mut(id as usize) {
            link.slot = 0;
        }
    }

    fn pop(&mut self, slot: u32) -> Option<u32> {
        let id = *self.heads.get(slot as usize)?;
        self.links.get(id as usize)?;
        self.unlink(id);
        Some(id)
    }

    /// Empties a slot and returns its first id; the links of the chain are left as they were.
    fn take(&mut self, slot: u32) -> u32 {
        let Some(head) = self.heads.get_mut(slot as usize) else {
            return NONE;
        };
        let first = core::mem::replace(head, NONE);
        self.vacate(slot);
        first
    }

    fn vacate(&mut self, slot: u32) {
        if let Some(bits) = self.occupied.get_mut((slot / SLOTS) as usize) {
            *bits &= !(1 << (slot % SLOTS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const START: u64 = 123_457;

    #[derive(Clone, Debug)]
    enum Action {
        Set(u32, u64),
        Cancel(u32),
        Advance(u64),
        AdvanceToNext,
    }

    fn action() -> impl Strategy<Value = Action> {
        let delay = prop_oneof![0u64..300, 0u64..20_000, 0u64..5_000_000, 0u64..400_000_000];
        prop_oneof![
            3 => (0u32..16, delay.clone()).prop_map(|(id, ms)| Action::Set(id, ms)),
            1 => (0u32..16).prop_map(Action::Cancel),
            2 => delay.prop_map(Action::Advance),
            2 => Just(Action::AdvanceToNext),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// Against a sorted map: every timer fires once, not before its time, and not more than a tick late
        /// when the wheel is advanced at the times it asks for.
        #[test]
        fn fires_as_a_sorted_map_would(actions in proptest::collection::vec(action(), 1..60)) {
            let mut wheel = Wheel::new(16, START).unwrap();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = START;
            for action in actions {
                let target = match action {
                    Action::Set(id, delay) => { wheel.set(id, now + delay); model.insert(id, now + delay); continue }
                    Action::Cancel(id) => { wheel.cancel(id); model.remove(&id); continue }
                    Action::Advance(ms) => now + ms.min(200_000),
                    Action::AdvanceToNext => match wheel.next_ms() {
                        Some(next) => next.max(now),
                        None => { prop_assert!(model.is_empty()); continue }
                    },
                };
                if let (Action::AdvanceToNext, Some(earliest)) = (&action, model.values().min()) {
                    prop_assert!(target <= (*earliest).max(now) + 2 * TICK_MS);
                }
                now = target;
                let mut fired = Vec::new();
                while let Some(id) = wheel.expire(now) { fired.push(id) }
                for id in fired {
                    let due = model.remove(&id);
                    prop_assert!(due.is_some_and(|at| at <= now), "{} fired before {:?}", id, due);
                }
                for (id, at) in &model {
                    prop_assert!(*at + 2 * TICK_MS > now, "{} due at {} missed at {}", id, at, now);
                }
            }
            prop_assert_eq!(wheel.next_ms().is_some(), !model.is_empty());
        }
    }

    #[test]
    fn an_id_out_of_range_is_ignored() {
        let mut wheel = Wheel::new(1, 0).unwrap();
        wheel.set(7, 100);
        wheel.cancel(7);
        assert_eq!(wheel.next_ms(), None);
    }
}
