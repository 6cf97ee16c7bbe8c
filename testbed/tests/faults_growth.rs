//! Nothing grows while the engine tries again and again what the system refuses.

use std::time::Duration;

use linger_testbed::faults::cases::SETTINGS;
use linger_testbed::faults::holdings::Footprint;
use linger_testbed::faults::launch;
use linger_testbed::faults::server::{Server, Start};
use linger_testbed::pause;

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

/// What is refused, so that the drain thread cannot be had.
const REFUSALS: &[&str] = &[
    "thread:EAGAIN@*",
    "close_range:ENOSYS@*,unshare:EPERM@*",
    "dup3:EMFILE@*:thread",
    "epoll_create1:ENFILE@*",
    "epoll_ctl.1:ENOSPC@*:thread",
    "mmap:ENOMEM@*:thread",
    "mmap:ENOMEM@3+:thread",
    "mmap:ENOMEM@5+:thread",
    "socket:ENFILE@*",
];

#[test]
#[ignore = "make faults"]
fn trying_again_leaves_nothing_behind() {
    let grown = std::thread::scope(|scope| {
        let tries: Vec<_> =
            REFUSALS.iter().map(|faults| scope.spawn(move || (faults, grows(faults)))).collect();
        let grown = tries.into_iter().map(|one| one.join().expect("a try"));
        grown.filter(|(_, (maps, kib))| *maps > 1 || *kib > 256).collect::<Vec<_>>()
    });
    assert!(grown.is_empty(), "lines of /proc/PID/maps and KiB gained by six tries: {grown:?}");
}

/// How many mappings and KiB six further tries cost.
fn grows(faults: &str) -> (i64, i64) {
    let library = launch::library().expect("library");
    let mut server =
        Server::start(Start { program: PROGRAM, library, faults, settings: SETTINGS }).expect(faults);
    let mut after = |tries| {
        for _ in 0..tries {
            server.let_go("close", 10).expect(faults);
            pause(Duration::from_millis(1050), "after a second the engine tries again");
        }
        let report = server.report().expect(faults);
        assert_eq!(report.complaints(), Vec::<String>::new(), "{faults}");
        Footprint::of(server.pid()).expect(faults)
    };
    let (few, many) = (after(2), after(6));
    server.end().expect(faults);
    (many.maps as i64 - few.maps as i64, many.resident_kib as i64 - few.resident_kib as i64)
}
