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

struct Tally {
    wrong: Vec<String>,
    unreached: Vec<String>,
    played: usize,
}

fn play_all(cases: &[Case], ways: &[&str], linked: bool, rounds: usize) -> Tally {
    let only = std::env::var("FAULTS_ONLY").unwrap_or_default();
    let cases: Vec<_> = cases.iter().filter(|case| case.faults.starts_with(&only)).collect();
    assert!(!cases.is_empty(), "no case begins with FAULTS_ONLY={only}");
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally { wrong: Vec::new(), unreached: Vec::new(), played: 0 });
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
        if !outcome.conclusion.wrong.is_empty() {
            self.wrong.push(format!("{faults}: {:#?}", outcome.conclusion.wrong));
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
    let count =
        std::env::var("FAULTS_COUNT").map_or(100, |count| count.parse().expect("FAULTS_COUNT is a number"));
    println!("seeds {first} to {}: FAULTS_SEED={first} plays them again", first + count - 1);
    let cases: Vec<_> = (first..first + count).map(cases::random).collect();
    play_all(&cases, PRELOADED, false, 2).require();
}
