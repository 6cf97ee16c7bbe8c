//! The life of the engine in one process: nothing until the first lingering close, then one thread; afresh after
//! a fork.
//!
//! **Promises:** nothing here waits, and nothing but the one start of the thread allocates. On any doubt the caller
//! is told to close plainly.
//!
//! **Invariants:** the statics belong to the process `OWNER`. In any other (a child of vfork or of a bare clone,
//! which shares or copied them without our knowing) nothing is touched.

use crate::config;
use crate::drain::{Deadline, Outcome};
use crate::handover::{self, Request, Reserved, Share, Task};
use crate::interruption;
use crate::leader;
use crate::lifecycle::Lifecycle;
use crate::log;
use crate::reaper;
use crate::stats;
use crate::sys::{self, passing, process, socket, Errno, Fd};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

static OWNER: AtomicI32 = AtomicI32::new(0);

static LIFE: Lifecycle = Lifecycle::new();

/// Who is asking: it decides whether a thread may be started here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// A function of the C interface or the crate: not in a signal handler, as its documentation demands.
    Interface,
    /// A hook, which may run in a signal handler.
    Hook,
}

/// Takes possession of the statics for this process, afresh if they are another's. For code that may run in a
/// forked child without the fork handler of the shim.
pub fn enter() {
    config::load();
    let pid = process::pid();
    let owner = OWNER.load(Ordering::Acquire);
    if owner == pid {
        return;
    }
    // Several threads of a new process may come at once: one of them forgets the parent, and the others wait for that.
    if owner != -pid && OWNER.compare_exchange(owner, -pid, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        if owner != 0 {
            forget_parent();
        }
        OWNER.store(pid, Ordering::Release);
        return;
    }
    let never = AtomicU32::new(0);
    for _ in 0..100 {
        if OWNER.load(Ordering::Acquire) == pid {
            return;
        }
        process::futex_wait(&never, 0, 1);
    }
}

/// [`enter`] in a forked child, by the only thread it has. Its number may be its parent's, in another namespace.
/// Returns it.
pub fn enter_child() -> i32 {
    config::load();
    forget_parent();
    let pid = process::pid();
    OWNER.store(pid, Ordering::Release);
    leader::watch_again();
    pid
}

/// The process the statics belong to.
pub fn owner() -> i32 {
    OWNER.load(Ordering::Relaxed)
}

/// Whether the statics are this process's own.
pub fn owned() -> bool {
    OWNER.load(Ordering::Relaxed) == process::pid()
}

/// After fork(2), in the child: the thread is the parent's, and so is the channel.
fn forget_parent() {
    EMPTYING.store(0, Ordering::SeqCst);
    handover::forget();
    LIFE.reset();
    reaper::forget();
    leader::forget();
    config::forget_use();
    stats::reset();
}

/// Reserves the channel. A safe place to start the thread, too, if one was wanted in a signal handler.
pub fn prepare() {
    if handover::number().is_none() && config::max_connections() > 0 && owned() {
        make_channel();
    }
    if LIFE.take_wanted() {
        ensure_thread(Caller::Interface);
    }
}

fn make_channel() -> bool {
    if LIFE.disarmed() {
        return false;
    }
    // A thread that listens to a channel the program swept away hears nothing of the new one; it ends by itself when its
    // last connection has.
    handover::reserve(&|| LIFE.orphan()) != Reserved::Refused
}

/// Hands a reference to `fd` over to the drain thread; false where that could not be done.
pub(crate) fn hand_over(fd: Fd, request: Request) -> bool {
    let send = || {
        stats::begin();
        let sent = handover::send(fd, request).is_ok();
        if !sent {
            stats::cancel();
        }
        sent
    };
    LIFE.hand_over(send, || empty(handover::channel_at_last()))
}

/// Whether there is a channel and a thread behind it, started now if need be.
pub fn ready(caller: Caller) -> bool {
    if config::max_connections() == 0 {
        return false;
    }
    (handover::number().is_some() || make_channel()) && ensure_thread(caller)
}

fn ensure_thread(caller: Caller) -> bool {
    let may_start = || caller == Caller::Interface || !interruption::possible();
    let there = LIFE.ensure(process::now_ms, may_start, reaper::start, |error: Errno| {
        log::debug(format_args!(
            "no drain thread (error {}): connections are drained without waiting",
            error.0
        ));
        empty(handover::channel_at_last());
    });
    if there && leader::has_ended() && !leader::keep() {
        retire();
        return false;
    }
    there
}

/// The program's first thread has ended, see [`leader`].
pub fn first_thread_ended() {
    if owned() && LIFE.listening() {
        if leader::keep() {
            handover::nudge();
        } else {
            retire();
        }
    }
}

/// The program is about to forbid itself threads (RLIMIT_NPROC), as HAProxy does before it serves: the drain thread is
/// started now, or there would never be one. Where another thread is just starting it, waits until that has been done, a
/// tenth of a second at most. Not async-signal-safe.
pub fn start_early() {
    if config::max_connections() == 0 {
        return;
    }
    let until = process::now_ms() + 100;
    let never = AtomicU32::new(0);
    while !((handover::number().is_some() || make_channel()) && ensure_thread(Caller::Interface)) {
        if process::now_ms() >= until {
            return;
        }
        process::futex_wait(&never, 0, 1);
    }
    process::futex_wait(&reaper::SETTLED, 0, 100);
}

/// The program is about to change its root directory (chroot(2)): the drain thread will look through the /proc of now.
///
/// The descriptor never stays in the program's table: it waits in the channel, and then in the thread's private table.
pub fn keep_proc() {
    if config::max_connections() == 0 || !(handover::number().is_some() || make_channel()) {
        return;
    }
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    if let Ok(proc) = sys::open_at(libc::AT_FDCWD, c"/proc", directory) {
        let _ =
            handover::send(proc, Request { deadline: Deadline::Default, task: Task::KeepProc, report: None });
        let _ = sys::close(proc);
    }
}

/// The thread could not be had: what was queued in `channel` meanwhile is closed, see [`empty`].
pub fn refuse(channel: Option<Fd>) {
    LIFE.refuse(process::now_ms(), || empty(channel));
    leader::release();
}

/// The thread met a defect, or cannot receive: all it held is gone, and there will be no other; `left` linger in other tables. What
/// waits in `channel` is closed, see [`empty`].
pub fn disarm(channel: Option<Fd>, left: usize) {
    LIFE.disarm(|| empty(channel));
    stats::forget_all_but(left);
    leader::release();
}

/// How many are at [`empty`], or came while somebody was: one does it for all.
static EMPTYING: AtomicU32 = AtomicU32::new(0);

/// Ends what is queued in a channel to which no thread listens, as the plain close would have. Nothing of it gets a number in the
/// program's table, where another thread may be waiting for that number to become free.
fn empty(channel: Option<Fd>) {
    let Some(channel) = channel else { return };
    if EMPTYING.fetch_add(1, Ordering::SeqCst) > 0 {
        return;
    }
    loop {
        let came = EMPTYING.load(Ordering::SeqCst);
        empty_alone(channel);
        if EMPTYING.compare_exchange(came, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
    }
}

fn empty_alone(channel: Fd) {
    let mut tries_left = 16;
    while tries_left > 0 {
        match empty_one(channel) {
            Ok(()) => {}
            Err(e) if e.is(libc::EAGAIN) => return,
            // It may pass.
            Err(_) => tries_left -= 1,
        }
    }
    if (0..16).any(|_| passing::purge(channel).is_ok()) {
        stats::forget_all_but(reaper::lingering());
    }
}

fn empty_one(channel: Fd) -> sys::Result<()> {
    let next = handover::look(channel)?;
    // The program may have a thread that waits for its read half to be shut: no close would do that.
    if next.is_some_and(|request| request.task == Task::ShutRead) {
        return handover::receive(channel, 1, &mut shut_refused).map(drop);
    }
    if let Some(request) = handover::drop_next(channel)? {
        count_refused(request.task);
    }
    Ok(())
}

fn shut_refused(received: handover::Received) {
    let task = match received {
        handover::Received::Connection(fd, request) => {
            if request.task == Task::ShutRead {
                let _ = socket::shut_read(fd);
            }
            for fd in request.report.into_iter().chain([fd]) {
                let _ = sys::close(fd);
            }
            request.task
        }
        handover::Received::Lost(request) => request.task,
        handover::Received::Nudge => return,
    };
    count_refused(task);
}

fn count_refused(task: Task) {
    let discarded = match task {
        Task::Drain { discarded, .. } => discarded,
        Task::Search(_) => 0,
        // It goes on.
        Task::ShutRead => return stats::cancel(),
        Task::KeepProc => return,
    };
    stats::finish(Outcome::Closed, discarded.into());
    stats::fallback();
}

/// Ends the engine in this process, for good: the program is about to forbid itself system calls (seccomp(2)), and one
/// of ours must not get it killed. What lingers is closed. Waits for the threads to end, which takes them a few hundredths of a
/// second; a second at most.
pub fn retire() {
    // What is queued ends with the channel.
    if LIFE.disarm(|| ()) {
        reaper::STOP.store(reaper::ASKED, Ordering::SeqCst);
        leader::release();
        handover::nudge();
        let until = process::now_ms() + 1000;
        process::futex_wait(&reaper::STOP, reaper::ASKED, 1000);
        // Its last calls are the C library's, and the filter must not meet them.
        let never = AtomicU32::new(0);
        while !reaper::gone() && process::now_ms() < until {
            process::futex_wait(&never, 0, 1);
        }
    }
    handover::forget();
    stats::forget_all_but(0);
}

/// What the shim knows and the engine needs when a program calls the C interface under it.
pub struct Host {
    /// Removes `fd` from the epoll sets of the program; false where it may still be in one.
    pub withdraw: fn(Fd) -> bool,
    /// Forgets what is known of the number `fd`, which is about to be closed.
    pub forget: fn(Fd),
    /// Whether close(2) itself lingers in this process.
    pub active: fn() -> bool,
    /// Whether what was known of a connection's sharing before its close still was true at the close, and is.
    pub shared_so: fn(Share) -> bool,
}

static HOST: once_cell::race::OnceRef<'static, Host> = once_cell::race::OnceRef::new();

/// Registers the shim. The first call counts.
pub fn set_host(host: &'static Host) {
    let _ = HOST.set(host);
}

/// Has the shim, if there is one, remove `fd` from the program's epoll sets. False where it may still be in one.
pub fn withdraw(fd: Fd) -> bool {
    HOST.get().is_none_or(|host| (host.withdraw)(fd))
}

/// Tells the shim, if there is one, that the number `fd` is about to be closed.
pub fn forget(fd: Fd) {
    if let Some(host) = HOST.get() {
        (host.forget)(fd);
    }
}

/// Whether `share`, which was true before the close, still was at the close, and is.
pub fn shared_so(share: Share) -> bool {
    HOST.get().is_some_and(|host| (host.shared_so)(share))
}

/// Whether the shim is there and on.
pub fn shim_active() -> bool {
    HOST.get().is_some_and(|host| (host.active)())
}
