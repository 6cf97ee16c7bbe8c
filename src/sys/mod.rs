//! The system calls of the engine: one small function for each, and nowhere else.
//!
//! **Promises:** no function here calls libc, allocates, locks, blocks (except where its name says so) or
//! touches `errno`: all are async-signal-safe.
//!
//! **Invariants:** a descriptor is a plain number that the caller owns or borrows as each function says;
//! nothing closes one except [`close`] and [`close_range`].

#[cfg(linger_faults)]
pub mod faults;
pub mod memory;
pub mod passing;
pub mod process;
mod raw;
pub mod socket;

pub use raw::{syscall, Errno, Result};

/// A descriptor number.
pub type Fd = libc::c_int;

/// `call!(SYS_close, fd)`: arguments are widened as C would widen them.
macro_rules! call {
    ($number:ident $(, $arg:expr)*) => {{
        let mut args = [0usize; 6];
        for (place, value) in args.iter_mut().zip([$($arg as isize as usize),*]) {
            *place = value;
        }
        $crate::sys::syscall(libc::$number, args)
    }};
}
pub(crate) use call;

/// Closes `fd`. On Linux the number is free afterwards even where close(2) reports an error.
pub fn close(fd: Fd) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_close, fd) }.map(drop)
}

/// Closes the numbers `first..=last`, after giving the calling thread a table of its own when `unshare` is
/// set (close_range(2), Linux 5.9).
pub fn close_range(first: u32, last: u32, unshare: bool) -> Result<()> {
    let flags = if unshare { libc::CLOSE_RANGE_UNSHARE } else { 0 };
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_close_range, first, last, flags) }.map(drop)
}

/// Whether a thread can have a descriptor table of its own here; changes nothing.
///
/// close_range(2) looks at its flags, and then refuses a range whose end is before its beginning with EINVAL; unshare(2) of
/// nothing succeeds. A kernel without the former answers ENOSYS, and a filter what it likes, mostly EPERM.
pub fn table_can_be_unshared() -> Result<()> {
    match close_range(1, 0, true) {
        Ok(()) | Err(Errno(libc::EINVAL)) => Ok(()),
        // SAFETY: nothing is unshared.
        Err(_) => unsafe { call!(SYS_unshare, 0) }.map(drop),
    }
}

/// Gives the calling thread a descriptor table of its own, a copy of the shared one (unshare(2)).
pub fn unshare_files() -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_unshare, libc::CLONE_FILES) }.map(drop)
}

/// Makes `new` refer to what `old` refers to, close-on-exec (dup3(2)).
pub fn dup_onto(old: Fd, new: Fd) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_dup3, old, new, libc::O_CLOEXEC) }.map(drop)
}

/// Duplicates `fd` to the lowest free number not below `lowest`, close-on-exec.
pub fn dup_at_least(fd: Fd, lowest: Fd) -> Result<Fd> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, lowest) }.map(|n| n as Fd)
}

/// The file status flags (F_GETFL).
pub fn status_flags(fd: Fd) -> Result<libc::c_int> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_fcntl, fd, libc::F_GETFL) }.map(|n| n as libc::c_int)
}

/// Sets the file status flags (F_SETFL). They belong to the open file description: every holder sees them.
pub fn set_status_flags(fd: Fd, flags: libc::c_int) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_fcntl, fd, libc::F_SETFL, flags) }.map(drop)
}

/// What an open file is: its device and inode, which no other open socket shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

/// The identity of what `fd` refers to (fstat(2)).
#[allow(clippy::unnecessary_cast)] // st_dev and st_ino differ in type between architectures
pub fn identity(fd: Fd) -> Result<Identity> {
    let mut stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills the structure, whose layout is the kernel's own on 64-bit Linux.
    unsafe { call!(SYS_fstat, fd, stat.as_mut_ptr()) }?;
    // SAFETY: all-zero is a valid `stat`, and the call succeeded.
    let stat = unsafe { stat.assume_init() };
    Ok(Identity { device: stat.st_dev as u64, inode: stat.st_ino as u64 })
}

/// How many links a directory has: one for itself, one in its parent, and one in each of its subdirectories.
pub fn links(dir: Fd, path: &core::ffi::CStr) -> Result<u64> {
    let mut stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path is NUL-terminated; the kernel fills the structure, whose layout is its own on 64-bit Linux.
    unsafe { call!(SYS_newfstatat, dir, path.as_ptr(), stat.as_mut_ptr(), 0) }?;
    // SAFETY: all-zero is a valid `stat`, and the call succeeded.
    let stat = unsafe { stat.assume_init() };
    #[allow(clippy::unnecessary_cast)] // 32 bits on aarch64
    let links = stat.st_nlink as u64;
    Ok(links)
}

/// Writes once and ignores the result: for messages that must not fail.
pub fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes of a live slice.
    unsafe { call!(SYS_write, fd, bytes.as_ptr(), bytes.len()) }
}

/// Opens a directory or file by a NUL-terminated path, read only and close-on-exec.
pub fn open_at(dir: Fd, path: &core::ffi::CStr, flags: libc::c_int) -> Result<Fd> {
    // SAFETY: the path is NUL-terminated and lives through the call.
    unsafe { call!(SYS_openat, dir, path.as_ptr(), flags | libc::O_CLOEXEC, 0) }.map(|n| n as Fd)
}

/// Reads up to `buffer.len()` bytes.
pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into a live slice.
    unsafe { call!(SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) }
}

/// Reads directory entries (getdents64(2)); 0 at the end.
pub fn directory_entries(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: as for `read`.
    unsafe { call!(SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) }
}

/// Reads a symbolic link into `buffer`; a full buffer means the text may be cut.
pub fn read_link(dir: Fd, path: &core::ffi::CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the path is NUL-terminated; the kernel writes at most `buffer.len()` bytes.
    unsafe { call!(SYS_readlinkat, dir, path.as_ptr(), buffer.as_mut_ptr(), buffer.len()) }
}

/// Creates an epoll instance, close-on-exec.
pub fn epoll_create() -> Result<Fd> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_epoll_create1, libc::EPOLL_CLOEXEC) }.map(|n| n as Fd)
}

/// Creates an eventfd(2), close-on-exec, that never makes its writer wait.
pub fn event_counter() -> Result<Fd> {
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_eventfd2, 0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.map(|n| n as Fd)
}

/// Watches `fd` in `epoll` for `events`; the events name it by its number.
pub fn epoll_add(epoll: Fd, fd: Fd, events: u32) -> Result<()> {
    let mut event = libc::epoll_event { events, u64: fd as u64 };
    // SAFETY: the event lives through the call.
    unsafe { call!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, fd, &mut event as *mut libc::epoll_event) }
        .map(drop)
}

/// Waits for other `events` of `fd` in `epoll` from now on.
pub fn epoll_modify(epoll: Fd, fd: Fd, events: u32) -> Result<()> {
    let mut event = libc::epoll_event { events, u64: fd as u64 };
    // SAFETY: the event lives through the call.
    unsafe { call!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_MOD, fd, &mut event as *mut libc::epoll_event) }
        .map(drop)
}

/// Removes the registration of `fd` from `epoll`.
pub fn epoll_remove(epoll: Fd, fd: Fd) -> Result<()> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: the event lives through the call (kernels before 2.6.9 insist on one).
    unsafe { call!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_DEL, fd, &mut event as *mut libc::epoll_event) }
        .map(drop)
}

/// Waits for events, at most `timeout_ms` (-1: without limit). **Blocks.**
pub fn epoll_wait(epoll: Fd, events: &mut [libc::epoll_event], timeout_ms: i32) -> Result<usize> {
    // SAFETY: the kernel writes at most `events.len()` events; no signal mask is passed.
    let waited =
        unsafe { call!(SYS_epoll_pwait, epoll, events.as_mut_ptr(), events.len(), timeout_ms, 0, 8) };
    #[cfg(target_arch = "x86_64")]
    if waited.is_err_and(|e| e.is(libc::ENOSYS) || e.is(libc::EPERM)) {
        // A filter that knows the older call only.
        // SAFETY: as above.
        return unsafe { call!(SYS_epoll_wait, epoll, events.as_mut_ptr(), events.len(), timeout_ms) };
    }
    waited
}

/// Waits until `fd` is readable, hung up or in error, at most `timeout_ms`. **Blocks.**
pub fn wait_readable(fd: Fd, timeout_ms: u64) -> Result<usize> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN | libc::POLLRDHUP, revents: 0 };
    let mut limit = libc::timespec {
        tv_sec: (timeout_ms / 1000) as libc::time_t,
        tv_nsec: (timeout_ms % 1000 * 1_000_000) as _,
    };
    // SAFETY: both structures live through the call; no signal mask is passed.
    unsafe { call!(SYS_ppoll, &mut poll as *mut libc::pollfd, 1, &mut limit as *mut libc::timespec, 0, 8) }
}
