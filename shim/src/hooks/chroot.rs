//! chroot(2): a program that goes where there is no /proc.

use crate::{errno, gate};
use engine::engine as life;
use libc::{c_char, c_int};

// *Contract:* changes the root directory of the process. *Why hooked:* who else holds a connection is to be seen in /proc
// only. *errno:* of the real call. *Signal safety:* not async-signal-safe; no cancellation point.
redhook::hook! {
    unsafe fn chroot(path: *const c_char) -> c_int => hook_chroot {
        before_chroot();
        // SAFETY: the program passes what chroot(2) requires.
        unsafe { redhook::real!(chroot)(path) }
    }
}

fn before_chroot() {
    if gate::is_open() && life::owned() {
        errno::kept(life::keep_proc);
    }
}

pub(super) fn find() {
    redhook::real!(chroot);
}
