//! Every failure of every system call: one at a time, at its first and second occurrence and at all; in pairs; and all of them
//! at random places.

use anyhow::Result;

use super::calls::{Call, Fates, Lasts, ABSENT, CALLS, ERRNOS, THREAD};
use super::fates::Observed;
use super::launch::{self, Surroundings};
use super::log::Log;
use super::session::{self, Conclusion};

/// Short, so that what lingers ends soon.
pub const SETTINGS: &[(&str, &str)] = &[
    ("LINGER_IDLE_MS", "150"),
    ("LINGER_TIMEOUT_MS", "1500"),
    ("LINGER_MAX_MS", "3000"),
    ("LINGER_EXIT_MS", "1000"),
];

const CLOSE_MAY_FAIL: &[(&str, &str)] = &[("EVERY_WAY_CLOSE_MAY_FAIL", "1")];

/// What to try.
#[derive(Debug, Clone)]
pub struct Case {
    /// `LINGER_FAULTS`
    pub faults: String,
    /// Further settings, without which the engine does not make the call.
    pub settings: Vec<(&'static str, &'static str)>,
    /// Each of the failures that are to be met.
    pub tried: Vec<Tried>,
    /// What may become of connections, where that is known.
    pub fates: Option<Fates>,
}

/// One of the parts of `LINGER_FAULTS`.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// Which one.
    pub part: usize,
    /// The session must come to it: the call is made at least once.
    pub certain: bool,
}

/// What else must fail, and what must be set, for the engine to make a call.
fn way_to(call: &Call) -> (&'static str, &'static [(&'static str, &'static str)]) {
    const LOG: &[(&str, &str)] = &[("LINGER_LOG", "debug")];
    const RATE: &[(&str, &str)] = &[("LINGER_MAX_RATE", "1")];
    const PER_PEER: &[(&str, &str)] = &[("LINGER_MAX_PER_PEER", "1000")];
    match call.number {
        // Every error of close(2) is passed on, as it would be without the library; the number is free.
        libc::SYS_close => ("", CLOSE_MAY_FAIL),
        libc::SYS_getrandom => ("", PER_PEER),
        libc::SYS_unshare => (",close_range:ENOSYS@*", &[]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => (",epoll_pwait:ENOSYS@*", &[]),
        libc::SYS_recvmsg => (",recvmmsg:ENOSYS@*", &[]),
        libc::SYS_rt_sigtimedwait => (",write:EPIPE@*", LOG),
        libc::SYS_write | libc::SYS_getpeername | libc::SYS_rt_sigpending => ("", LOG),
        libc::SYS_getsockopt if call.command == Some(libc::SO_DOMAIN as usize) => ("", LOG),
        libc::SYS_getsockopt if call.command == Some(libc::SO_ERROR as usize) => ("", RATE),
        libc::SYS_epoll_ctl if call.command == Some(libc::EPOLL_CTL_MOD as usize) => ("", RATE),
        _ => ("", &[]),
    }
}

/// Its name in `LINGER_FAULTS`.
#[must_use]
pub fn name(call: &Call) -> String {
    match call.command {
        Some(command) => format!("{}.{command}", call.name),
        None => call.name.to_owned(),
    }
}

/// The name of an errno.
#[must_use]
pub fn errno_name(errno: i32) -> &'static str {
    ERRNOS.iter().find(|(_, number)| *number == errno).map_or("?", |(name, _)| name)
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in CALLS.iter().filter(|call| call.number != ABSENT) {
        let (further, settings) = way_to(call);
        let mut add = |errno: &str, when: &str, fates: Fates| {
            let faults = format!("{}:{errno}@{when}{further}", name(call));
            // A call that blocks may find that there is nothing to wait for.
            let certain = when != "2" && call.number != libc::SYS_ppoll;
            let tried = vec![Tried { part: 0, certain }];
            cases.push(Case { faults, settings: settings.to_vec(), tried, fates: Some(fates) });
        };
        for failure in call.failures {
            let becomes = failure.becomes.unwrap_or(call.becomes);
            let longest = if failure.lasts == Lasts::Any { "*" } else { "1-8" };
            for (when, fates) in [("1", becomes.once), ("2", becomes.once), (longest, becomes.always)] {
                add(errno_name(failure.errno), when, fates);
            }
        }
        if call.filtered {
            add("EPERM", "*", call.becomes.always);
            add("ENOSYS", "*", call.becomes.always);
        }
    }
    let tried = vec![Tried { part: 0, certain: false }];
    let later =
        |faults: &&str| Case { faults: (*faults).to_owned(), tried: tried.clone(), ..Case::nothing() };
    cases.extend(LATER.iter().map(later));
    cases
}

/// What works at first and then no longer.
const LATER: &[&str] = &[
    "thread:EAGAIN@2+",
    "socket:ENFILE@2+",
    "fcntl.1030:EMFILE@2+",
    "mmap:ENOMEM@3+",
    "mmap:ENOMEM@6+",
    "epoll_create1:EMFILE@2+",
    "epoll_ctl.1:ENOSPC@2+:thread",
    "epoll_ctl.1:ENOSPC@3+:thread",
    "sendmsg:EAGAIN@3+",
    "recvmmsg:ENOMEM@2-4",
    "recvfrom:ECONNRESET@3+",
    "shutdown:ENOTCONN@2+",
    "openat:EMFILE@3+:thread",
    "close_range:ENOMEM@2+",
    "ftruncate:EFBIG@1-2",
    "dup3:EMFILE@1:thread,recvmmsg:ENOMEM@1",
];

/// One for each row: its first failure, for as long as it can last.
#[must_use]
pub fn few() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in CALLS {
        let prefix = format!("{}:", name(call));
        let of_call = all().into_iter().filter(|case| case.faults.starts_with(&prefix));
        cases.extend(of_call.filter(|case| case.faults.contains('*') || case.faults.contains("1-8")).take(1));
    }
    cases
}

impl Case {
    /// No failure at all.
    #[must_use]
    pub fn nothing() -> Self {
        Self { faults: String::new(), settings: Vec::new(), tried: Vec::new(), fates: None }
    }

    /// Both.
    fn and(&self, other: &Self) -> Self {
        let parts = self.faults.split(',').count();
        let others = other.tried.iter().map(|tried| Tried { part: tried.part + parts, ..*tried });
        Self {
            faults: format!("{},{}", self.faults, other.faults),
            settings: [&*self.settings, &*other.settings].concat(),
            tried: self.tried.iter().copied().chain(others).collect(),
            fates: None,
        }
    }
}

/// Two failures of different calls, which the seed says.
#[must_use]
pub fn pair(seed: u64) -> Case {
    let all = all();
    let call = |case: &Case| case.faults.split(':').next().map(str::to_owned);
    let mut dice = fastrand::Rng::with_seed(seed);
    let first = &all[dice.usize(..all.len())];
    let others: Vec<_> = all.iter().filter(|other| call(other) != call(first)).collect();
    first.and(others[dice.usize(..others.len())])
}

/// Failures of all calls, at places the seed says.
#[must_use]
pub fn random(seed: u64) -> Case {
    let per_thousand = [2, 10, 50, 200][seed as usize % 4];
    let faults = format!("random:{seed}:{per_thousand}");
    Case { faults, settings: CLOSE_MAY_FAIL.to_vec(), ..Case::nothing() }
}

/// How a case went.
#[derive(Debug)]
pub struct Outcome {
    /// The whole session.
    pub conclusion: Conclusion,
    /// How many calls were refused by each of the parts that are tried.
    pub refused: Vec<u64>,
    /// How many were refused by whatever part.
    pub refused_in_all: u64,
    /// What became of connections.
    pub observed: Observed,
    /// Calls that are in no row of the table.
    pub unknown: Vec<usize>,
}

/// Plays it.
///
/// # Errors
///
/// If it cannot be played.
pub fn play(program: &str, case: &Case, ways: &[&str], linked: bool, rounds: usize) -> Result<Outcome> {
    let log = Log::new()?;
    let mut environment = vec![
        ("LINGER_FAULTS".to_owned(), case.faults.clone()),
        ("LINGER_FAULTS_LOG".to_owned(), log.path().display().to_string()),
    ];
    for (name, value) in SETTINGS.iter().chain(&case.settings) {
        environment.push(((*name).to_owned(), (*value).to_owned()));
    }
    if linked {
        environment.push(("LINGER_PRELOAD".to_owned(), "0".to_owned()));
    }
    let surroundings =
        Surroundings { library: Some(launch::library()?), environment, ..Surroundings::default() };
    let mut conclusion = session::play(program, &surroundings, ways, rounds)?;
    let calls = log.calls();
    let turns = [libc::SYS_epoll_pwait, libc::SYS_recvmmsg, libc::SYS_recvfrom, libc::SYS_futex];
    for calls in &calls {
        if turns.contains(&(calls.number as i64)) && calls.by_threads > session::MOST_CALLS {
            conclusion.wrong.push(format!("a drain thread spins: {calls:?}"));
        }
    }
    if !conclusion.wrong.is_empty() {
        let refusals = log.refusals();
        let last: Vec<_> = refusals.iter().rev().take(40).rev().collect();
        conclusion.wrong.push(format!("(the last refusals: {last:?})"));
    }
    let known = |number: usize| CALLS.iter().any(|call| call.number == number as i64);
    let unknown = calls.iter().map(|calls| calls.number).filter(|number| !known(*number)).collect();
    debug_assert_eq!(THREAD, -1);
    let refused = case.tried.iter().map(|tried| log.part(tried.part).1).collect();
    let observed = Observed::of(&conclusion);
    Ok(Outcome { conclusion, refused, refused_in_all: log.refused(), observed, unknown })
}
