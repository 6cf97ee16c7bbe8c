//! The functions the program calls in libc's place, a file for each family. `symbols.txt` is the list of them.
//!
//! Every hook has the same skeleton: what must happen before (with `errno` kept), the real call, what must be noted
//! after it. The real call is never made twice.

mod accept;
mod bulk;
mod chroot;
mod close;
mod connect;
mod dup;
mod epoll;
mod exit;
mod fork;
mod limits;
mod message;
mod ring;
mod shutdown;
mod stdio;
mod variadic;

/// Declares a hook that is a cancellation point, optional or variadic: a plain function that an unwinding thread may
/// pass through (redhook's may not; see [`crate::real`]).
macro_rules! hook {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty $body:block) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the function it stands for.
        #[no_mangle]
        pub unsafe extern "C-unwind" fn $name($($arg: $type),*) -> $result {
            // SAFETY: the program passes what the function requires.
            #[allow(unused_unsafe)]
            unsafe { $body }
        }
    };
}
pub(crate) use hook;

/// Finds the next function of every hook that redhook declares, so that none has to later, perhaps in a signal
/// handler (its `Once` would deadlock there).
pub(crate) fn find_all() {
    accept::find();
    chroot::find();
    dup::find();
    epoll::find();
    fork::find();
    limits::find();
    shutdown::find();
}
