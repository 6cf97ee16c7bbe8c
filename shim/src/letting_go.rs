//! What every hook does that ends a number: decides whether the connection behind it lingers, and sees to it.
//!
//! **Promises:** nothing waits; `errno` is kept. Afterwards the hook ends the number with the real call, in every case
//! but one: a number that is ours, not the program's.

use crate::errno;
use crate::fds::{self, Epolls, Facts, Role};
use crate::{children, gate};
use engine::config::{self, Side};
use engine::drain::Deadline;
use engine::engine::{self as core, Caller, Holding};
use engine::handover::{self, Origin, Suspicion};
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
    // A child of vfork(2) shares this memory but not the table: what it closes is still open in the parent.
    if !core::owned() {
        return;
    }
    let facts = fds::take(fd);
    if !gate::is_open() {
        return;
    }
    let Some(holding) = holding(fd, facts, false) else { return };
    if !leave_epolls(fd, facts) {
        return;
    }
    core::let_go(fd, Deadline::Default, holding, Caller::Hook);
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
    // On its way to another process it is in no table: nobody could find that holder.
    if facts.sent() {
        return None;
    }
    // A process that ends lets go of all its numbers at once.
    let alone = !facts.duplicated() || exiting;
    if origin == Origin::Accepted && alone && fds::unforked(fd) {
        return Some(Holding::Exclusive);
    }
    (!children::share(fd)).then_some(Holding::Unproven(Suspicion { origin, exiting }))
}

/// The process is about to end: the connections it still holds linger, if they have something to lose (unread input, or
/// output that is not acknowledged). `flush` sees to it that what the program still buffers for one has left.
pub(crate) fn before_end_of_process(flush: &dyn Fn(Fd) -> bool) {
    let mut last = None;
    fds::each_known(0, u32::MAX, &mut |fd| {
        let facts = fds::facts(fd);
        if !facts.connection() || !flush(fd) || !has_something_to_lose(fd) {
            return;
        }
        let identity = sys::identity(fd).ok();
        // Under inetd 0, 1 and 2 are one connection.
        if last.is_none_or(|before| Some(before) != identity) {
            if let Some(holding) = holding(fd, facts, true) {
                core::let_go(fd, Deadline::Default, holding, Caller::Hook);
            }
        }
        last = identity;
    });
}

fn has_something_to_lose(fd: Fd) -> bool {
    socket::unread(fd).is_ok_and(|n| n > 0) || socket::unacknowledged(fd).is_ok_and(|n| n > 0)
}

/// Removes `fd` from the epoll sets the program registered it in: a registration belongs to the open file description
/// (epoll(7), "Questions and answers"), and would outlive the number while we hold a reference.
fn leave_epolls(fd: Fd, facts: Facts) -> bool {
    match facts.epolls() {
        Epolls::Unknowable => false,
        Epolls::Known(sets) => {
            for epoll in sets.into_iter().flatten() {
                let _ = sys::epoll_remove(epoll, fd);
            }
            true
        }
    }
}

/// The program hands `fd` over itself, through the C interface.
pub(crate) fn release(fd: Fd) {
    let facts = fds::take(fd);
    leave_epolls(fd, facts);
}
