//! The next functions in the chain, for hooks that redhook cannot declare.
//!
//! redhook wraps a hook in `catch_unwind`. Cancelling a thread (pthread_cancel(3)) unwinds through every function that
//! is a cancellation point, and Rust aborts the process when a foreign unwind reaches a `catch_unwind`: a thread
//! cancelled inside accept(2) would end the program. So cancellation points have plain `extern "C-unwind"` hooks and
//! find the next function here (docs/notes/cancellation.md). Optional and variadic functions are here, too.
//!
//! **Promises:** finding a function takes the loader's lock once; the constructor does it for all.

use core::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void, CStr};
use core::sync::atomic::{AtomicPtr, Ordering};
use libc::{msghdr, pid_t, sockaddr, socklen_t, ssize_t, FILE};

/// A function by name, found with dlsym(RTLD_NEXT).
pub(crate) struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Next {
        Next { name, address: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// Its address; null where nobody has it.
    fn find(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: the name is NUL-terminated.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// `next_functions! { in symbols, found by find_listed: fn close(fd: c_int) -> c_int; … }`: each becomes `real::close`, which calls the
/// next `close`, or answers ENOSYS where there is none.
macro_rules! next_functions {
    (in $symbols:ident, found by $find:ident: $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        #[allow(non_upper_case_globals, non_snake_case)]
        mod $symbols {
            $(pub(super) static $name: super::Next = {
                // SAFETY: the literal ends with its only NUL.
                super::Next::new(unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) })
            };)*
        }

        $($(#[$doc])*
        #[inline]
        #[allow(non_snake_case)]
        pub(crate) unsafe fn $name($($arg: $type),*) -> $result {
            let address = $symbols::$name.find();
            if address.is_null() {
                return crate::errno::fail(libc::ENOSYS) as $result;
            }
            // SAFETY: the symbol has this signature (its man page); the caller passes what it requires.
            unsafe {
                let function: unsafe extern "C-unwind" fn($($type),*) -> $result = core::mem::transmute(address);
                function($($arg),*)
            }
        })*

        fn $find() {
            $($symbols::$name.find();)*
        }
    };
}

next_functions! {
    in symbols, found by find_listed:
    fn close(fd: c_int) -> c_int;
    fn __close(fd: c_int) -> c_int;
    fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
    fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int;
    fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    fn __connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    fn sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int) -> c_int;
    fn recvmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int, timeout: *mut libc::timespec) -> c_int;
    fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int;
    fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int;
    fn _Fork() -> pid_t;
    fn clone(function: *const c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent: usize, storage: usize, child: usize) -> c_int;
    fn __clone(function: *const c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent: usize, storage: usize, child: usize) -> c_int;
    fn posix_spawn(pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    fn posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    fn system(command: *const c_char) -> c_int;
    fn __dup2(old: c_int, new: c_int) -> c_int;
    fn __fcntl(fd: c_int, command: c_int, argument: usize) -> c_int;
    fn __sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int) -> c_int;
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
    fn closefrom(first: c_int) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn fclose(stream: *mut FILE) -> c_int;
    fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int;
    fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long;
    fn _exit(status: c_int) -> c_int;
    fn _Exit(status: c_int) -> c_int;
}

// Of glibc 2.39.
next_functions! {
    in newer_symbols, found by find_newer:
    fn pidfd_spawnp(pidfd: *mut c_int, file: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
    fn pidfd_spawn(pidfd: *mut c_int, path: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int;
}

/// The same for functions that return a pointer: null and ENOSYS where there is none.
macro_rules! next_pointer_functions {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
        #[inline]
        pub(crate) unsafe fn $name($($arg: $type),*) -> $result {
            // SAFETY: the literal ends with its only NUL.
            static NEXT: Next = Next::new(unsafe {
                core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes())
            });
            let address = NEXT.find();
            if address.is_null() {
                crate::errno::fail(libc::ENOSYS);
                return core::ptr::null_mut();
            }
            // SAFETY: the symbol has this signature (its man page); the caller passes what it requires.
            unsafe {
                let function: unsafe extern "C-unwind" fn($($type),*) -> $result = core::mem::transmute(address);
                function($($arg),*)
            }
        })*
    };
}

next_pointer_functions! {
    fn popen(command: *const c_char, kind: *const c_char) -> *mut FILE;
    fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE;
    fn freopen(path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE;
    fn freopen64(path: *const c_char, mode: *const c_char, stream: *mut FILE) -> *mut FILE;
}

/// The next vfork(2), which its hook jumps to.
pub(crate) static VFORK: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Finds all of them, so that no hook has to later.
pub(crate) fn find_all() {
    find_listed();
    // To look for what is not there makes libc allocate, for its message.
    if libc_minor_version() >= 39 {
        find_newer();
    }
    // SAFETY: the name is NUL-terminated.
    VFORK.store(unsafe { libc::dlsym(libc::RTLD_NEXT, c"vfork".as_ptr()) }, Ordering::Relaxed);
}

/// The 36 of glibc 2.36.
fn libc_minor_version() -> u32 {
    // SAFETY: a constant string of libc's.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    let minor = version.to_str().unwrap_or("").split('.').nth(1);
    minor.and_then(|minor| minor.parse().ok()).unwrap_or(0)
}
