//! The hooks never wait: a drain thread that sleeps for ever changes nothing for the program. And nothing grows while the
//! engine tries again and again what the system refuses.

use std::time::Duration;

use linger_testbed::faults::cases::SETTINGS;
use linger_testbed::faults::exchange::Client;
use linger_testbed::faults::launch::{self, Running, Surroundings};
use linger_testbed::faults::session::Report;
use linger_testbed::{pause, DEADLINE};

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

/// More than any queue of the drain thread holds.
const MOST_CLOSES: usize = 30_000;

struct Server {
    running: Running,
    address: std::net::SocketAddr,
    asked: usize,
}

impl Server {
    fn start(faults: &str) -> Self {
        let mut environment: Vec<_> =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        environment.push(("LINGER_FAULTS".to_owned(), faults.to_owned()));
        environment.push(("LINGER_LOG".to_owned(), "debug".to_owned()));
        let library = Some(launch::library().expect("library"));
        let surroundings = Surroundings { library, environment, ..Surroundings::default() };
        let running = Running::start(PROGRAM, &surroundings).expect("start");
        let first = running.line(DEADLINE).expect("it listens");
        let address = first.strip_prefix("listening ").expect(&first).parse().expect("address");
        Self { running, address, asked: 0 }
    }

    /// The server lets go of one more connection, and says so.
    fn let_go(&mut self, way: &str) -> Client {
        self.asked += 1;
        let client = Client::ask(self.address, way, self.asked, 10).expect("request");
        let answer = self.running.line(DEADLINE);
        assert_eq!(answer, Some(format!("gone {}", self.asked)), "{way}: it did not come back");
        client
    }

    fn report(mut self) -> Report {
        Client::ask_for_report(self.address).expect("request");
        let line = self.running.line(DEADLINE).expect("report");
        let report = line.strip_prefix("report ").unwrap_or_else(|| panic!("{line}"));
        let report = serde_json::from_str(report).expect("JSON");
        assert_eq!(self.running.end(DEADLINE), Ok(Vec::new()));
        report
    }
}

/// Where the drain thread sleeps for ever, from its beginning or once it has begun.
#[test]
fn the_hooks_do_not_wait_for_the_drain_thread() {
    for stall in ["stall:1000000", "prctl:stall=1000000@*:thread", "recvmmsg:stall=1000000@*:thread"] {
        let mut server = Server::start(stall);
        for way in ["close", "shutdown", "dup2", "duplicated", "epoll", "syscall", "linger_close", "fork"] {
            server.let_go(way);
        }
    }
}

#[test]
fn closes_that_the_queue_has_no_room_for_do_not_wait_either() {
    let mut server = Server::start("stall:1000000");
    let overflows = (0..MOST_CLOSES).find(|_| {
        server.let_go("close");
        server.running.errors().iter().any(|line| line.contains("at once"))
    });
    let first = overflows.expect("the queue is full at last");
    assert!(first > 100, "only {first} connections were handed over first");
    for _ in 0..100 {
        server.let_go("close");
    }
}

/// SECURITY.md, "What a defect of ours does".
#[test]
fn a_panic_in_the_drain_thread_ends_that_thread_alone() {
    for panic in ["recvmmsg:PANIC@2:thread", "epoll_pwait:PANIC@3:thread", "epoll_ctl.1:PANIC@3:thread"] {
        let mut server = Server::start(panic);
        let mut clients = Vec::new();
        for _ in 0..20 {
            for way in ["close", "shutdown", "linger_close"] {
                clients.push(server.let_go(way));
            }
            pause(Duration::from_millis(10), "the thread has its turn between two closes");
        }
        let report = server.report();
        assert!(
            report.thread_tables.is_empty(),
            "{panic}: a drain thread is there: {:?}",
            report.thread_tables
        );
        // The channel.
        assert!(report.more_descriptors.len() <= 1, "{panic}: {:?}", report.more_descriptors);
        assert_eq!(report.pending, 0, "{panic}: nobody lingers any more");
        assert!(
            report.statistics.fallbacks > 0,
            "{panic}: the rest is drained inline: {:?}",
            report.statistics
        );
    }
}

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
    let after = |tries| {
        let mut server = Server::start(faults);
        for _ in 0..tries {
            server.let_go("close");
            pause(Duration::from_millis(1050), "after a second the engine tries again");
        }
        let report = server.report();
        (report.maps as i64, report.resident_kib as i64)
    };
    let (few, many) = (after(2), after(8));
    (many.0 - few.0, many.1 - few.1)
}
