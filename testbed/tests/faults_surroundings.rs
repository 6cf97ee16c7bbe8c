//! Surroundings that refuse what the engine asks for: seccomp(2) filters, resource limits. With the ordinary library; the
//! program itself must be able to live there, which is tried without the library first.

use std::path::PathBuf;

use linger_testbed::faults::cases::{errno_name, SETTINGS};
use linger_testbed::faults::launch::{self, Filter, Surroundings};
use linger_testbed::faults::session::{self, Conclusion, PRELOADED};
use linger_testbed::server::Preload;

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

/// Somebody who runs nothing else: RLIMIT_NPROC counts what a user runs, and root is exempt.
const USER: u32 = 64_321;

fn library() -> PathBuf {
    match Preload::shim().expect("shim") {
        Preload::Shim(path) => path,
        Preload::None => unreachable!("it is a shim"),
    }
}

fn with_library(surroundings: &Surroundings) -> Surroundings {
    let settings = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut surroundings = surroundings.clone();
    surroundings.environment.extend(settings);
    Surroundings { library: Some(library()), ..surroundings }
}

/// The switch is in no build that anybody uses.
#[test]
fn the_ordinary_library_has_no_injected_failures() {
    let switch = |path: &PathBuf| {
        let bytes = std::fs::read(path).expect("library");
        bytes.windows(b"LINGER_FAULTS".len()).any(|text| text == b"LINGER_FAULTS")
    };
    assert!(switch(&launch::library().expect("library")), "it cannot be told by its name");
    assert!(!switch(&library()));
}

fn ways_without_forks() -> Vec<&'static str> {
    PRELOADED.iter().copied().filter(|way| !matches!(*way, "fork" | "exit" | "sandbox")).collect()
}

/// Without the library and with it.
fn play(surroundings: &Surroundings, ways: &[&str]) -> (Conclusion, Conclusion) {
    let bare: Vec<_> = ways.iter().copied().filter(|way| !way.starts_with("linger")).collect();
    let without = session::play(PROGRAM, surroundings, &bare, 1).expect("session");
    let with = session::play(PROGRAM, &with_library(surroundings), ways, 1).expect("session");
    (without, with)
}

fn require_well(surroundings: &Surroundings, ways: &[&str], what: &str) -> Conclusion {
    let (without, with) = play(surroundings, ways);
    assert_eq!(without.wrong, Vec::<String>::new(), "{what}: the program cannot live there");
    assert_eq!(with.wrong, Vec::<String>::new(), "{what}: {:?}", with.report);
    with
}

/// What a careful program may have forbidden itself before it was started.
const FORBIDDEN: &[(&str, &[libc::c_long])] = &[
    ("close_range", &[libc::SYS_close_range]),
    ("unshare", &[libc::SYS_unshare]),
    ("close_range and unshare", &[libc::SYS_close_range, libc::SYS_unshare]),
    ("sendmsg", &[libc::SYS_sendmsg]),
    ("recvmmsg", &[libc::SYS_recvmmsg]),
    ("recvmmsg and recvmsg", &[libc::SYS_recvmmsg, libc::SYS_recvmsg]),
    ("epoll_create1", &[libc::SYS_epoll_create1]),
    ("epoll_ctl", &[libc::SYS_epoll_ctl]),
    ("epoll_pwait", &[libc::SYS_epoll_pwait]),
    ("memfd_create", &[libc::SYS_memfd_create]),
    ("eventfd2", &[libc::SYS_eventfd2]),
    ("madvise", &[libc::SYS_madvise]),
    ("prctl", &[libc::SYS_prctl]),
    ("getrandom", &[libc::SYS_getrandom]),
    ("futex", &[libc::SYS_futex]),
    ("clone3", &[libc::SYS_clone3]),
    ("shutdown", &[libc::SYS_shutdown]),
    ("process_vm_readv", &[libc::SYS_process_vm_readv]),
    ("tgkill", &[libc::SYS_tgkill]),
    ("prlimit64", &[libc::SYS_prlimit64]),
    ("getdents64", &[libc::SYS_getdents64]),
    ("ioctl", &[libc::SYS_ioctl]),
];

/// The program's own needs.
fn ways_where_forbidden(name: &str) -> Vec<&'static str> {
    let needs = |way: &str| match name {
        "prctl" => way == "sandbox",
        "epoll_create1" | "epoll_ctl" => way == "epoll",
        "close_range" | "close_range and unshare" => way == "close_range",
        "shutdown" => way == "shutdown",
        _ => false,
    };
    PRELOADED.iter().copied().filter(|way| !needs(way)).collect()
}

fn refuse_each(answers: &[i32]) {
    let mut wrong = Vec::new();
    let cases =
        FORBIDDEN.iter().flat_map(|(name, calls)| answers.iter().map(move |errno| (*name, *calls, *errno)));
    for (name, calls, errno) in cases {
        let filter = Filter { calls: calls.to_vec(), errno };
        let (without, with) =
            play(&Surroundings { filter, ..Surroundings::default() }, &ways_where_forbidden(name));
        let errno = errno_name(errno);
        if !without.wrong.is_empty() {
            wrong.push(format!("{name}, {errno}: the program cannot live there: {:?}", without.wrong));
        }
        if !with.wrong.is_empty() {
            wrong.push(format!("{name}, {errno}: {:#?}", with.wrong));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "make faults"]
fn calls_that_the_kernel_does_not_know_are_done_without() {
    refuse_each(&[libc::ENOSYS]);
}

#[test]
#[ignore = "make faults"]
fn calls_that_are_forbidden_are_done_without() {
    refuse_each(&[libc::EPERM]);
}

fn with_free_descriptors(free: usize) -> Surroundings {
    Surroundings {
        environment: vec![("EVERY_WAY_FREE_DESCRIPTORS".into(), free.to_string())],
        limits: vec![(libc::RLIMIT_NOFILE, 64)],
        ..Surroundings::default()
    }
}

#[test]
fn a_program_without_a_descriptor_for_the_channel_closes_plainly() {
    let ways = ["close", "shutdown", "dup2", "syscall", "linger_close", "fork", "close"];
    let conclusion = require_well(&with_free_descriptors(1), &ways, "one free descriptor");
    let statistics = conclusion.report.expect("report").statistics;
    assert!(statistics.fallbacks > 0 && statistics.lingered < 4, "{statistics:?}");
}

#[test]
fn a_program_with_no_more_than_a_descriptor_for_the_channel_lingers() {
    let ways = ["close", "shutdown", "dup2", "syscall", "linger_close", "close"];
    let conclusion = require_well(&with_free_descriptors(2), &ways, "two free descriptors");
    // What it keeps at its end takes the number that the report needs.
    let lost = conclusion.got.iter().filter(|(way, _, got)| {
        way != "end of process" && matches!(got, linger_testbed::faults::exchange::Got::Reset(_))
    });
    assert_eq!(lost.count(), 0, "{:?}", conclusion.got);
}

#[test]
fn descriptors_that_run_out_later_change_nothing() {
    let limited = Surroundings { limits: vec![(libc::RLIMIT_NOFILE, 64)], ..Surroundings::default() };
    let ways = ["close", "fill 1", "close", "shutdown", "dup2", "linger_close", "close"];
    require_well(&limited, &ways, "full after the first connection");
}

#[test]
fn a_program_that_may_have_no_thread_drains_without_waiting() {
    // SAFETY: takes nothing.
    let root = unsafe { libc::geteuid() } == 0;
    let limited = Surroundings {
        limits: vec![(libc::RLIMIT_NPROC, 1)],
        user: root.then_some(USER),
        ..Surroundings::default()
    };
    let conclusion = require_well(&limited, &ways_without_forks(), "RLIMIT_NPROC");
    let statistics = conclusion.report.expect("report").statistics;
    assert!(statistics.fallbacks > 0, "{statistics:?}");
}

#[test]
fn a_program_that_may_write_no_file_is_not_killed() {
    // Changing the length of the published file brings SIGXFSZ to the thread that does.
    let limited = Surroundings { limits: vec![(libc::RLIMIT_FSIZE, 0)], ..Surroundings::default() };
    let conclusion = require_well(&limited, PRELOADED, "RLIMIT_FSIZE");
    assert_eq!(conclusion.lost(), 0, "{:?}", conclusion.got);
}

/// What a program with so much address space does with a lingering close: how often it could not have one. `None` where it
/// cannot start, or the loader goes on without the library.
fn fallbacks_within(kib: u64) -> Option<u64> {
    let ways = ["close", "shutdown", "dup2", "duplicated", "epoll", "syscall", "close"];
    let limited = Surroundings { limits: vec![(libc::RLIMIT_AS, kib << 10)], ..Surroundings::default() };
    let conclusion = session::play(PROGRAM, &with_library(&limited), &ways, 1).expect("session");
    let Some(statistics) = conclusion.report.map(|report| report.statistics) else {
        assert_eq!(conclusion.got, [], "{kib} KiB: {:?}", conclusion.wrong);
        return None;
    };
    assert_eq!(conclusion.wrong, Vec::<String>::new(), "{kib} KiB");
    (statistics.lingered + statistics.fallbacks > 0).then_some(statistics.fallbacks)
}

#[test]
#[ignore = "make faults"]
fn address_space_that_runs_out_anywhere_is_survived() {
    let coarse = (4 << 10..128 << 10).step_by(1 << 10);
    let first = coarse.clone().find(|kib| fallbacks_within(*kib).is_some()).expect("some start");
    let last =
        coarse.clone().find(|kib| *kib > first && fallbacks_within(*kib) == Some(0)).expect("some linger");
    // In steps as small as the smallest mappings of the drain thread.
    let fine = (first - (1 << 10)..=last).step_by(32);
    let lived: Vec<_> = fine.filter_map(|kib| Some((kib, fallbacks_within(kib)?))).collect();
    println!("KiB, fallbacks: {lived:?}");
    assert!(lived.iter().any(|(_, fallbacks)| *fallbacks > 0), "there was always room: {lived:?}");
    assert_eq!(lived.last().map(|(_, fallbacks)| *fallbacks), Some(0), "{lived:?}");
}
