//! What careful programs do that the engine has to find out about: handle signals, forbid themselves system calls.

use std::ffi::c_int;

/// A handler that may interrupt itself: where there is one, the engine has to find out whether it is being run.
pub fn handle_a_signal() {
    extern "C" fn ignore(_: c_int) {}
    // SAFETY: all-zero is a valid `sigaction`; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_NODEFER;
        libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut());
    }
}

/// A filter that allows everything: what matters is that the program may forbid things from now on.
///
/// # Safety
/// For a child that is about to end.
pub unsafe fn enter_sandbox() {
    let allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
    // SAFETY: the program lives until the calls return.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0);
    }
}
