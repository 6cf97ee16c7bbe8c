//! Which calls are to fail.

use super::calls::{self, Call, CALLS, ERRNOS, THREAD};
use super::record::{self, Side};
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    None,
    Fail(i32),
    Stall(u64),
    Panic,
}

/// One part of `LINGER_FAULTS`; `number` is -2 where there is none.
struct Part {
    number: AtomicI64,
    /// The command, plus one; 0: whatever it is.
    command: AtomicU64,
    /// An errno; a stall is a negative number of milliseconds, and a panic is [`PANIC`].
    effect: AtomicI64,
    first: AtomicU64,
    last: AtomicU64,
    /// 1: drain threads only, 2: others only.
    side: AtomicU64,
}

const VACANT: i64 = -2;
const PANIC: i64 = i64::MIN;
pub(super) const PARTS: usize = 16;

pub(super) struct Plan {
    parts: [Part; PARTS],
    seed: AtomicU64,
    per_thousand: AtomicU64,
    /// Rows of [`CALLS`] that never fail at random, a bit each.
    spared: [AtomicU64; 2],
}

impl Plan {
    pub(super) const fn new() -> Plan {
        Plan {
            parts: [const {
                Part {
                    number: AtomicI64::new(VACANT),
                    command: AtomicU64::new(0),
                    effect: AtomicI64::new(0),
                    first: AtomicU64::new(1),
                    last: AtomicU64::new(1),
                    side: AtomicU64::new(0),
                }
            }; PARTS],
            seed: AtomicU64::new(0),
            per_thousand: AtomicU64::new(0),
            spared: [const { AtomicU64::new(0) }; 2],
        }
    }

    /// From the text of `LINGER_FAULTS`; the part that is not understood, if there is one.
    pub(super) fn read<'a>(&self, text: &'a str) -> Result<(), &'a str> {
        let mut places = self.parts.iter();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let understood = match part.strip_prefix("random:") {
                Some(numbers) => self.read_random(numbers),
                None => places.next().and_then(|place| place.read(part)),
            };
            understood.ok_or(part)?;
        }
        Ok(())
    }

    fn read_random(&self, numbers: &str) -> Option<()> {
        let (numbers, spared) = numbers.split_once('-').unwrap_or((numbers, ""));
        for name in spared.split('-').filter(|name| !name.is_empty()) {
            CALLS.iter().find(|call| call.name == name)?;
            for (row, _) in CALLS.iter().enumerate().filter(|(_, call)| call.name == name) {
                self.spared.get(row / 64)?.fetch_or(1 << (row % 64), Ordering::Relaxed);
            }
        }
        let (seed, per_thousand) = numbers.split_once(':')?;
        self.seed.store(seed.parse().ok()?, Ordering::Relaxed);
        self.per_thousand.store(per_thousand.parse().ok()?, Ordering::Relaxed);
        Some(())
    }

    /// `before` is how many calls of this number there were on this side.
    pub(super) fn decide(&self, number: libc::c_long, args: &[usize; 6], side: Side, before: u64) -> Effect {
        let command = args.get(calls::command_of(number)).copied().unwrap_or(0);
        let mut effect = Effect::None;
        for (index, part) in self.parts.iter().enumerate() {
            if part.number.load(Ordering::Relaxed) == VACANT {
                break;
            }
            if part.concerns(number, command, side) {
                let nth = record::count(index);
                let planned = part.first.load(Ordering::Relaxed)..=part.last.load(Ordering::Relaxed);
                if planned.contains(&nth) && effect == Effect::None {
                    record::note_injection(index);
                    effect = part.effect();
                }
            }
        }
        if effect == Effect::None {
            effect = self.at_random(number, command, side, before);
        }
        effect
    }

    /// A seed says which of a call's occurrences fail, on each side by itself: what the other threads do meanwhile changes
    /// nothing in that.
    fn at_random(&self, number: libc::c_long, command: usize, side: Side, before: u64) -> Effect {
        let per_thousand = self.per_thousand.load(Ordering::Relaxed);
        if per_thousand == 0 {
            return Effect::None;
        }
        let place = (before << 16) ^ ((number as u64 & 0x7fff) << 1) ^ side as u64;
        let dice = mix(self.seed.load(Ordering::Relaxed) ^ mix(place));
        let wanted = |call: &Call| call.number == number && call.command.is_none_or(|c| c == command);
        let Some(row) = CALLS.iter().position(wanted) else { return Effect::None };
        let spared = self.spared.get(row / 64).map_or(0, |bits| bits.load(Ordering::Relaxed));
        let failures = CALLS.get(row).map_or(&[][..], |call| call.failures);
        if spared >> (row % 64) & 1 == 1 {
            return Effect::None;
        }
        if dice % 1000 >= per_thousand || failures.is_empty() {
            return Effect::None;
        }
        let chosen = failures.get((dice >> 32) as usize % failures.len());
        chosen.map_or(Effect::None, |failure| Effect::Fail(failure.errno))
    }
}

impl Part {
    fn concerns(&self, number: libc::c_long, command: usize, side: Side) -> bool {
        let wanted = self.command.load(Ordering::Relaxed);
        self.number.load(Ordering::Relaxed) == number
            && (wanted == 0 || wanted == command as u64 + 1)
            && match self.side.load(Ordering::Relaxed) {
                1 => side == Side::Thread,
                2 => side == Side::Caller,
                _ => true,
            }
    }

    fn effect(&self) -> Effect {
        match self.effect.load(Ordering::Relaxed) {
            PANIC => Effect::Panic,
            stall if stall < 0 => Effect::Stall(stall.unsigned_abs()),
            errno => Effect::Fail(errno as i32),
        }
    }

    fn read(&self, part: &str) -> Option<()> {
        if let Some(ms) = part.strip_prefix("stall:") {
            return self.set("epoll_pwait", stall(ms)?, 1, u64::MAX, 1);
        }
        let (rest, side) = match part.rsplit_once(':') {
            Some((rest, "thread")) => (rest, 1),
            Some((rest, "caller")) => (rest, 2),
            _ => (part, 0),
        };
        let (rest, occurrence) = rest.rsplit_once('@').unwrap_or((rest, "1"));
        let (first, last) = match (occurrence, occurrence.strip_suffix('+'), occurrence.split_once('-')) {
            ("*", ..) => (1, u64::MAX),
            (_, Some(first), _) => (first.parse().ok()?, u64::MAX),
            (_, _, Some((first, last))) => (first.parse().ok()?, last.parse().ok()?),
            _ => (occurrence.parse().ok()?, occurrence.parse().ok()?),
        };
        let (call, effect) = rest.split_once(':')?;
        let effect = match effect.strip_prefix("stall=") {
            Some(ms) => stall(ms)?,
            None if effect == "PANIC" => PANIC,
            None => ERRNOS.iter().find(|(name, _)| *name == effect)?.1.into(),
        };
        self.set(call, effect, first, last, side)
    }

    fn set(&self, call: &str, effect: i64, first: u64, last: u64, side: u64) -> Option<()> {
        let (name, command) = match call.split_once('.') {
            Some((name, command)) => (name, command.parse::<u64>().ok()? + 1),
            None => (call, 0),
        };
        let number = CALLS.iter().find(|call| call.name == name)?.number;
        debug_assert!(number == THREAD || number == calls::ABSENT || number >= 0);
        self.command.store(command, Ordering::Relaxed);
        self.effect.store(effect, Ordering::Relaxed);
        self.first.store(first, Ordering::Relaxed);
        self.last.store(last, Ordering::Relaxed);
        self.side.store(side, Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        Some(())
    }
}

fn stall(ms: &str) -> Option<i64> {
    ms.parse::<i64>().ok().filter(|ms| *ms > 0).map(|ms| -ms)
}

/// splitmix64
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_happens_and_no_more() {
        let plan = Plan::new();
        assert_eq!(plan.read("sendmsg:ENOBUFS@2-3:caller,epoll_ctl.1:ENOSPC@*"), Ok(()));
        let sent = |side| plan.decide(libc::SYS_sendmsg, &[0; 6], side, 0);
        assert_eq!(sent(Side::Caller), Effect::None);
        assert_eq!(sent(Side::Thread), Effect::None);
        assert_eq!(sent(Side::Caller), Effect::Fail(libc::ENOBUFS));
        assert_eq!(sent(Side::Caller), Effect::Fail(libc::ENOBUFS));
        assert_eq!(sent(Side::Caller), Effect::None);
        let controlled =
            |command| plan.decide(libc::SYS_epoll_ctl, &[0, command, 0, 0, 0, 0], Side::Thread, 0);
        assert_eq!(controlled(1), Effect::Fail(libc::ENOSPC));
        assert_eq!(controlled(2), Effect::None);
    }

    #[test]
    fn a_seed_refuses_the_same_again_whatever_comes_between() {
        let refused = |plan: &Plan, number, side| -> Vec<_> {
            (0..200).map(|before| plan.decide(number, &[0; 6], side, before)).collect()
        };
        let (first, second, other) = (Plan::new(), Plan::new(), Plan::new());
        for (plan, text) in [(&first, "random:7:200"), (&second, "random:7:200"), (&other, "random:8:200")] {
            assert_eq!(plan.read(text), Ok(()));
        }
        let alone = refused(&first, libc::SYS_sendmsg, Side::Caller);
        assert!(alone.iter().any(|effect| *effect != Effect::None));
        refused(&second, libc::SYS_close, Side::Caller);
        assert_ne!(refused(&second, libc::SYS_sendmsg, Side::Thread), alone);
        assert_eq!(refused(&second, libc::SYS_sendmsg, Side::Caller), alone);
        assert_ne!(refused(&other, libc::SYS_sendmsg, Side::Caller), alone);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for wrong in [
            "sendmsg",
            "random:1:2-nothing",
            "sendmsg:EWRONG",
            "nothing:EIO",
            "sendmsg:EIO@x",
            "random:1",
            "stall:-3",
        ] {
            assert_eq!(Plan::new().read(wrong), Err(wrong));
        }
    }

    #[test]
    fn every_errno_has_a_name_and_every_call_one_row() {
        for (place, call) in CALLS.iter().enumerate() {
            for failure in call.failures {
                assert!(ERRNOS.iter().any(|(_, errno)| *errno == failure.errno), "{call:?}");
            }
            let same = |other: &Call| (other.number, other.command) == (call.number, call.command);
            assert_eq!(CALLS.iter().position(same), Some(place), "twice: {call:?}");
        }
    }
}
