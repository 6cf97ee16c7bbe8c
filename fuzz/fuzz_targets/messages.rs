//! Whatever comes through the channel to the drain thread, sent as the kernel would pass it: the decoder takes anything, each
//! message arrives once, and no descriptor is lost or made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
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

fuzz_target!(|messages: Vec<(bool, [u8; passing::PAYLOAD_BYTES])>| {
    let World { channel, passed } = *world();
    let sent = &messages[..messages.len().min(passing::BATCH)];
    for (with_descriptor, payload) in sent {
        if *with_descriptor {
            passing::send_descriptor(channel, passed, payload).expect("room in the queue");
        } else {
            passing::send_nothing(channel).expect("room in the queue");
        }
    }
    let mut received = Vec::new();
    if !sent.is_empty() {
        assert_eq!(receive(channel, passing::BATCH, &mut |message| received.push(message)), Ok(sent.len()));
    }
    assert!(receive(channel, 1, &mut |_| panic!("more than was sent")).is_err_and(|e| e.is(libc::EAGAIN)));
    for ((with_descriptor, _), message) in sent.iter().zip(received) {
        match message {
            Received::Connection(fd, request) => {
                assert!(with_descriptor);
                assert_eq!(sys::identity(fd), sys::identity(passed));
                sys::close(fd).expect("ours");
                // It can be shown, and compared with itself: no value is out of its type's range.
                assert_eq!(request, request);
                std::hint::black_box(format!("{request:?}"));
            }
            Received::Nudge => assert!(!with_descriptor),
            Received::Lost => panic!("a descriptor is lost"),
        }
    }
});
