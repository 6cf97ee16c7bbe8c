//! What every hook does that ends a number: decides whether the connection behind it lingers, and sees to it.
//!
//! **Promises:** nothing waits; `errno` is kept. Afterwards the hook ends the number with the real call, in every case
//! but one: a number that is ours, not the program's.

use crate::errno;
use crate::fds::{self, Epolls, Facts, Role};
use crate::{epolls, gate};
use ::core::sync::atomic::Ordering;
use engine::closing::{self, Handled, Holding};
use engine::config::{self, Side};
use engine::drain::Deadline;
use engine::engine::{self as core, Caller};
use engine::family;
use engine::handover::{self, Input, Origin, Share, Suspicion};
use engine::holders;
use engine::sys::{self, socket, Fd};

/// What the hook does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The real call.
    Real,
    /// Nothing: the number is our channel. The program never opened it, so for the program it is not open.
    NotYours,
}

/// The program is about to end the number `fd`.
#[inline]
pub(crate) fn before_end_of(fd: Fd) -> Next {
    if handover::number() == Some(fd) && core::owned() && handover::channel() == Some(fd) {
        return Next::NotYours;
    }
    if !fds::facts(fd).none() {
        errno::kept(|| end_known(fd));
    }
    Next::Real
}

#[cold]
fn end_known(fd: Fd) {
    match fds::facts(fd).role() {
        // What is known of a set stays: a number that is no set any more only costs a refusal when it is asked.
        Role::EpollSet => return,
        // Whoever closes it, the next to listen under this number is asked anew.
        // And of what is no connection only epoll sets are known.
        Role::TcpListener | Role::OtherListener | Role::Unknown => {
            fds::take(fd);
            return;
        }
        Role::Accepted | Role::Client | Role::Received => {}
    }
    // No system call where the gate is shut: the program may have forbidden it.
    if !gate::is_open() {
        fds::take(fd);
        return;
    }
    // A child of vfork(2) shares this memory but not the table: what it closes is still open in the parent.
    if !core::owned() {
        return;
    }
    let facts = fds::take(fd);
    // The drain thread may still hold it, to shut its read half: whatever becomes of it, nothing must be heard of it any more.
    if facts.read_shut() {
        epolls::leave(fd, facts);
    }
    if let Some(holding) = holding(fd, facts, false) {
        let withdraw = || !serves_elsewhere(fd, facts, holding) && epolls::leave(fd, facts);
        closing::let_go(fd, Deadline::Default, holding, Caller::Hook, &withdraw);
    }
}

/// Whether a relative has the connection, and with it perhaps the epoll set it is registered in: a registration that is removed is
/// removed for the relative, too.
fn serves_elsewhere(fd: Fd, facts: Facts, holding: Holding) -> bool {
    let registered = facts.epolls() != Epolls::Known([None; 2]);
    matches!(holding, Holding::Unproven(_))
        && registered
        && !fds::unforked(fd)
        && sys::identity(fd).is_ok_and(|identity| holders::nearest_kin_hold(fd, identity.inode))
}

/// Whether `fd` is a connection that [`before_end_of`] may linger on.
pub(crate) fn may_linger(fd: Fd) -> bool {
    gate::is_open() && fds::facts(fd).connection() && core::owned()
}

/// Whose connection it is and who may hold it; `None` for what gets the plain close.
fn holding(fd: Fd, facts: Facts, exiting: bool) -> Option<Holding> {
    let origin = match facts.role() {
        Role::Accepted => Origin::Accepted,
        Role::Client if config::side() == Side::Both => Origin::Accepted,
        Role::Received => Origin::Received,
        _ => return None,
    };
    // The tables of other threads cannot be told from this one's.
    if fds::tables_differ() {
        return None;
    }
    // On its way to another process it is in no table: nobody could find that holder.
    if facts.sent() && !family::has_arrived(fd) {
        return None;
    }
    // A process that ends lets go of all its numbers at once.
    let alone = (!facts.duplicated() || exiting && !fds::duplicate_was_sent()) && !facts.sent();
    let share = share(fd, facts);
    // What became of a socket of the program's own between socket(2) and connect(2) nobody saw: dup(2) or fork(2), perhaps.
    if facts.role() == Role::Accepted && alone && (fds::unforked(fd) || parent_has_departed(fd, share)) {
        let input = if facts.read_shut() { Input::Unknown } else { Input::Intact };
        return Some(Holding::Exclusive(input));
    }
    Some(Holding::Unproven(Suspicion { origin, number: fd, exiting, share }))
}

/// Who was given a connection, as far as forks tell.
fn share(fd: Fd, facts: Facts) -> Share {
    let Some(forks) = fds::forked_once(fd, facts).filter(|_| facts.role() == Role::Accepted && !facts.sent())
    else {
        return Share::Unknown;
    };
    // Other numbers of the child's are looked for.
    if fds::is_child_of(forks) {
        Share::WithParent { forks, duplicated: facts.duplicated() }
    } else if !facts.duplicated() {
        Share::WithOneChild { forks, in_order: fds::all_forked_by(Some(this_thread())) }
    } else {
        Share::Unknown
    }
}

/// Without a system call. Not 0.
pub(crate) fn this_thread() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::pthread_self() }
}

fn parent_has_departed(fd: Fd, share: Share) -> bool {
    matches!(share, Share::WithParent { .. })
        && sys::identity(fd).is_ok_and(|identity| holders::parent_has_departed(identity.inode, share))
}

/// Whether what [`share`] said before a close still was true at the close, and of the numbers that were left none was sent since.
pub(crate) fn shared_so(share: Share) -> bool {
    match share {
        Share::Unknown => false,
        Share::WithParent { forks, duplicated } => {
            fds::forked_nothing_since(forks) && !(duplicated && fds::duplicate_was_sent())
        }
        Share::WithOneChild { forks, in_order } => {
            fds::forked_nothing_since(forks) || in_order && fds::all_forked_by(None)
        }
    }
}

/// How a process ends.
pub(crate) enum End<'a> {
    /// With exit(3), or by returning from main: what the program still buffers for a connection can be flushed, and there
    /// is stack enough to drain without the thread.
    Orderly(&'a dyn Fn(Fd) -> bool),
    /// With _exit(2) and its like, perhaps in a signal handler.
    Abrupt,
}

/// The process is about to end: the connections it still holds linger until `until_ms`, if they have something to lose
/// (unread input, or output that is not acknowledged).
pub(crate) fn before_end_of_process(end: &End, until_ms: u64) {
    // Put in the place of what is handed over: other processes that look for a holder must not find this one any more.
    // The numbers stay taken, for what else still runs here.
    let inert = sys::epoll_create();
    let mut last = None;
    fds::each_known(0, u32::MAX, &mut |fd| {
        let facts = fds::facts(fd);
        if !facts.connection() || matches!(end, End::Orderly(flush) if !flush(fd)) {
            return;
        }
        let identity = sys::identity(fd).ok();
        // Under inetd 0, 1 and 2 are one connection.
        let same = last.is_some() && last == identity;
        let gone = same
            || has_something_to_lose(fd)
                && holding(fd, facts, true).is_some_and(|h| end_one(fd, h, end, until_ms));
        if gone {
            last = identity;
            if let Ok(inert) = inert {
                let _ = sys::dup_onto(inert, fd);
            }
        }
    });
    if let Ok(inert) = inert {
        let _ = sys::close(inert);
    }
}

fn end_one(fd: Fd, holding: Holding, end: &End, until_ms: u64) -> bool {
    if core::ready(Caller::Hook) {
        return closing::let_go(fd, Deadline::Default, holding, Caller::Hook, &|| true)
            == Handled::HandedOver;
    }
    if let End::Orderly(_) = end {
        // The last thing this process does: nobody is kept waiting but itself.
        if let Ok(second) = sys::dup_at_least(fd, 3) {
            holders::SWEPT.store(true, Ordering::SeqCst);
            closing::drain_here(second, holding, until_ms);
            return true;
        }
    }
    false
}

fn has_something_to_lose(fd: Fd) -> bool {
    // In this order: the peer may take the response and answer it between the two.
    // What cannot be asked may be something.
    socket::unacknowledged(fd) != Ok(0) || socket::unread(fd) != Ok(0)
}

/// The program hands `fd` over itself, through the C interface. False where it may still get events for it.
pub(crate) fn withdraw(fd: Fd) -> bool {
    epolls::leave(fd, fds::facts(fd))
}

/// The program's number `fd` is about to be closed without a hook.
pub(crate) fn forget(fd: Fd) {
    fds::take(fd);
}
