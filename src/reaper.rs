//! The drain thread: receives connections, discards what their peers still send, closes them when their time has
//! come.
//!
//! **Promises:** one thread, named `linger`, with every signal blocked, started by [`start`] and gone only with the
//! process; more of its kind only where one descriptor table is not enough ([`shards`]). It holds its connections in a descriptor table of its own, where the program neither sees nor sweeps
//! them. A defect of ours in it ends it alone: its table goes, which closes what it held, and the shim is disarmed.
//!
//! **Invariants:** a connection is known by its number in that table, which indexes all state; numbers 0, 1 and 2
//! are an empty epoll set, so that nothing written to them reaches anybody. Work per turn is bounded in bytes and
//! in time, so that one firehose cannot starve the rest.

mod collecting;
mod crowding;
mod lingering;
mod peers;
mod reports;
mod searching;
mod shards;
mod shutting;
mod table;

use crate::config;
use crate::engine;
use crate::handover;
use crate::handover::pace::{self, Turns};
use crate::leader;
use crate::log;
use crate::sys::{self, process, Errno, Fd};
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use lingering::{Reaper, LEADERLESS_MS};
use shards::Seat;

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
    let created = create_seated(Seat::first());
    if created.is_err() {
        settle();
    }
    created
}

/// The numbers of our threads; of those that have ended, or are about to, below zero; 0 for none.
static THREADS: [AtomicI32; 96] = [const { AtomicI32::new(0) }; 96];

/// The calling thread is ours.
pub fn register() {
    let thread = process::thread();
    for place in &THREADS {
        let held = place.load(Ordering::SeqCst);
        let vacant = held == 0 || !process::thread_lives(held.abs());
        if vacant && place.compare_exchange(held, thread, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
    }
}

/// The calling thread is about to end: its number may then be anybody's.
pub fn unregister() {
    let thread = process::thread();
    let is_it = |place: &&AtomicI32| {
        place.compare_exchange(thread, -thread, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    let _ = THREADS.iter().find(is_it);
}

/// Whether `thread` is one of ours.
pub fn is_ours(thread: i32) -> bool {
    THREADS.iter().any(|place| place.load(Ordering::SeqCst) == thread)
}

/// Whether the threads that were asked to stop make no system call any more, not even those that end them.
pub fn gone() -> bool {
    let threads = THREADS.iter().map(|place| place.load(Ordering::SeqCst).abs());
    let caller = process::thread();
    !threads.filter(|thread| *thread != 0 && *thread != caller).any(process::thread_lives)
}

/// How many connections linger, in all drain threads.
pub fn lingering() -> usize {
    shards::lingering()
}

/// In a forked child: the threads are the parent's.
pub fn forget() {
    THREADS.iter().for_each(|place| place.store(0, Ordering::SeqCst));
    shards::forget();
    crowding::forget();
    STOP.store(0, Ordering::SeqCst);
}

fn settle() {
    SETTLED.store(1, Ordering::SeqCst);
    process::futex_wake(&SETTLED);
}

fn create_seated(seat: Seat) -> Result<(), Errno> {
    create_unsignalled(main, seat.pack() as *mut c_void, STACK_BYTES)
}

/// What pthread_create(3) starts. It never unwinds.
type Routine = extern "C" fn(*mut c_void) -> *mut c_void;

/// Creates a thread with every signal blocked from its first instruction on: it inherits the mask of its creator.
/// With a stack of `bytes`, or the default where that is refused.
pub fn create_unsignalled(routine: Routine, argument: *mut c_void, bytes: usize) -> Result<(), Errno> {
    let before = process::set_blocked_signals(process::ALL_SIGNALS);
    let created = create(routine, argument, bytes).or_else(|_| create(routine, argument, 0));
    if let Ok(before) = before {
        let _ = process::set_blocked_signals(before);
    }
    created
}

/// Creates the detached thread with a stack of `bytes`, 0 for the default.
fn create(routine: Routine, argument: *mut c_void, bytes: usize) -> Result<(), Errno> {
    #[cfg(linger_faults)]
    if let Some(errno) = sys::faults::refused_thread() {
        return Err(errno);
    }
    // SAFETY: the attributes are initialised before use and destroyed after.
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
                error = libc::pthread_create(&mut thread, attributes.as_ptr(), routine, argument);
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

extern "C" fn main(seat: *mut c_void) -> *mut c_void {
    #[cfg(linger_faults)]
    sys::faults::enter_drain_thread();
    let seat = Seat::unpack(seat as usize);
    register();
    let lived = std::panic::catch_unwind(|| {
        process::name_thread(c"linger");
        if seat.is_first() {
            settle();
            live(seat);
        } else {
            live_as_sibling(seat);
        }
    });
    if lived.is_err() {
        engine::disarm(own_channel(seat).or_else(handover::channel_at_last), 0);
    }
    unregister();
    ptr::null_mut()
}

/// The first thread's own number for the channel, once it has been seen in the private table; -1 before.
static OWN_CHANNEL: AtomicI32 = AtomicI32::new(-1);

fn own_channel(seat: Seat) -> Option<Fd> {
    let own = if seat.is_first() { OWN_CHANNEL.load(Ordering::Relaxed) } else { table::CHANNEL };
    (own >= 0).then_some(own)
}

fn live(seat: Seat) {
    OWN_CHANNEL.store(-1, Ordering::Relaxed);
    let refuse = |channel| {
        // A former crew's is nobody's any more.
        if seat.current() {
            engine::refuse(channel);
        }
    };
    let Some(shared) = handover::channel_at_last() else { return refuse(None) };
    let reaper = table::make_private(shared, &OWN_CHANNEL)
        .and_then(|()| Reaper::new(seat, config::limits(), config::max_connections()));
    match reaper {
        Ok(reaper) => reaper.live_and_end(),
        Err(error) => {
            log::debug(format_args!("no table for the drain thread (error {})", error.0));
            refuse(own_channel(seat).or_else(handover::channel_at_last));
        }
    }
}

fn live_as_sibling(seat: Seat) {
    let reaper =
        table::make_sibling().and_then(|()| Reaper::new(seat, config::limits(), config::max_connections()));
    match reaper {
        Ok(reaper) => {
            seat.take_over();
            ring();
            reaper.live_and_end();
        }
        // Whoever started it goes on alone.
        Err(_) => {
            seat.leave();
            ring();
        }
    }
}

/// Has every drain thread look around; false where there is no bell.
fn ring() -> bool {
    sys::write(table::BELL, &1u64.to_ne_bytes()).is_ok()
}

/// How long the thread sleeps between two looks while closes keep coming: long enough to find most peers' FIN
/// already there, and one wake-up for many closes.
const TICK_MS: u64 = 3;

impl Reaper {
    fn live_and_end(mut self) {
        pace::live(&mut self);
        self.close_all();
        let (seat, broken) = (self.seat, self.collecting.broken);
        drop(self);
        // A former crew's channel ends with this thread's table.
        if broken && seat.current() {
            log::debug(format_args!(
                "nothing can be received from the program any more: closing plainly from now on"
            ));
            engine::disarm(own_channel(seat), shards::lingering());
        }
        // The others sleep.
        ring();
        if seat.leave() {
            STOP.store(STOPPED, Ordering::SeqCst);
            process::futex_wake(&STOP);
        }
    }
}

impl Turns for Reaper {
    fn ends(&self) -> bool {
        STOP.load(Ordering::SeqCst) != 0 || self.collecting.broken || self.is_former()
    }

    fn listen(&mut self) -> bool {
        self.hear_or_not()
    }

    fn tick(&mut self) {
        handover::PACE.tick(|word| {
            process::futex_wait(word, 0, TICK_MS);
        });
    }

    fn collect(&mut self) -> bool {
        self.receive()
    }

    fn work(&mut self) {
        self.make_room();
        self.search();
        self.shut_what_is_due();
    }

    fn wait(&mut self, more: bool) -> bool {
        let timeout = if more { 0 } else { self.sleep_ms() };
        let arrived = self.handle_events(timeout);
        self.fire_deadlines();
        if leader::has_ended() && self.seat.is_first() && self.now >= self.leader_look_ms {
            leader::look(self.proc);
            self.leader_look_ms = self.now + LEADERLESS_MS;
        }
        arrived
    }
}
