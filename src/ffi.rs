//! The C interface: the only `linger_*` functions, and nothing but the translation between C and the engine.
//!
//! **Promises:** every function is thread-safe, sets `errno` only when it returns -1, and lets nothing unwind into C.
//! No signal handler is installed. Descriptors: whoever passes one keeps it when the call fails with EBADF or
//! EINVAL, and has lost it otherwise.

use crate::closing::{self, Holding};
use crate::drain::{Deadline, Outcome};
use crate::engine::{self, Caller};
use crate::handover::Input;
use crate::{blocking, config, stats, sys, sys::process, sys::Errno};
use core::ffi::{c_char, c_int};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Version of the library this header belongs to.
pub const LINGER_VERSION_MAJOR: c_int = 0;
/// Version of the library this header belongs to.
pub const LINGER_VERSION_MINOR: c_int = 1;
/// Version of the library this header belongs to.
pub const LINGER_VERSION_PATCH: c_int = 0;

/// For `timeout_ms`: the configured deadline (`LINGER_TIMEOUT_MS`, 30000), which is extended up to
/// `LINGER_MAX_MS` while the peer is still taking the response.
pub const LINGER_DEFAULT: c_int = -1;

/// Outcome: there was nothing to linger for; closed as close() does.
pub const LINGER_CLOSED: c_int = 0;
/// Outcome: the peer closed its side (FIN). All it sent was read, so no RST follows.
pub const LINGER_FIN: c_int = 1;
/// Outcome: the peer reset the connection, or it failed otherwise.
pub const LINGER_RESET: c_int = 2;
/// Outcome: the peer acknowledged everything and then sent nothing for `LINGER_IDLE_MS`.
pub const LINGER_IDLE: c_int = 3;
/// Outcome: the deadline.
pub const LINGER_TIMEOUT: c_int = 4;
/// Outcome: `LINGER_MAX_BYTES` were discarded.
pub const LINGER_BYTES: c_int = 5;
/// Outcome: more than `LINGER_MAX` connections lingered, and this one went first.
pub const LINGER_EVICTED: c_int = 6;

/// For `when`: connections linger whenever the peer may still send (the default).
pub const LINGER_WHEN_OPEN: c_int = 0;
/// For `when`: only those with unread input at the moment of the close.
pub const LINGER_WHEN_UNREAD: c_int = 1;
/// For `side`: connections the program accepted (the default).
pub const LINGER_SIDE_SERVER: c_int = 0;
/// For `side`: those it opened with connect(), too. Matters to the preloaded library only.
pub const LINGER_SIDE_BOTH: c_int = 1;
/// For `log`: silent (the default).
pub const LINGER_LOG_OFF: c_int = 0;
/// For `log`: one line on stderr at start.
pub const LINGER_LOG_INFO: c_int = 1;
/// For `log`: one line for every outcome, too.
pub const LINGER_LOG_DEBUG: c_int = 2;

/// Counters since the process started (or was forked). Set `size` before the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct linger_stats {
    /// In: sizeof(struct linger_stats). Out: how many of those bytes this library filled.
    pub size: usize,
    /// Connections handed to the drain thread.
    pub lingered: u64,
    /// Of these, how many linger now.
    pub pending: u64,
    /// Ended by the peer's FIN, at once or while lingering.
    pub fin: u64,
    /// Ended by the peer's RST or another error.
    pub reset: u64,
    /// Ended quiet and acknowledged.
    pub idle: u64,
    /// Ended by their deadline.
    pub timeout: u64,
    /// Ended by the limit on discarded bytes.
    pub bytes: u64,
    /// Ended by eviction.
    pub evicted: u64,
    /// Half-closed, discarded what was there, and closed without waiting.
    pub closed: u64,
    /// Left alone, because somebody else still held the socket.
    pub shared: u64,
    /// Should have lingered but could not (no thread, no memory, queue full): part of `closed`.
    pub fallbacks: u64,
    /// Bytes received and thrown away.
    pub bytes_discarded: u64,
}

/// A `linger_stats` with no room for the first counter is a mistake.
const SMALLEST_STATS: usize = core::mem::offset_of!(linger_stats, pending);

/// Settings, as the `LINGER_*` variables of the environment have them. A negative field keeps what the environment
/// or the default says; begin with `LINGER_CONFIG_INIT`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct linger_config {
    /// sizeof(struct linger_config)
    pub size: usize,
    /// Milliseconds a connection lingers at most, by default (`LINGER_TIMEOUT_MS`, 30000).
    pub timeout_ms: c_int,
    /// Milliseconds of silence, with everything acknowledged, that end it (`LINGER_IDLE_MS`, 5000; at least 1).
    pub idle_ms: c_int,
    /// Milliseconds up to which the default deadline is extended while the response is being taken
    /// (`LINGER_MAX_MS`, 120000).
    pub max_ms: c_int,
    /// Milliseconds an exit may wait (`LINGER_EXIT_MS`, 2000; 0: not at all). Matters to the preloaded library only.
    pub exit_ms: c_int,
    /// Bytes to discard of one connection at most (`LINGER_MAX_BYTES`; 0: no limit, the default).
    pub max_bytes: i64,
    /// Bytes to discard of one connection in a second at most, on the average of its life (`LINGER_MAX_RATE`; 0: no limit, the
    /// default). Beyond it the library stops reading, and the peer's window closes.
    pub max_rate: i64,
    /// Connections that may linger at once (`LINGER_MAX`, 10000; at most 1000000; 0: none lingers).
    pub max_connections: c_int,
    /// Connections of one address that may linger at once (`LINGER_MAX_PER_PEER`; 0: no limit, the default). Of IPv6 an
    /// address is a /64.
    pub max_per_peer: c_int,
    /// `LINGER_WHEN_*`
    pub when: c_int,
    /// `LINGER_SIDE_*`
    pub side: c_int,
    /// `LINGER_LOG_*`
    pub log: c_int,
}

/// Sets `errno` and returns -1, as libc does.
fn fail(error: Errno) -> c_int {
    // SAFETY: the address of the calling thread's errno is always valid.
    unsafe { *libc::__errno_location() = error.0 };
    -1
}

/// The boundary: a defect of ours becomes EINVAL here, never an unwind into C. `errno` stays on success.
fn boundary(body: impl FnOnce() -> sys::Result<c_int>) -> c_int {
    // SAFETY: as above.
    let errno = unsafe { *libc::__errno_location() };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => {
            // SAFETY: as above.
            unsafe { *libc::__errno_location() = errno };
            value
        }
        Ok(Err(error)) => fail(error),
        Err(_) => fail(Errno(libc::EINVAL)),
    }
}

fn deadline(timeout_ms: c_int) -> sys::Result<Deadline> {
    match timeout_ms {
        LINGER_DEFAULT => Ok(Deadline::Default),
        ms => u32::try_from(ms).map(Deadline::Exactly).map_err(|_| Errno(libc::EINVAL)),
    }
}

/// Lets go of `fd` without losing the response that is still on its way: sends FIN at once, hands the connection to
/// a background thread that reads and discards what the peer still sends, and closes it at the peer's FIN or the
/// deadline (RFC 9112 section 9.6). Returns at once, whatever the peer does.
///
/// `fd` is closed when the call returns, and its number is free. Anything but a connected TCP socket is closed as
/// close() does, so a server may call this everywhere. The caller vouches that nobody else uses the socket (no
/// duplicate, no forked process), and must have removed it from its epoll sets: the library holds the open file
/// description a while longer, and its registrations with it. (Where liblinger.so is preloaded it removes them.)
///
/// `timeout_ms`: `LINGER_DEFAULT`; 0 to discard what has arrived and not wait; otherwise the deadline in
/// milliseconds, which is never extended.
///
/// Returns 0, or -1 with `errno`: EBADF (`fd` is not open; nothing was done), EINVAL (`timeout_ms` below -1; `fd` is
/// untouched), or what close() reports for a descriptor that is not a connection. On a shortage of anything it
/// discards what has arrived and closes without waiting: never worse than close().
///
/// Thread-safe. Not async-signal-safe: the first call starts the thread.
#[no_mangle]
pub extern "C" fn linger_close(fd: c_int, timeout_ms: c_int) -> c_int {
    boundary(|| {
        let deadline = deadline(timeout_ms)?;
        engine::enter();
        let holding = Holding::Exclusive(Input::Unknown);
        closing::let_go(fd, deadline, holding, Caller::Interface, &|| engine::withdraw(fd));
        engine::forget(fd);
        sys::close(fd).map(|()| 0)
    })
}

/// Like `linger_close`, but waits until the connection has ended and says how: one of `LINGER_CLOSED`,
/// `LINGER_FIN`, `LINGER_RESET`, `LINGER_IDLE`, `LINGER_TIMEOUT` and `LINGER_BYTES`, or -1 and `errno` as for
/// `linger_close`.
///
/// Works in the calling thread: needs no background thread and no further descriptor. Signals do not cut it short.
/// Thread-safe and async-signal-safe.
#[no_mangle]
pub extern "C" fn linger_close_wait(fd: c_int, timeout_ms: c_int) -> c_int {
    boundary(|| {
        let deadline = deadline(timeout_ms)?;
        engine::enter();
        // No event during the wait, either.
        let _ = engine::withdraw(fd);
        engine::forget(fd);
        blocking::close(fd, deadline).map(|outcome: Outcome| outcome as c_int)
    })
}

/// Waits until no connection of this process lingers, at most `timeout_ms` milliseconds (`LINGER_DEFAULT`: as long
/// as it takes, which the connections' own deadlines bound; 0: does not wait). For a graceful stop, before exit().
///
/// Returns how many still linger, or -1 with EINVAL (`timeout_ms` below -1). Thread-safe and async-signal-safe.
#[no_mangle]
pub extern "C" fn linger_flush(timeout_ms: c_int) -> c_int {
    boundary(|| {
        let until = match deadline(timeout_ms)? {
            Deadline::Default => None,
            Deadline::Exactly(ms) => Some(process::now_ms().saturating_add(u64::from(ms))),
        };
        engine::enter();
        Ok(c_int::try_from(stats::wait_until_none(until)).unwrap_or(c_int::MAX))
    })
}

/// How many connections of this process linger now. Thread-safe and async-signal-safe.
#[no_mangle]
pub extern "C" fn linger_pending() -> c_int {
    boundary(|| {
        engine::enter();
        Ok(c_int::try_from(stats::pending()).unwrap_or(c_int::MAX))
    })
}

/// Fills in `out`, up to its `size`: a program built with an older header gets the fields it knows.
///
/// Returns 0, or -1 with EINVAL: `out` is NULL or its `size` has no room for the first counter. Thread-safe and
/// async-signal-safe.
///
/// # Safety
/// `out` is NULL or points to `out->size` writable bytes, aligned as the structure.
#[no_mangle]
pub unsafe extern "C" fn linger_stats(out: *mut linger_stats) -> c_int {
    boundary(|| {
        if out.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: not null; the caller vouches for the size field at least.
        let given = unsafe { core::ptr::addr_of!((*out).size).read() };
        if given < SMALLEST_STATS {
            return Err(Errno(libc::EINVAL));
        }
        let size = given.min(core::mem::size_of::<linger_stats>());
        engine::enter();
        let s = stats::snapshot();
        let [closed, fin, reset, idle, timeout, bytes, evicted] = s.outcomes;
        let filled = linger_stats {
            size,
            lingered: s.lingered,
            pending: s.pending,
            fin,
            reset,
            idle,
            timeout,
            bytes,
            evicted,
            closed,
            shared: s.shared,
            fallbacks: s.fallbacks,
            bytes_discarded: s.discarded,
        };
        // SAFETY: `size` is at most what the caller vouched for and at most our structure.
        unsafe {
            core::ptr::copy_nonoverlapping(
                (&filled as *const linger_stats).cast::<u8>(),
                out.cast::<u8>(),
                size,
            )
        };
        Ok(0)
    })
}

/// Sets what the environment can set, in its place. Call it before the first connection is let go of.
///
/// Returns 0, or -1 with `errno`: EINVAL (`config` is NULL, its `size` is not this structure's, or a value is out of
/// range: nothing was changed), EBUSY (connections have already lingered). Thread-safe.
///
/// # Safety
/// `config` is NULL or points to `config->size` readable bytes, aligned as the structure.
#[no_mangle]
pub unsafe extern "C" fn linger_configure(config: *const linger_config) -> c_int {
    boundary(|| {
        if config.is_null() {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: not null; the caller vouches for the size field at least.
        let size = unsafe { core::ptr::addr_of!((*config).size).read() };
        if size != core::mem::size_of::<linger_config>() {
            return Err(Errno(libc::EINVAL));
        }
        engine::enter();
        if config::in_use() {
            return Err(Errno(libc::EBUSY));
        }
        // SAFETY: the size is the structure's own.
        let c = unsafe { config.read() };
        let set = |value: i64| (value >= 0).then_some(value);
        let request = config::Request {
            timeout_ms: set(c.timeout_ms.into()),
            idle_ms: set(c.idle_ms.into()),
            max_ms: set(c.max_ms.into()),
            exit_ms: set(c.exit_ms.into()),
            max_bytes: set(c.max_bytes),
            max_rate: set(c.max_rate),
            max_per_peer: set(c.max_per_peer.into()),
            max_connections: set(c.max_connections.into()),
            when: set(c.when.into()),
            side: set(c.side.into()),
            log: set(c.log.into()),
        };
        if config::apply(&request) {
            Ok(0)
        } else {
            Err(Errno(libc::EINVAL))
        }
    })
}

/// The version of the library that is loaded, such as "0.1.0": a static string. Compare with `LINGER_VERSION_*` of the
/// header. Thread-safe and async-signal-safe.
#[no_mangle]
pub extern "C" fn linger_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// 1 where liblinger.so is preloaded and close() itself lingers in this process, else 0. Thread-safe and
/// async-signal-safe.
#[no_mangle]
pub extern "C" fn linger_shim_active() -> c_int {
    c_int::from(engine::shim_active())
}
