//! Every failure of every system call the engine makes, injected into a server that lets go of connections in every way.
//! Needs a liblinger.so that is built for it: `make faults` runs all of it, `make test` a part.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use linger_testbed::faults::calls::{Fates, CALLS};
use linger_testbed::faults::cases::{self, Case, Outcome};
use linger_testbed::faults::launch::Surroundings;
use linger_testbed::faults::session::{self, LINKED, PRELOADED};

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

/// At the same time: they mostly wait.
const WORKERS: usize = 6;

/// What a few rounds more may cost: libc keeps some memory for later.
const MOST_MAPS: usize = 1;
const MOST_KIB: u64 = 256;

#[derive(Default)]
struct Tally {
    wrong: Vec<String>,
    unreached: Vec<String>,
    fates: Vec<String>,
    /// Something was lost.
    costly: Vec<String>,
    played: usize,
    /// Where all of what is tried was met.
    met: usize,
}

fn play_all(cases: &[Case], ways: &[&str], linked: bool, rounds: usize) -> Tally {
    let only = std::env::var("FAULTS_ONLY").unwrap_or_default();
    let cases: Vec<_> = cases.iter().filter(|case| case.faults.starts_with(&only)).collect();
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(case, ways, linked, rounds);
                    tally.lock().expect("tally").note(case, outcome);
                }
            });
        }
    });
    let tally = tally.into_inner().expect("tally");
    assert!(tally.played > 0, "no case begins with FAULTS_ONLY={only}");
    tally
}

/// Again, where the fates are not as the table has them: on a busy machine a limit may pass, and cost a response, without any
/// failure. What a failure does, it does every time.
fn play(case: &Case, ways: &[&str], linked: bool, rounds: usize) -> anyhow::Result<Outcome> {
    let contradicts =
        |outcome: &Outcome| case.fates.and_then(|fates| outcome.observed.contradiction(fates)).is_some();
    let mut outcome = cases::play(PROGRAM, case, ways, linked, rounds)?;
    for _ in 0..3 {
        if !contradicts(&outcome) || !outcome.conclusion.wrong.is_empty() {
            break;
        }
        outcome = cases::play(PROGRAM, case, ways, linked, rounds)?;
    }
    Ok(outcome)
}

impl Tally {
    fn note(&mut self, case: &Case, outcome: anyhow::Result<Outcome>) {
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
        self.note_growth(faults, &outcome);
        self.note_fates(case, &outcome);
        let met = outcome.refused.iter().filter(|refused| **refused > 0).count();
        if outcome.refused_in_all == 0 {
            if case.tried.iter().any(|tried| tried.certain) {
                self.wrong.push(format!("{faults}: no such call was made"));
            }
            self.unreached.push(faults.clone());
        } else if met == case.tried.len() {
            self.met += 1;
        } else {
            self.unreached.push(format!("{faults} ({met} of {})", case.tried.len()));
        }
    }

    fn note_growth(&mut self, faults: &str, outcome: &Outcome) {
        let footprints = &outcome.conclusion.footprints;
        if let (Some(first), Some(last)) = (footprints.first(), footprints.last()) {
            if last.maps > first.maps + MOST_MAPS || last.resident_kib > first.resident_kib + MOST_KIB {
                self.wrong.push(format!("{faults}: it grows: {footprints:?}"));
            }
        }
    }

    /// Against the table in calls.rs.
    fn note_fates(&mut self, case: &Case, outcome: &Outcome) {
        let (Some(expected), observed) = (case.fates, &outcome.observed) else { return };
        self.fates.push(format!("{}: {observed}", case.faults));
        if let Some(what) = observed.contradiction(expected) {
            let got = &outcome.conclusion.got;
            self.wrong
                .push(format!("{}: {what} (calls.rs has {expected:?}): {observed}: {got:?}", case.faults));
        }
        if observed.any_lost() {
            self.costly.push(case.faults.clone());
        }
    }

    /// That nothing was wrong, and that in at least so many of a hundred cases all that was tried was met.
    fn require(mut self, percent_met: usize) {
        self.fates.sort();
        println!("{}", self.fates.join("\n"));
        println!("{} cases, {} met; not met, or not wholly: {:?}", self.played, self.met, self.unreached);
        assert!(self.wrong.is_empty(), "{} complaints:\n{}", self.wrong.len(), self.wrong.join("\n"));
        let enough = self.met * 100 >= self.played * percent_met;
        assert!(enough, "in {} of {} cases only was all met", self.met, self.played);
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
    for (ways, linked) in [(PRELOADED, false), (LINKED, true)] {
        let outcome = cases::play(PROGRAM, &Case::nothing(), ways, linked, 1).expect("session");
        assert_eq!(outcome.conclusion.wrong, Vec::<String>::new());
        // The process ends: only a preloaded library has a say in that.
        let lost = usize::from(linked);
        assert!(outcome.conclusion.lost() <= lost, "{:?}", outcome.conclusion.got);
        assert_eq!(outcome.observed.fates(), Fates::LINGERS, "{}", outcome.observed);
    }
}

#[test]
fn one_failure_of_each_call_is_survived() {
    play_all(&cases::few(), PRELOADED, false, 1).require(90);
}

#[test]
fn pairs_of_failures_are_survived() {
    let cases: Vec<_> = (0..30).map(cases::pair).collect();
    play_all(&cases, PRELOADED, false, 1).require(PAIRS_MET);
}

/// One of two failures often leaves no way to the other; and the second occurrence of a call may not come.
const PAIRS_MET: usize = 40;

#[test]
#[ignore = "make faults"]
fn every_failure_is_survived_where_preloaded() {
    let mut tally = play_all(&cases::all(), PRELOADED, false, 1);
    // The table does not call harmful what is not.
    if std::env::var_os("FAULTS_ONLY").is_none() {
        for call in CALLS.iter().filter(|call| call.becomes.always != Fates::LINGERS) {
            let prefix = format!("{}:", cases::name(call));
            let costs = tally.costly.iter().any(|faults| faults.starts_with(&prefix));
            if !costs {
                tally
                    .wrong
                    .push(format!("calls.rs has {:?} for {prefix}, and nothing was lost", call.becomes));
            }
        }
    }
    tally.require(90);
}

#[test]
#[ignore = "make faults"]
fn every_failure_is_survived_where_linked() {
    let mut cases = cases::all();
    for case in &mut cases {
        case.tried.iter_mut().for_each(|tried| tried.certain = false);
        // With so few connections none may come to linger. And the channel is made at the first close, not before.
        let channel = ["socket:", "bind:", "getsockname:", "connect:"];
        let made_late = channel.iter().any(|call| case.faults.starts_with(call));
        case.fates = case.fates.filter(|fates| *fates == Fates::LINGERS && !made_late);
    }
    play_all(&cases, LINKED, true, 1).require(40);
}

#[test]
#[ignore = "make faults"]
fn no_failure_makes_it_grow() {
    // What passes may pass at any round, and then more works, in more memory.
    let cases: Vec<_> = cases::few().into_iter().filter(|case| !case.faults.contains("@1-8")).collect();
    play_all(&cases, PRELOADED, false, 4).require(90);
}

fn number(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    Some(number.parse().unwrap_or_else(|_| panic!("{name} is a number, not {number:?}")))
}

/// So many cases, beginning with `FAULTS_SEED`.
fn seeded(count: u64, case: fn(u64) -> Case) -> Vec<Case> {
    let first = number("FAULTS_SEED").unwrap_or(u64::from(std::process::id()) << 16);
    let count = number("FAULTS_COUNT").unwrap_or(count);
    println!("seeds {first} to {}: FAULTS_SEED={first} has the same failures again", first + count - 1);
    (first..first + count).map(case).collect()
}

#[test]
#[ignore = "make faults"]
fn random_pairs_of_failures_are_survived() {
    play_all(&seeded(400, cases::pair), PRELOADED, false, 1).require(PAIRS_MET);
}

#[test]
#[ignore = "make faults"]
fn random_failures_are_survived() {
    play_all(&seeded(100, cases::random), PRELOADED, false, 2).require(75);
}
