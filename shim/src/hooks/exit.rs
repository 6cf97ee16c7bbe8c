//! _exit(2) and _Exit(3): a process that ends takes its connections with it, so it waits for them a little. exit(3) and
//! return from main come to the destructor in [`crate::start`], quick_exit(3) to a handler there.

use super::hook;
use crate::{errno, real, start};
use libc::c_int;

hook! {
    /// *Contract:* ends the process at once. *Why hooked:* the kernel would close what is open and what lingers.
    /// *Passes through when* no connection has anything to lose, and in a child of vfork(2).
    /// *Signal safety:* async-signal-safe.
    fn _exit(status: c_int) -> c_int {
        errno::kept(start::before_end_of_process);
        real::_exit(status)
    }
}

hook! {
    /// As [`_exit`].
    fn _Exit(status: c_int) -> c_int {
        errno::kept(start::before_end_of_process);
        real::_Exit(status)
    }
}
