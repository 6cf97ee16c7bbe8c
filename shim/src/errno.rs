//! `errno` across the work of a hook.

/// Keeps `errno` as the program left it while `work` runs. For work that may call libc (starting a thread); system
/// calls of the engine never touch it.
pub(crate) fn kept<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the address of the calling thread's errno is always valid.
    let before = unsafe { *libc::__errno_location() };
    let result = work();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = before };
    result
}

/// Fails as libc does.
pub(crate) fn fail(errno: libc::c_int) -> libc::c_int {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// The calling thread's.
pub(crate) fn now() -> libc::c_int {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() }
}
