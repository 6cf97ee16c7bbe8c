//! Injected failures, for tests: a system call is refused without reaching the kernel. Built with
//! `--cfg linger_faults` only; no ordinary build has any of it.
//!
//! `LINGER_FAULTS` is a list, separated by commas:
//!
//! | part | meaning |
//! |---|---|
//! | `sendmsg:ENOBUFS` | the first sendmsg(2) fails so |
//! | `...@3`, `...@3+`, `...@3-5`, `...@*` | the third, from the third on, the third to the fifth, every one |
//! | `...:thread`, `...:caller` | counts and refuses only in the drain threads, or only outside of them |
//! | `epoll_ctl.1:ENOSPC` | with 1 for the command (EPOLL_CTL_ADD), see [`calls::command_of`] |
//! | `thread:EAGAIN` | pthread_create(3) |
//! | `recvmmsg:stall=500@*` | the call is made, half a second late |
//! | `recvmmsg:PANIC@2:thread` | a defect of ours in the place of the call |
//! | `stall:500` | the drain threads sleep so long before every epoll_pwait(2) |
//! | `random:7:50` | of 1000 calls 50 fail, each as its manual page allows; 7 is the seed, which says which ones: the same occurrences of each call, in the drain threads and outside of them, every time |
//! | `random:7:50-fstat-close` | but never these |
//!
//! `LINGER_FAULTS_LOG` names a file that is mapped ([`record`]) and says, also after a crash, which calls were made and
//! which were refused. Occurrences are counted over the process and its children.
//!
//! **Invariant:** what does not parse ends the process: a test must not pass because its fault was never injected.

pub mod calls;
mod plan;
pub mod record;

use super::raw::{kernel, Errno, Result};
use calls::THREAD;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};
use plan::{Effect, Plan};
use record::Side;

static PLAN: Plan = Plan::new();

const UNREAD: u32 = 0;
const READING: u32 = 1;
const READY: u32 = 2;
static STATE: AtomicU32 = AtomicU32::new(UNREAD);

thread_local! {
    static IN_DRAIN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread is a drain thread.
pub fn enter_drain_thread() {
    IN_DRAIN_THREAD.set(true);
}

/// Whether pthread_create(3) is to be refused, and how.
pub fn refused_thread() -> Option<Errno> {
    prepare();
    match decide(THREAD, &[0; 6]) {
        Effect::Fail(errno) => Some(Errno(errno)),
        Effect::Panic => defect(),
        Effect::Stall(ms) => {
            sleep(ms);
            None
        }
        Effect::None => None,
    }
}

/// In the place of [`kernel`].
///
/// # Safety
/// As [`kernel`].
pub unsafe fn syscall(number: libc::c_long, args: [usize; 6]) -> Result<usize> {
    prepare();
    // SAFETY: the caller vouches for the arguments.
    let call = || unsafe { kernel(number, args) };
    match decide(number, &args) {
        Effect::None => call(),
        Effect::Stall(ms) => {
            sleep(ms);
            call()
        }
        Effect::Panic => defect(),
        Effect::Fail(errno) => {
            // close(2) frees the number whatever it answers.
            if number == libc::SYS_close {
                call()?;
            }
            Err(Errno(errno))
        }
    }
}

#[allow(clippy::panic)]
fn defect() -> ! {
    panic!("injected");
}

fn decide(number: libc::c_long, args: &[usize; 6]) -> Effect {
    let side = if IN_DRAIN_THREAD.get() { Side::Thread } else { Side::Caller };
    let before = record::note_call(number, side);
    let effect = PLAN.decide(number, args, side, before);
    if let Effect::Fail(errno) = effect {
        record::note_failure(number, errno, side);
    }
    effect
}

fn prepare() {
    if STATE.load(Ordering::Acquire) == READY {
        return;
    }
    if STATE.compare_exchange(UNREAD, READING, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        while STATE.load(Ordering::Acquire) != READY {
            core::hint::spin_loop();
        }
        return;
    }
    record::open(variable(c"LINGER_FAULTS_LOG"));
    if let Some(text) = variable(c"LINGER_FAULTS") {
        let text = text.to_str().unwrap_or("(not UTF-8)");
        if let Err(part) = PLAN.read(text) {
            refuse(part);
        }
    }
    STATE.store(READY, Ordering::Release);
}

fn variable(name: &core::ffi::CStr) -> Option<&'static core::ffi::CStr> {
    // SAFETY: the name is NUL-terminated; the environment is read before the program changes it.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| core::ffi::CStr::from_ptr(value))
    }
}

fn refuse(part: &str) -> ! {
    for text in ["LINGER_FAULTS: not understood: ", part, "\n"] {
        // SAFETY: the kernel reads the live text; abort(3) ends the process.
        let _ = unsafe { kernel(libc::SYS_write, [2, text.as_ptr() as usize, text.len(), 0, 0, 0]) };
    }
    std::process::abort()
}

fn sleep(ms: u64) {
    let time = libc::timespec { tv_sec: (ms / 1000) as _, tv_nsec: (ms % 1000 * 1_000_000) as _ };
    // SAFETY: the time outlives the call.
    let _ = unsafe { kernel(libc::SYS_nanosleep, [(&raw const time) as usize, 0, 0, 0, 0, 0]) };
}
