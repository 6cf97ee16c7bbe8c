//! The drain thread: receives connections, discards what their peers still send, closes them when their time has
//! come.
//!
//! **Promises:** one thread, named `linger`, with every signal blocked, started by [`start`] and gone only with the
//! process. It holds its connections in a descriptor table of its own, where the program neither sees nor sweeps
//! them. A defect of ours in it ends it alone: its table goes, which closes what it held, and the shim is disarmed.
//!
//! **Invariants:** a connection is known by its number in that table, which indexes all state; numbers 0, 1 and 2
//! are an empty epoll set, so that nothing written to them reaches anybody. Work per turn is bounded in bytes and
//! in time, so that one firehose cannot starve the rest.

mod lingering;
mod peers;
mod searching;
mod shutting;
mod table;

use crate::config;
use crate::engine;
use crate::handover;
use crate::log;
use crate::sys::{process, Errno, Fd};
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// Whether the attempt to start a thread has ended, well or not; futex word.
pub static SETTLED: AtomicU32 = AtomicU32::new(0);

/// Whether the thread is to end; futex word. See [`engine::retire`].
pub static STOP: AtomicU32 = AtomicU32::new(0);
/// [`STOP`]: it is asked to.
pub const ASKED: u32 = 1;
/// [`STOP`]: it has closed what it held, and ends.
const STOPPED: u32 = 2;

/// Enough for the deepest path here (a search through /proc, about 10 KiB) several times over, and for the static
/// thread-local storage of large programs, which shares it.
const STACK_BYTES: usize = 256 * 1024;

/// Starts the thread. Called at most once at a time, by who changed the engine's state to "started".
///
/// Allocates (pthread_create(3)): not async-signal-safe.
pub fn start() -> Result<(), Errno> {
    SETTLED.store(0, Ordering::SeqCst);
    // The thread inherits the mask of its creator: block everything from its first instruction on.
    let before = process::set_blocked_signals(process::ALL_SIGNALS);
    let created = create(STACK_BYTES).or_else(|_| create(0));
    if let Ok(before) = before {
        let _ = process::set_blocked_signals(before);
    }
    if created.is_err() {
        settle();
    }
    created
}

/// The thread's number, for [`gone`].
static THREAD: AtomicI32 = AtomicI32::new(0);

/// Whether the thread that was asked to stop makes no system call any more, not even those that end it.
pub fn gone() -> bool {
    !process::thread_lives(THREAD.load(Ordering::SeqCst))
}

fn settle() {
    SETTLED.store(1, Ordering::SeqCst);
    process::futex_wake(&SETTLED);
}

/// Creates the detached thread with a stack of `bytes`, 0 for the default.
fn create(bytes: usize) -> Result<(), Errno> {
    // SAFETY: the attributes are initialised before use and destroyed after; the start routine takes no argument
    // and never unwinds.
    let error = unsafe {
        let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut error = libc::pthread_attr_init(attributes.as_mut_ptr());
        if error == 0 {
            if bytes > 0 {
                error = libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), bytes);
            }
            if error == 0 {
                error =
                    libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
            }
            if error == 0 {
                let mut thread: libc::pthread_t = core::mem::zeroed();
                error = libc::pthread_create(&mut thread, attributes.as_ptr(), main, ptr::null_mut());
            }
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
        error
    };
    if error == 0 {
        Ok(())
    } else {
        Err(Errno(error))
    }
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    THREAD.store(process::thread(), Ordering::SeqCst);
    settle();
    process::name_thread(c"linger");
    if std::panic::catch_unwind(live).is_err() {
        engine::disarm(own_channel());
    }
    ptr::null_mut()
}

/// The thread's own number for the channel, once it has a table of its own; -1 before.
static OWN_CHANNEL: AtomicI32 = AtomicI32::new(-1);

fn own_channel() -> Option<Fd> {
    Some(OWN_CHANNEL.load(Ordering::Relaxed)).filter(|fd| *fd >= 0)
}

fn live() {
    OWN_CHANNEL.store(-1, Ordering::Relaxed);
    let Some(shared) = handover::channel() else { return engine::refuse(None) };
    // The private table begins as a copy, so until it is in order the number is the same.
    OWN_CHANNEL.store(shared, Ordering::Relaxed);
    let started = table::make_private(shared).and_then(|table| {
        OWN_CHANNEL.store(table.channel, Ordering::Relaxed);
        lingering::Reaper::new(&table, config::limits(), config::max_connections())
    });
    match started {
        Ok(mut reaper) => {
            reaper.live();
            reaper.close_all();
            drop(reaper);
            STOP.store(STOPPED, Ordering::SeqCst);
            process::futex_wake(&STOP);
        }
        Err(error) => {
            log::debug(format_args!("no table for the drain thread (error {})", error.0));
            engine::refuse(own_channel());
        }
    }
}

/// How long the thread sleeps between two looks while closes keep coming: long enough to find most peers' FIN
/// already there, and one wake-up for many closes.
const TICK_MS: u64 = 3;

impl lingering::Reaper {
    fn live(&mut self) {
        let mut collecting = true;
        while STOP.load(Ordering::SeqCst) == 0 {
            if collecting {
                process::futex_wait(&handover::HURRY, 0, TICK_MS);
            }
            let received = self.collect();
            self.search();
            self.shut_what_is_due();
            let timeout = if received > 0 { 0 } else { self.sleep_ms() };
            let arrived = self.handle_events(timeout);
            self.fire_deadlines();
            // After a sleep the first message only says that a close happened; more are on their way.
            collecting = received > 0 || arrived;
        }
    }
}
