//! The end of the program's first thread by pthread_exit(3), before that of the process.
//!
//! Such a process ends with its last thread, in which glibc then calls exit(3). A drain thread would be one more, for ever,
//! and deaf to signals. So from then on the drain thread looks, ten times a second, whether a thread of the program is left;
//! where none is, a keeper calls exit(3): a thread that shares the program's descriptor table, as the drain thread does not, so
//! that the program's streams are flushed to where they belong.
//!
//! **Promises:** nothing of this happens in a process whose first thread lives, or that has no drain thread. Nobody who
//! waits for the first thread (pthread_join(3)) waits longer.
//!
//! **Invariant:** one keeper at most. Without one there is no drain thread once the first thread has ended.
//!
//! The first thread has to be seen ending: [`watch`] is called by the constructor of liblinger.so. A program that links the
//! static library, or a crate, and ends so is not watched.

use crate::config;
use crate::engine;
use crate::reaper;
use crate::stats;
use crate::sys::{process, Errno, Fd};
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// The key of [`ended`] plus 1; 0 for none.
static KEY: AtomicU32 = AtomicU32::new(0);
static ENDED: AtomicBool = AtomicBool::new(false);
/// See [`ends_by_system_call`].
static UNNOTICED: AtomicBool = AtomicBool::new(false);
static STATUS: AtomicI32 = AtomicI32::new(0);

/// What the keeper waits for; futex word.
static KEEPER: AtomicU32 = AtomicU32::new(ABSENT);
const ABSENT: u32 = 0;
const WAITS: u32 = 1;
/// No thread of the program is left.
const END: u32 = 2;
/// Nobody can tell whether one is left: then there must be no drain thread.
const RETIRE: u32 = 3;
/// There is no drain thread any more.
const LEAVE: u32 = 4;

/// The signal mask of who made the keeper: exit handlers run with it.
static MASK: AtomicU64 = AtomicU64::new(0);

/// Notices the end of the calling thread, which must be the process's first.
pub fn watch() {
    // SAFETY: the key is written before it is used, and the destructor never unwinds.
    unsafe {
        if KEY.load(Ordering::Relaxed) == 0 {
            let mut key: libc::pthread_key_t = 0;
            if libc::pthread_key_create(&mut key, Some(ended)) != 0 {
                return;
            }
            KEY.store(key + 1, Ordering::Relaxed);
        }
        libc::pthread_setspecific(KEY.load(Ordering::Relaxed) - 1, ptr::without_provenance(1));
    }
}

/// The calling thread ends without the C library's knowing (`syscall(SYS_exit, ...)`): nothing of the program's is called any more,
/// and if it is the first and last thread the process ends with its `status`.
pub fn ends_by_system_call(status: i32) {
    // A child of vfork(2) shares this memory.
    if engine::owned() && process::thread() == process::pid() {
        STATUS.store(status, Ordering::SeqCst);
        UNNOTICED.store(true, Ordering::SeqCst);
        ENDED.store(true, Ordering::SeqCst);
        engine::first_thread_ended();
    }
}

/// In a forked child: what was known is the parent's.
pub fn forget() {
    ENDED.store(false, Ordering::Relaxed);
    UNNOTICED.store(false, Ordering::Relaxed);
    KEEPER.store(ABSENT, Ordering::Relaxed);
}

/// [`watch`] in a forked child, if its parent was watched. Its only thread is its first.
pub fn watch_again() {
    if KEY.load(Ordering::Relaxed) != 0 {
        watch();
    }
}

/// Whether the first thread has ended.
pub fn has_ended() -> bool {
    ENDED.load(Ordering::SeqCst)
}

/// Called by pthread_exit(3) in the first thread, once for each round of destructors there is (PTHREAD_DESTRUCTOR_ITERATIONS
/// is 4): the program's own come first.
unsafe extern "C" fn ended(round: *mut c_void) {
    let round = round as usize;
    if round < 4 {
        // SAFETY: the key exists, or this would not have been called.
        unsafe {
            libc::pthread_setspecific(KEY.load(Ordering::Relaxed) - 1, ptr::without_provenance(round + 1))
        };
        return;
    }
    ENDED.store(true, Ordering::SeqCst);
    engine::first_thread_ended();
}

/// Sees to it that there is a keeper; false where none can be had.
pub fn keep() -> bool {
    let becomes_waiting =
        |from: u32| KEEPER.compare_exchange(from, WAITS, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    // One that is about to leave stays.
    if becomes_waiting(LEAVE) || !becomes_waiting(ABSENT) {
        return true;
    }
    MASK.store(process::blocked_signals().unwrap_or(0), Ordering::SeqCst);
    // Exit handlers are the program's: the stack they are used to.
    let created = reaper::create_unsignalled(keeper, ptr::null_mut(), 0).is_ok();
    if !created {
        KEEPER.store(ABSENT, Ordering::SeqCst);
    }
    created
}

extern "C" fn keeper(_: *mut c_void) -> *mut c_void {
    reaper::register();
    process::name_thread(c"linger-end");
    loop {
        match KEEPER.load(Ordering::SeqCst) {
            WAITS => process::futex_wait(&KEEPER, WAITS, 60_000),
            LEAVE => {
                if KEEPER.compare_exchange(LEAVE, ABSENT, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    reaper::unregister();
                    return ptr::null_mut();
                }
            }
            _ => break,
        }
    }
    if KEEPER.load(Ordering::SeqCst) == END && !UNNOTICED.load(Ordering::SeqCst) {
        let _ = process::set_blocked_signals(MASK.load(Ordering::SeqCst));
        // SAFETY: as the C library itself does where a thread that ends is the last one.
        unsafe { libc::exit(0) };
    }
    if KEEPER.load(Ordering::SeqCst) == END {
        stats::wait_until_none(Some(process::now_ms() + config::exit_ms()));
        // Since Linux 5.17 the last thread's status is the process's.
        process::end(STATUS.load(Ordering::SeqCst));
    }
    engine::retire();
    reaper::unregister();
    ptr::null_mut()
}

/// There is no drain thread any more, and nobody to keep the process's end for.
pub fn release() {
    if KEEPER.compare_exchange(WAITS, LEAVE, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        process::futex_wake(&KEEPER);
    }
}

/// The drain thread looks whether a thread of the program is left. `proc` is /proc, where it is kept.
pub fn look(proc: Option<Fd>) {
    let first = process::pid();
    let ours = |thread: i32| thread == first || reaper::is_ours(thread);
    let word = match crate::holders::other_threads(proc, &ours) {
        Ok(0) => END,
        Err(Errno(libc::ENOENT | libc::EACCES | libc::EPERM | libc::ENOSYS)) => RETIRE,
        // A shortage passes.
        Ok(_) | Err(_) => return,
    };
    if KEEPER.compare_exchange(WAITS, word, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        process::futex_wake(&KEEPER);
    }
}
