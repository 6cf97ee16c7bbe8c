//! connect(2): a number that becomes a client's connection.

use super::hook;
use crate::fds::{self, Role};
use crate::{gate, real};
use engine::config::{self, Side};
use engine::engine as core;
use engine::sys::Fd;
use libc::{c_int, sockaddr, socklen_t};

hook! {
    /// *Contract:* connects, or begins to.
    /// *Why hooked:* a client's connections are left alone unless `LINGER_SIDE=both`, and a number whose last close went
    /// past us must not pass for an accepted one.
    /// *Passes through when* the gate is closed. *errno:* of the real call.
    /// *Signal safety:* async-signal-safe; a cancellation point.
    fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
        before_connect(fd);
        real::connect(fd, address, length)
    }
}

hook! {
    /// As [`connect`].
    fn __connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
        before_connect(fd);
        real::__connect(fd, address, length)
    }
}

pub(super) fn before_connect(fd: Fd) {
    if !gate::is_open() {
        return;
    }
    let role = fds::facts(fd).role();
    if config::side() == Side::Both {
        // A connect(2) that is polled for is called again: it is no new connection.
        if role != Role::Client && core::owned() {
            fds::born(fd, Role::Client);
        }
    } else if role == Role::Accepted && core::owned() {
        fds::take(fd);
    }
}
