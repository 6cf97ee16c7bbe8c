//! Every failure of every system call the engine makes, injected into a server that lets go of connections in every way.
//! Needs a liblinger.so that is built for it: `make faults` runs all of it, `make test` a part.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use linger_testbed::faults::cases::{self, Case};
use linger_testbed::faults::launch::Surroundings;
use linger_testbed::faults::session::{self, LINKED, PRELOADED};

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

/// At the same time: they mostly wait.
const WORKERS: usize = 6;

/// A case that goes wrong, and why.
struct Known {
    /// `LINGER_FAULTS` begins so.
    faults: &'static str,
    /// Whether it does each time; then the test fails as soon as it does not.
    always: bool,
    why: &'static str,
}

const FORGOTTEN: &str =
    "handover::channel() takes every failure of fstat(2) for a swept channel, and forgets an open number";
const NOT_RECEIVED: &str =
    "where nothing can be received, what waits in the channel stays there: no end for the peer";
const SPINS: &str = "the thread does not sleep where epoll_pwait(2) is refused";
const NOT_PAUSED: &str =
    "a connection whose events cannot be changed goes on waking the thread while its rate is used up";
const STALE: &str = "table::settle() gives up the table for an error of close(2), and its number of the channel is gone by then";

const DEAF: &str = "a thread that cannot add the channel to its epoll set sleeps without a limit";
const HALF_EMPTIED: &str =
    "engine::empty() ends at the first error, also at one that passes, and nobody comes back to it";
const GHOSTS: &str =
    "epolls::leave_one() takes every refusal for a set that is closed, and the connection stays registered";

const KNOWN: &[Known] = &[
    Known { faults: "epoll_ctl.2:EPERM@*", always: false, why: GHOSTS },
    Known { faults: "epoll_ctl.2:ENOSYS@*", always: false, why: GHOSTS },
    Known { faults: "epoll_ctl.1:ENOSPC@2+:thread", always: false, why: DEAF },
    Known { faults: "dup3:EMFILE@1:thread,recvmmsg:ENOMEM@1", always: false, why: HALF_EMPTIED },
    Known { faults: "fstat:ENOMEM@*", always: true, why: FORGOTTEN },
    Known { faults: "fstat:EACCES@*", always: true, why: FORGOTTEN },
    Known { faults: "fstat:EPERM@*", always: true, why: FORGOTTEN },
    Known { faults: "fstat:ENOSYS@*", always: true, why: FORGOTTEN },
    Known { faults: "recvmmsg:ENOMEM@*", always: true, why: NOT_RECEIVED },
    Known { faults: "recvmsg:ENOMEM@*", always: true, why: NOT_RECEIVED },
    Known { faults: "recvmsg:EPERM@*", always: true, why: NOT_RECEIVED },
    Known { faults: "recvmsg:ENOSYS@*", always: true, why: NOT_RECEIVED },
    Known { faults: "epoll_pwait:EPERM@*", always: false, why: SPINS },
    Known { faults: "epoll_pwait:ENOSYS@*", always: false, why: SPINS },
    Known { faults: "epoll_ctl.3:", always: false, why: NOT_PAUSED },
    Known { faults: "close:", always: false, why: STALE },
];

/// Known to go wrong at any place, see [`KNOWN`]: where failures are random these calls work, or nothing else would be seen.
const SPARED: &[&str] = &["fstat", "close", "recvmmsg", "recvmsg", "epoll_ctl"];

struct Tally {
    wrong: Vec<String>,
    known: Vec<String>,
    unreached: Vec<String>,
    played: usize,
}

fn play_all(cases: &[Case], ways: &[&str], linked: bool, rounds: usize) -> Tally {
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally { wrong: Vec::new(), known: Vec::new(), unreached: Vec::new(), played: 0 });
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = cases::play(PROGRAM, case, ways, linked, rounds);
                    tally.lock().expect("tally").note(case, outcome);
                }
            });
        }
    });
    tally.into_inner().expect("tally")
}

impl Tally {
    fn note(&mut self, case: &Case, outcome: anyhow::Result<cases::Outcome>) {
        self.played += 1;
        let faults = &case.faults;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.wrong.push(format!("{faults}: {error:#}")),
        };
        let known = KNOWN.iter().find(|known| faults.starts_with(known.faults));
        match (outcome.conclusion.wrong.is_empty(), known) {
            (true, Some(Known { always: true, why, .. })) => {
                self.wrong.push(format!("{faults} goes well: not known any more: {why}"));
            }
            (false, Some(known)) => self.known.push(format!("{faults}: {}", known.why)),
            (false, None) => self.wrong.push(format!("{faults}: {:#?}", outcome.conclusion.wrong)),
            (true, _) => {}
        }
        if !outcome.unknown.is_empty() {
            self.wrong.push(format!("system calls without a row in calls.rs: {:?}", outcome.unknown));
        }
        if outcome.refused == 0 && !faults.starts_with("random") {
            if case.certain {
                self.wrong.push(format!("{faults}: no such call was made"));
            } else {
                self.unreached.push(faults.clone());
            }
        }
    }

    fn require(self) {
        println!("{} cases; the call was not made a second time in {:?}", self.played, self.unreached);
        println!("{} known to go wrong:\n{}", self.known.len(), self.known.join("\n"));
        assert!(self.wrong.is_empty(), "{} complaints:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

#[test]
fn without_the_library_late_words_cost_the_response() {
    let ways: Vec<_> = PRELOADED.iter().copied().filter(|way| !way.starts_with("linger")).collect();
    let conclusion = session::play(PROGRAM, &Surroundings::default(), &ways, 1).expect("session");
    assert_eq!(conclusion.wrong, Vec::<String>::new());
    assert!(conclusion.lost() >= ways.len(), "{:?}", conclusion.got);
}

#[test]
fn without_failures_nothing_is_lost() {
    let nothing = Case { faults: String::new(), settings: &[], certain: false };
    for (ways, linked) in [(PRELOADED, false), (LINKED, true)] {
        let outcome = cases::play(PROGRAM, &nothing, ways, linked, 1).expect("session");
        assert_eq!(outcome.conclusion.wrong, Vec::<String>::new());
        // The process ends: only a preloaded library has a say in that.
        let lost = usize::from(linked);
        assert!(outcome.conclusion.lost() <= lost, "{:?}", outcome.conclusion.got);
    }
}

#[test]
fn one_failure_of_each_call_is_survived() {
    play_all(&cases::few(), PRELOADED, false, 1).require();
}

#[test]
#[ignore = "make faults"]
fn every_failure_is_survived_where_preloaded() {
    play_all(&cases::all(), PRELOADED, false, 1).require();
}

#[test]
#[ignore = "make faults"]
fn every_failure_is_survived_where_linked() {
    let mut cases = cases::all();
    cases.iter_mut().for_each(|case| case.certain = false);
    play_all(&cases, LINKED, true, 1).require();
}

#[test]
#[ignore = "make faults"]
fn random_failures_are_survived() {
    let first = match std::env::var("FAULTS_SEED") {
        Ok(seed) => seed.parse().expect("FAULTS_SEED is a number"),
        Err(_) => u64::from(std::process::id()) << 16,
    };
    println!("seeds {first} to {}: FAULTS_SEED={first} plays them again", first + 99);
    let count =
        std::env::var("FAULTS_COUNT").map_or(100, |count| count.parse().expect("FAULTS_COUNT is a number"));
    let cases: Vec<_> = (first..first + count).map(|seed| cases::random(seed, SPARED)).collect();
    play_all(&cases, PRELOADED, false, 2).require();
}
