//! The process, its threads, its clock and its signals.
//!
//! **Promises:** as the parent module; functions that wait say so.

use super::{call, Result};
use core::sync::atomic::AtomicU32;

/// The calling process.
pub fn pid() -> i32 {
    // SAFETY: getpid takes nothing and cannot fail.
    unsafe { call!(SYS_getpid, 0) }.map_or(0, |n| n as i32)
}

/// The calling thread.
pub fn thread() -> i32 {
    // SAFETY: gettid takes nothing and cannot fail.
    unsafe { call!(SYS_gettid, 0) }.map_or(0, |n| n as i32)
}

/// Ends the process, as _exit(2) does.
pub fn end(status: i32) {
    // SAFETY: takes no memory, and does not return.
    let _ = unsafe { call!(SYS_exit_group, status) };
}

/// Whether there is such a thread in this process.
pub fn thread_lives(thread: i32) -> bool {
    // SAFETY: signal 0 is none: the call only looks.
    unsafe { call!(SYS_tgkill, pid(), thread, 0) }.is_ok()
}

/// The user who started this program, or one it was forked from: `None` for root, and for one who gained rights by it. The kernel
/// wrote that down at execve(2), see getauxval(3).
pub fn started_by_ordinary_user() -> Option<u32> {
    // SAFETY: getauxval only reads what the kernel passed at start.
    let [real, effective, secure] =
        [libc::AT_UID, libc::AT_EUID, libc::AT_SECURE].map(|entry| unsafe { libc::getauxval(entry) });
    (real != 0 && effective == real && secure == 0).then(|| u32::try_from(real).ok()).flatten()
}

/// Milliseconds of the monotonic clock. Straight from the kernel: a preloaded libfaketime does not reach it.
pub fn now_ms() -> u64 {
    clock_ms(libc::CLOCK_MONOTONIC)
}

/// Milliseconds of processor time that the calling thread has used.
pub fn used_ms() -> u64 {
    clock_ms(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ms(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure.
    let _ = unsafe { call!(SYS_clock_gettime, clock, &mut time as *mut libc::timespec) };
    (time.tv_sec as u64).saturating_mul(1000).saturating_add(time.tv_nsec as u64 / 1_000_000)
}

/// Waits until `*word` is no longer `expected`, is woken, or `timeout_ms` pass. **Blocks.**
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout_ms: u64) {
    let limit = libc::timespec {
        tv_sec: (timeout_ms / 1000) as libc::time_t,
        tv_nsec: (timeout_ms % 1000 * 1_000_000) as _,
    };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the time outlive the call. EINTR, EAGAIN and ETIMEDOUT all mean: look again.
    let _ = unsafe {
        call!(SYS_futex, word.as_ptr(), operation, expected, &limit as *const libc::timespec, 0, 0)
    };
}

/// Wakes every thread that waits on `word`.
pub fn futex_wake(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call.
    let _ = unsafe { call!(SYS_futex, word.as_ptr(), operation, i32::MAX, 0, 0, 0) };
}

/// The soft limit on descriptor numbers (RLIMIT_NOFILE).
pub fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    // SAFETY: the kernel fills the structure, which is `rlimit64` on 64-bit Linux.
    let _ = unsafe { call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, &mut limit as *mut libc::rlimit) };
    limit.rlim_cur
}

/// A set of signals as the kernel has it: bit `n - 1` for signal `n`.
pub type SignalSet = u64;

/// Signals the C library keeps for itself: 32 cancels threads, 33 makes setuid(2) reach every thread.
const LIBRARY_SIGNALS: SignalSet = 1 << 31 | 1 << 32;

/// Every signal but those the C library needs in every thread.
pub const ALL_SIGNALS: SignalSet = !LIBRARY_SIGNALS;

/// Sets the calling thread's mask and returns the one before.
pub fn set_blocked_signals(set: SignalSet) -> Result<SignalSet> {
    let mut before: SignalSet = 0;
    // SAFETY: both sets are 8 bytes, as the kernel is told.
    unsafe {
        let (new, old) = (&set as *const SignalSet, &mut before as *mut SignalSet);
        call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, 8)
    }?;
    Ok(before)
}

/// The calling thread's mask.
pub fn blocked_signals() -> Result<SignalSet> {
    let mut set: SignalSet = 0;
    // SAFETY: no new set is passed; the old one is 8 bytes.
    unsafe { call!(SYS_rt_sigprocmask, libc::SIG_BLOCK, 0, &mut set as *mut SignalSet, 8) }?;
    Ok(set)
}

/// The signals that wait to be delivered.
pub fn pending_signals() -> Result<SignalSet> {
    let mut set: SignalSet = 0;
    // SAFETY: the set is 8 bytes, as the kernel is told.
    unsafe { call!(SYS_rt_sigpending, &mut set as *mut SignalSet, 8) }?;
    Ok(set)
}

/// Takes a pending signal of `set` away, without waiting for one.
pub fn take_signal(set: SignalSet) {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set is 8 bytes; set and time outlive the call.
    let _ =
        unsafe { call!(SYS_rt_sigtimedwait, &set as *const SignalSet, 0, &now as *const libc::timespec, 8) };
}

/// How a signal that has a handler is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handler {
    /// The signal is not blocked while its handler runs (SA_NODEFER).
    pub nested: bool,
    /// Where the handler returns to: the C library's call of sigreturn(2). 0 where the kernel brings its own.
    pub returns_to: usize,
}

const SA_NODEFER: usize = 0x4000_0000;
const SA_RESTORER: usize = 0x0400_0000;

/// The handler of `signal`; `None` for its default action or being ignored.
pub fn handler(signal: u32) -> Option<Handler> {
    // `struct kernel_sigaction`: handler, flags, restorer (where SA_RESTORER is set), mask; at most 32 bytes.
    let mut action = [0usize; 4];
    // SAFETY: no new action is passed, and the structure has room.
    unsafe { call!(SYS_rt_sigaction, signal, 0, action.as_mut_ptr(), 8) }.ok()?;
    let [function, flags, restorer, _] = action;
    (function > libc::SIG_IGN).then_some(Handler {
        nested: flags & SA_NODEFER != 0,
        returns_to: if flags & SA_RESTORER != 0 { restorer } else { 0 },
    })
}

/// Reads memory of this process that may not be there; how many bytes could be read.
pub fn read_memory(address: usize, buffer: &mut [usize]) -> Result<usize> {
    let bytes = core::mem::size_of_val(buffer);
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: bytes };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes };
    let (from, to) = (&remote as *const libc::iovec, &local as *const libc::iovec);
    // SAFETY: the kernel writes at most `bytes` bytes into a live buffer, and answers EFAULT for what cannot be read.
    unsafe { call!(SYS_process_vm_readv, pid(), to, 1, from, 1, 0) }
}

/// A number nobody can guess (getrandom(2)); where the kernel has none yet, one that is merely different each time.
pub fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the kernel writes at most 8 bytes.
    let got = unsafe { call!(SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), libc::GRND_NONBLOCK) };
    match got {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => (bytes.as_ptr() as u64 ^ now_ms()).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

/// Names the calling thread (at most 15 bytes), for `ps -L` and `top -H`.
pub fn name_thread(name: &core::ffi::CStr) {
    // SAFETY: the name is NUL-terminated.
    let _ = unsafe { call!(SYS_prctl, libc::PR_SET_NAME, name.as_ptr()) };
}

/// Ignores SIGPIPE where its action is the default, for the rest of the process's life.
pub fn ignore_broken_pipes() {
    // SAFETY: zeros but for the handler mean "ignore": no flags, no restorer (a handler needs one), an empty mask.
    unsafe {
        let mut before = [0usize; 8];
        let ignore = [libc::SIG_IGN, 0, 0, 0, 0, 0, 0, 0];
        let asked = call!(SYS_rt_sigaction, libc::SIGPIPE, 0, before.as_mut_ptr(), 8);
        if asked.is_ok() && before.first() == Some(&libc::SIG_DFL) {
            let _ = call!(SYS_rt_sigaction, libc::SIGPIPE, ignore.as_ptr(), 0, 8);
        }
    }
}
