//! What is promised of one lingering connection, told naively: the whole history is kept, and every question is answered from
//! it. Compared step by step with [`Drain`], which keeps 32 bytes.

use super::*;
use proptest::collection::vec;
use proptest::option;

/// As many bytes as are left of the limit.
const REST: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
enum Event {
    Received(u64),
    Paused,
    Looked(u32),
}

/// Ages are milliseconds since the half-close.
struct Model {
    limits: Limits,
    deadline: Option<u32>,
    first_queue: u32,
    history: Vec<(u64, Event)>,
}

impl Model {
    fn discarded(&self) -> u64 {
        self.history.iter().map(|(_, e)| if let Event::Received(bytes) = e { *bytes } else { 0 }).sum()
    }

    /// When the peer last sent something, as far as it was let.
    fn heard(&self) -> u64 {
        let heard = self.history.iter().filter(|(_, e)| !matches!(e, Event::Looked(_)));
        heard.map(|(age, _)| *age).max().unwrap_or(0)
    }

    /// When the send queue was last shorter than ever before.
    fn taken(&self) -> Option<u64> {
        let (mut shortest, mut when) = (self.first_queue, None);
        for (age, event) in &self.history {
            match event {
                Event::Looked(queue) if *queue < shortest => (shortest, when) = (*queue, Some(*age)),
                _ => {}
            }
        }
        // What was taken in the millisecond of the half-close was taken of what came before it.
        when.filter(|age| *age > 0)
    }

    fn first_deadline(&self) -> u64 {
        self.deadline.unwrap_or(self.limits.timeout_ms).into()
    }

    fn last_deadline(&self) -> u64 {
        self.deadline.unwrap_or(self.limits.timeout_ms.max(self.limits.max_ms)).into()
    }

    /// How it ends at `age`, if it does, with `queue` bytes unacknowledged.
    fn end(&self, age: u64, queue: u32) -> Option<Outcome> {
        let idle = u64::from(self.limits.idle_ms);
        if queue == 0 && age >= self.heard().max(self.taken().unwrap_or(0)) + idle {
            return Some(Outcome::Idle);
        }
        let still_taking = queue > 0 && self.taken().is_some_and(|taken| age < taken + idle);
        let extended = still_taking && age < self.last_deadline();
        (age >= self.first_deadline() && !extended).then_some(Outcome::Timeout)
    }

    /// The next moment after `age` at which something may end: where a machine is wrong by one, it is wrong there.
    fn next_edge(&self, age: u64) -> u64 {
        let idle = u64::from(self.limits.idle_ms);
        let ends = [
            self.heard() + idle,
            self.taken().unwrap_or(0) + idle,
            self.first_deadline(),
            self.last_deadline(),
        ];
        ends.into_iter().filter(|end| *end > age).min().unwrap_or(age + 1)
    }

    /// Bytes that may be discarded by `age`, all in all.
    fn earned(&self, age: u64) -> u64 {
        self.limits.max_rate * (age + 1000) / 1000
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u64..2000).prop_map(Event::Received),
        Just(Event::Received(REST)),
        Just(Event::Paused),
        (0u32..200).prop_map(Event::Looked),
        Just(Event::Looked(0)),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let amount = || prop_oneof![Just(0u64), 1u64..4000];
    (1u32..3000, 0u32..5000, 0u32..9000, amount(), amount()).prop_map(
        |(idle_ms, timeout_ms, max_ms, max_bytes, max_rate)| Limits {
            idle_ms,
            timeout_ms,
            max_ms,
            max_bytes,
            max_rate,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_connection_ends_when_its_history_says_so(
        limits in limits(), deadline in option::of(0u32..6000), first_queue in 0u32..200,
        // Some starts are just before the low half of the clock runs over.
        start in prop_oneof![0u64..10, u64::from(u32::MAX) - 5000..u64::from(u32::MAX) + 10],
        events in vec((prop_oneof![(0u64..20).prop_map(Some), (0u64..2500).prop_map(Some), Just(None)], event()), 1..40),
    ) {
        let mut model = Model { limits, deadline, first_queue, history: Vec::new() };
        let asked = deadline.map_or(Deadline::Default, Deadline::Exactly);
        let mut drain = Drain::new(start, asked, first_queue, &limits);
        let mut age = 0;
        for (delay, event) in events {
            age = delay.map_or_else(|| model.next_edge(age), |delay| age + delay);
            let now = start + age;
            let event = match event {
                Event::Received(REST) => Event::Received(limits.max_bytes.saturating_sub(model.discarded())),
                event => event,
            };
            model.history.push((age, event));
            match event {
                Event::Received(bytes) => {
                    let enough = limits.max_bytes > 0 && model.discarded() >= limits.max_bytes;
                    let outcome = drain.received(now, bytes, &limits);
                    prop_assert_eq!(outcome, enough.then_some(Outcome::Bytes));
                    if enough { break; }
                }
                Event::Paused => drain.paused(now),
                Event::Looked(queue) => match (drain.look(now, queue, &limits), model.end(age, queue)) {
                    (Step::Finish(outcome), end) => {
                        prop_assert_eq!(Some(outcome), end);
                        break;
                    }
                    (Step::Wait(until), end) => {
                        prop_assert_eq!(end, None);
                        let next = until - start;
                        let extended = model.taken().unwrap_or(0) + u64::from(limits.idle_ms);
                        let hard = if age < model.first_deadline() { model.first_deadline() } else { model.last_deadline().min(extended) };
                        if queue == 0 {
                            // Nothing but a deadline is waited for: at the next look it is over, and not a moment before.
                            prop_assert_eq!(Some(next), (age + 1..=next).find(|later| model.end(*later, 0).is_some()));
                        } else {
                            // Somebody must look whether the peer is still taking: soon, but not always.
                            let (soon, rarely) = (u64::from(limits.idle_ms / 2).clamp(1, 50), 1000.min(limits.idle_ms / 2).max(1));
                            prop_assert!(next <= hard && next <= age + u64::from(rarely), "{} to {}", age, next);
                            prop_assert!(next == hard || next >= age + soon, "{} to {}", age, next);
                        }
                    }
                },
            }
            prop_assert_eq!(drain.discarded(), model.discarded());
            prop_assert_eq!(drain.age(now), age as u32);
            prop_assert_eq!(u64::from(drain.quiet_ms(now)), age - model.heard().max(model.taken().unwrap_or(0)));
            match drain.allowance(now, &limits) {
                _ if limits.max_rate == 0 => prop_assert_eq!(drain.allowance(now, &limits), Ok(u64::MAX)),
                Ok(bytes) => prop_assert_eq!(bytes, model.earned(age) - model.discarded()),
                Err(until) => {
                    prop_assert!(model.earned(age) <= model.discarded());
                    let worth_it = model.discarded() + (limits.max_rate / 20).max(1);
                    prop_assert_eq!(Some(until - start), (age + 1..).find(|later| model.earned(*later) >= worth_it));
                }
            }
        }
    }
}
