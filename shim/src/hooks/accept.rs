//! accept(2), accept4(2) and listen(2): where a connection begins to be known.

use super::hook;
use crate::fds::{self, Forks, Role};
use crate::{errno, gate, real};
use engine::engine as core;
use engine::sys::{socket, Fd};
use libc::{c_int, sockaddr, socklen_t};

hook! {
    /// *Contract:* a new connection's number.
    /// *Why hooked:* only what was accepted here is a server's connection, and exclusive for certain.
    /// *Passes through when* the gate is closed. *errno:* of the real call.
    /// *Signal safety:* async-signal-safe; a cancellation point.
    fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
        let forks = fds::forks();
        let accepted = real::accept(fd, address, length);
        after_accept(fd, accepted, forks);
        accepted
    }
}

hook! {
    /// As [`accept`].
    fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int {
        let forks = fds::forks();
        let accepted = real::accept4(fd, address, length, flags);
        after_accept(fd, accepted, forks);
        accepted
    }
}

// *Contract:* the socket begins to accept.
// *Why hooked:* what was known of a listener by this number may be another's, whose close went past us.
// *errno:* of the real call. *Signal safety:* async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn listen(fd: c_int, backlog: c_int) -> c_int => hook_listen {
        fds::before_listening(fd);
        // SAFETY: listen(2) takes two integers.
        unsafe { redhook::real!(listen)(fd, backlog) }
    }
}

pub(super) fn find() {
    redhook::real!(listen);
}

/// `forks` were counted before the call.
pub(super) fn after_accept(listener: Fd, accepted: Fd, forks: Forks) {
    if accepted >= 0 && gate::is_open() {
        errno::kept(|| note(listener, accepted, forks));
    }
}

fn note(listener: Fd, accepted: Fd, forks: Forks) {
    if listens_for_tcp(listener) {
        fds::born_after(forks, accepted, Role::Accepted);
        // The channel is made now: a server at its descriptor limit could not make it later.
        core::prepare();
    } else {
        fds::take(accepted);
    }
}

/// Asked once for each listener.
fn listens_for_tcp(listener: Fd) -> bool {
    match fds::facts(listener).role() {
        Role::TcpListener => true,
        Role::OtherListener => false,
        _ => {
            let protocol = socket::socket_option(listener, libc::SO_PROTOCOL);
            let tcp = protocol.is_ok_and(|p| p == libc::IPPROTO_TCP || p == libc::IPPROTO_MPTCP);
            fds::set_role(listener, if tcp { Role::TcpListener } else { Role::OtherListener });
            tcp
        }
    }
}
