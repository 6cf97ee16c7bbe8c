//! setrlimit(2) and prlimit(2): a program that forbids itself threads before it serves.

use crate::{errno, gate};
use engine::engine as life;
use libc::{c_int, pid_t, rlimit, rlimit64};

// *Contract:* sets a resource limit. *Why hooked:* with RLIMIT_NPROC at 0 (HAProxy) there would never be a drain thread.
// *Passes through* everything else. *errno:* of the real call. *Signal safety:* not async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn setrlimit(resource: libc::__rlimit_resource_t, limit: *const rlimit) -> c_int => hook_setrlimit {
        // SAFETY: the program passes what setrlimit(2) requires.
        unsafe {
            before_limit(resource, limit);
            redhook::real!(setrlimit)(resource, limit)
        }
    }
}

// As setrlimit: what programs with 64-bit file offsets call. The structures are the same on 64-bit Linux.
redhook::hook! {
    unsafe fn setrlimit64(resource: libc::__rlimit_resource_t, limit: *const rlimit64) -> c_int => hook_setrlimit64 {
        // SAFETY: as above.
        unsafe {
            before_limit(resource, limit.cast());
            redhook::real!(setrlimit64)(resource, limit)
        }
    }
}

// As setrlimit, for this process or another.
redhook::hook! {
    unsafe fn prlimit(
        pid: pid_t, resource: libc::__rlimit_resource_t, new: *const rlimit, old: *mut rlimit
    ) -> c_int => hook_prlimit {
        // SAFETY: the program passes what prlimit(2) requires.
        unsafe {
            if pid == 0 || pid == life::owner() {
                before_limit(resource, new);
            }
            redhook::real!(prlimit)(pid, resource, new, old)
        }
    }
}

// As prlimit and setrlimit64.
redhook::hook! {
    unsafe fn prlimit64(
        pid: pid_t, resource: libc::__rlimit_resource_t, new: *const rlimit64, old: *mut rlimit64
    ) -> c_int => hook_prlimit64 {
        // SAFETY: as above.
        unsafe {
            if pid == 0 || pid == life::owner() {
                before_limit(resource, new.cast());
            }
            redhook::real!(prlimit64)(pid, resource, new, old)
        }
    }
}

/// # Safety
/// `limit` is null or points to a limit.
unsafe fn before_limit(resource: libc::__rlimit_resource_t, limit: *const rlimit) {
    if resource != libc::RLIMIT_NPROC || limit.is_null() || !gate::is_open() || !life::owned() {
        return;
    }
    // SAFETY: not null, and as the caller vouches.
    if unsafe { (*limit).rlim_cur } == 0 {
        errno::kept(life::start_early);
    }
}

pub(super) fn find() {
    redhook::real!(setrlimit);
    redhook::real!(setrlimit64);
    redhook::real!(prlimit);
    redhook::real!(prlimit64);
}
