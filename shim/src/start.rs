//! The constructor, the fork handlers and the destructor.

use crate::fds::{self, Role};
use crate::letting_go::{self, End};
use crate::{gate, hooks, real, streams};
use core::ffi::{c_int, c_void, CStr};
use core::sync::atomic::{AtomicBool, Ordering};
use engine::engine::{self as life, Host};
use engine::sys::{self, process, socket, Fd};
use engine::{config, family, ffi, holders, leader, log, stats};

#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: extern "C" fn() = construct;

#[used]
#[link_section = ".fini_array"]
static DESTRUCTOR: extern "C" fn() = destruct;

static HOST: Host = Host {
    withdraw: letting_go::withdraw,
    forget: letting_go::forget,
    active: gate::is_open,
    shared_so: letting_go::shared_so,
};

extern "C" fn construct() {
    real::find_all();
    hooks::find_all();
    life::enter();
    life::set_host(&HOST);
    // SAFETY: the handlers are safe in a forked child: atomics and system calls only.
    unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
    if process::thread() == process::pid() {
        leader::watch();
    }
    let why = gate::decide();
    if gate::is_open() {
        note_inherited_connection();
        // SAFETY: the handler takes nothing; it runs after those the program registers later.
        unsafe { __cxa_at_quick_exit(quick_end, core::ptr::null_mut()) };
        // SAFETY: a static C string.
        let version = unsafe { CStr::from_ptr(ffi::linger_version()) };
        let limits = config::limits();
        log::info(format_args!(
            "{} is on ({why:?}): close() lingers up to {} ms, idle {} ms, {} connections",
            version.to_str().unwrap_or(""),
            limits.timeout_ms,
            limits.idle_ms,
            config::max_connections()
        ));
    }
}

extern "C" {
    /// What at_quick_exit(3) calls; glibc has that one only in its static part.
    fn __cxa_at_quick_exit(handler: extern "C" fn(*mut c_void), object: *mut c_void) -> c_int;
}

extern "C" fn quick_end(_: *mut c_void) {
    before_end_of_process();
}

unsafe extern "C" fn before_fork() {
    fds::before_fork(letting_go::this_thread());
    // Also without a connection yet: those that are accepted later may be sent to the child.
    if gate::is_open() && !family::is_founded() && (fds::listens() || fds::any_connection()) {
        family::found();
        holders::family_begins();
    }
}

/// In the parent: the child holds what it holds.
unsafe extern "C" fn after_fork() {
    fds::after_fork();
    family::reference_made();
}

unsafe extern "C" fn in_child() {
    ENDING.store(false, Ordering::Relaxed);
    holders::SWEPT.store(false, Ordering::SeqCst);
    fds::in_child();
    if gate::sandboxed() {
        return;
    }
    let parent = life::owner();
    holders::remember_parent(parent, life::enter_child());
}

/// exit(3) and return from main end here, after the program's own handlers and before libc flushes its streams.
extern "C" fn destruct() {
    end_of_process(&End::Orderly(&|fd| !fds::facts(fd).unflushable() && streams::flush(fd)));
}

/// The process ends without flushing anything.
pub(crate) fn before_end_of_process() {
    end_of_process(&End::Abrupt);
}

/// Before the process ends: connections that have something to lose get `LINGER_EXIT_MS` to finish.
fn end_of_process(end: &End) {
    // Loads, for programs that have nothing here, before any system call.
    let connections = fds::any_connection();
    if !gate::is_open() || config::exit_ms() == 0 || !(connections || stats::pending() > 0) {
        return;
    }
    if !life::owned() || ENDING.swap(true, Ordering::Relaxed) {
        return;
    }
    let until = process::now_ms() + config::exit_ms();
    if connections {
        // Other threads may still write to what is half-closed now; the program's exit status must not become a signal.
        process::ignore_broken_pipes();
        letting_go::before_end_of_process(end, until);
        holders::SWEPT.store(true, Ordering::SeqCst);
    }
    if stats::pending() > 0 {
        stats::wait_until_none(Some(until));
    }
}

/// Set once the process has begun to end: exit(3) ends in _exit(2), which must not wait again.
static ENDING: AtomicBool = AtomicBool::new(false);

/// From here on every hook passes through, and the drain thread is gone.
pub(crate) fn go_passive() {
    if gate::is_open() && life::owned() {
        gate::shut();
        life::retire();
    }
}

/// A program started by inetd has its client on 0, 1 and 2 from its first instruction and never calls accept(2). One that systemd
/// starts for a connection may have it from 3 on (sd_listen_fds(3)).
fn note_inherited_connection() {
    let first_passed = 3;
    if connected(0) {
        fds::born(0, Role::Received);
        for number in (1..3).filter(|number| sys::identity(*number).is_ok_and(|i| sys::identity(0) == Ok(i)))
        {
            fds::duplicate(0, number);
        }
    }
    for number in (first_passed..).take(descriptors_passed()) {
        if connected(number) {
            fds::born(number, Role::Received);
        }
    }
}

fn connected(fd: Fd) -> bool {
    use socket::TcpState::{Closed, Listen, SynSent};
    socket::tcp_state(fd).is_ok_and(|state| !matches!(state, Closed | Listen | SynSent))
}

/// How many descriptors systemd passed to this process, and not to one it was forked from.
fn descriptors_passed() -> usize {
    // SAFETY: getauxval only reads what the kernel passed at start.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return 0;
    }
    let (mut pid, mut count) = (None, None);
    config::each_environment_entry(&mut |entry| {
        let number = |text: &[u8]| core::str::from_utf8(text).ok()?.parse::<usize>().ok();
        if let Some(text) = entry.strip_prefix(b"LISTEN_PID=") {
            pid = number(text);
        } else if let Some(text) = entry.strip_prefix(b"LISTEN_FDS=") {
            count = number(text);
        }
    });
    let ours = pid.is_some() && pid == usize::try_from(process::pid()).ok();
    // A unit that has more sockets than this has listeners.
    count.filter(|_| ours).unwrap_or(0).min(64)
}
