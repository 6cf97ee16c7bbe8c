//! _exit(2) and _Exit(3): a process that ends takes its lingering connections with it, so it waits for them a little.
//! exit(3) and return from main come to the destructor in [`crate::start`].

use super::hook;
use crate::{errno, real, start};
use libc::c_int;

hook! {
    /// *Contract:* ends the process at once. *Why hooked:* the kernel would close what still lingers.
    /// *Passes through when* nothing lingers, and in a child of vfork(2). *Signal safety:* async-signal-safe.
    fn _exit(status: c_int) -> c_int {
        errno::kept(start::wait_for_lingering);
        real::_exit(status)
    }
}

hook! {
    /// As [`_exit`].
    fn _Exit(status: c_int) -> c_int {
        errno::kept(start::wait_for_lingering);
        real::_Exit(status)
    }
}
