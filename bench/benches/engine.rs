//! The parts of the engine that need no socket: what each costs alone. `make bench` puts the figures into the report.

use std::hint::black_box;
use std::time::Instant;

use criterion::{criterion_group, criterion_main, Criterion};
use linger::config::When;
use linger::drain::{Deadline, Drain, Limits};
use linger::handover::{self, Input, Received, Request, Task};
use linger::sys::{self, socket::TcpState};
use linger::verdict::{decide, Observed};

#[path = "../../src/eviction.rs"]
#[allow(dead_code, missing_docs, unused_imports)]
mod eviction;
#[path = "../../src/wheel.rs"]
#[allow(dead_code, missing_docs, unused_imports)]
mod wheel;

const MANY: u32 = 100_000;

const LIMITS: Limits =
    Limits { idle_ms: 5_000, timeout_ms: 30_000, max_ms: 120_000, max_bytes: 0, max_rate: 0 };

fn verdict(c: &mut Criterion) {
    let observed = Observed { state: Some(TcpState::Established), linger_seconds: None, unread: None };
    c.bench_function("verdict", |b| b.iter(|| decide(black_box(&observed), black_box(When::Open))));
}

fn drain(c: &mut Criterion) {
    c.bench_function("drain, received", |b| {
        let mut drain = Drain::new(0, Deadline::Default, 1, &LIMITS);
        b.iter(|| drain.received(black_box(10), black_box(4096), &LIMITS));
    });
    c.bench_function("drain, look", |b| {
        let mut drain = Drain::new(0, Deadline::Default, 1, &LIMITS);
        b.iter(|| drain.look(black_box(10), black_box(1), &LIMITS));
    });
}

/// With so many timers set that it shows if their number matters.
fn timers(c: &mut Criterion) {
    let mut wheel = wheel::Wheel::new(MANY as usize + 1, 0).expect("memory");
    for id in 0..MANY {
        wheel.set(id, 1_000 + u64::from(id) % 30_000);
    }
    c.bench_function("wheel, set and cancel, 100000 set", |b| {
        b.iter(|| {
            wheel.set(black_box(MANY), black_box(5_000));
            wheel.cancel(black_box(MANY));
        });
    });
    c.bench_function("wheel, expire one", |b| {
        b.iter_custom(|iterations| {
            let mut spent = std::time::Duration::ZERO;
            let mut left = iterations;
            while left > 0 {
                let now = left.min(u64::from(MANY));
                let mut wheel = wheel::Wheel::new(MANY as usize, 0).expect("memory");
                for id in 0..now as u32 {
                    wheel.set(id, 1 + u64::from(id) % 30_000);
                }
                let started = Instant::now();
                while let Some(id) = wheel.expire(black_box(40_000)) {
                    black_box(id);
                }
                spent += started.elapsed();
                left -= now;
            }
            spent
        });
    });
}

fn order(c: &mut Criterion) {
    let mut order = eviction::Order::new(MANY as usize).expect("memory");
    for id in 0..MANY {
        order.touch(id, eviction::Standing::Sending);
    }
    let mut next = 0;
    c.bench_function("eviction order, touch, 100000 in it", |b| {
        b.iter(|| {
            next = (next + 7919) % MANY;
            order.touch(black_box(next), eviction::Standing::Acknowledged);
            order.first()
        });
    });
}

/// The kernel does nearly all of it.
fn hand_over(c: &mut Criterion) {
    assert_ne!(handover::reserve(&|| ()), handover::Reserved::Refused, "no channel");
    let channel = handover::channel().expect("the channel");
    let descriptor = sys::epoll_create().expect("a descriptor");
    let request = Request {
        deadline: Deadline::Default,
        task: Task::Drain { input: Input::Intact, discarded: 0 },
        report: None,
    };
    c.bench_function("handover, send, receive and close", |b| {
        b.iter(|| {
            handover::send(descriptor, black_box(request)).expect("send");
            let received = handover::receive(channel, 1, &mut |received| match received {
                Received::Connection(fd, _) => sys::close(fd).expect("close"),
                _ => panic!("no descriptor"),
            });
            assert_eq!(received, Ok(1));
        });
    });
}

criterion_group!(engine, verdict, drain, timers, order, hand_over);
criterion_main!(engine);
