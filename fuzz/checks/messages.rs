//! Whatever comes through the channel to the drain thread, sent as the kernel would pass it: the decoder takes anything, each
//! message arrives once, and no descriptor is lost or made up.

use linger::handover::{receive, Received};
use linger::sys::{self, passing};
use std::sync::OnceLock;

struct World {
    channel: sys::Fd,
    passed: sys::Fd,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World {
        channel: passing::self_connected().expect("a channel"),
        passed: sys::epoll_create().expect("a descriptor"),
    })
}

/// Whether the message carries a second descriptor: a part of the payload that the decoder does not read says so here.
fn reports(payload: &[u8; passing::PAYLOAD_BYTES]) -> bool {
    payload[passing::PAYLOAD_BYTES - 1] & 1 == 1
}

pub type Input = Vec<(bool, [u8; passing::PAYLOAD_BYTES])>;

pub fn check(messages: Input) {
    let World { channel, passed } = *world();
    let sent = &messages[..messages.len().min(passing::BATCH)];
    for (with_descriptor, payload) in sent {
        if *with_descriptor {
            let report = reports(payload).then_some(passed);
            passing::send_descriptors(channel, passed, report, payload).expect("room in the queue");
        } else {
            passing::send_nothing(channel).expect("room in the queue");
        }
    }
    let mut received = Vec::new();
    if !sent.is_empty() {
        assert_eq!(receive(channel, passing::BATCH, &mut |message| received.push(message)), Ok(sent.len()));
    }
    assert!(receive(channel, 1, &mut |_| panic!("more than was sent")).is_err_and(|e| e.is(libc::EAGAIN)));
    for ((with_descriptor, payload), message) in sent.iter().zip(received) {
        match message {
            Received::Connection(fd, request) => {
                assert!(with_descriptor);
                assert_eq!(sys::identity(fd), sys::identity(passed));
                sys::close(fd).expect("ours");
                assert_eq!(request.report.is_some(), reports(payload));
                if let Some(report) = request.report {
                    assert_eq!(sys::identity(report), sys::identity(passed));
                    sys::close(report).expect("ours, too");
                }
                // It can be shown: no value is out of its type's range.
                std::hint::black_box(format!("{request:?}"));
            }
            Received::Nudge => assert!(!with_descriptor),
            Received::Lost(_) => panic!("a descriptor is lost"),
        }
    }
}
