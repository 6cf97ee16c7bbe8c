//! The constructor, the fork handlers and the destructor.

use crate::{children, fds, gate, hooks, letting_go, real};
use engine::engine::{self as core, Host};
use engine::{config, ffi, holders, log, stats, sys::process};
use std::ffi::CStr;

#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: extern "C" fn() = construct;

#[used]
#[link_section = ".fini_array"]
static DESTRUCTOR: extern "C" fn() = destruct;

static HOST: Host = Host {
    release: letting_go::release,
    active: gate::is_open,
};

extern "C" fn construct() {
    real::find_all();
    hooks::find_all();
    core::enter();
    core::set_host(&HOST);
    // SAFETY: the handlers are safe in a forked child: atomics and system calls only.
    unsafe { libc::pthread_atfork(Some(before_fork), None, Some(in_child)) };
    let why = gate::decide();
    if gate::is_open() {
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

unsafe extern "C" fn before_fork() {
    fds::before_fork();
}

unsafe extern "C" fn in_child() {
    fds::in_child();
    children::forget();
    holders::remember_parent(core::owner());
    core::enter();
}

/// exit(3) and return from main end here, after the program's own handlers.
extern "C" fn destruct() {
    wait_for_lingering();
}

/// Before the process ends: connections that linger get `LINGER_EXIT_MS` to finish.
pub(crate) fn wait_for_lingering() {
    if gate::is_open() && stats::pending() > 0 && config::exit_ms() > 0 && core::owned() {
        stats::wait_until_none(Some(process::now_ms() + config::exit_ms()));
    }
}
