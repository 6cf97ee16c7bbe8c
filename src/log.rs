//! Messages on stderr: off by default, one line each, written with one write(2).
//!
//! **Promises:** no allocation, no lock, `errno` untouched; safe in a signal handler. Nothing is written when
//! descriptor 2 is a connection (a program started by inetd has its client there).

use crate::config;
use crate::sys::{self, process, socket};
use core::fmt::{Arguments, Write};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// A line of at most 512 bytes; what is longer is cut.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length).filter(|_| self.length < 511) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Where the drain thread finds stderr: its own table has none, unless messages were asked for.
static THREAD_STDERR: AtomicI32 = AtomicI32::new(-1);

/// Tells the drain thread's messages where to go (a number of its private table), or -1 for nowhere.
pub fn set_thread_stderr(fd: sys::Fd) {
    THREAD_STDERR.store(fd, Relaxed);
}

#[cold]
#[inline(never)]
fn line(fd: sys::Fd, text: Arguments<'_>) {
    let mut line = Line { bytes: [0; 512], length: 0 };
    let _ = line.write_fmt(format_args!("liblinger[{}]: {text}", process::pid()));
    if let Some(end) = line.bytes.get_mut(line.length) {
        *end = b'\n';
    }
    write_unheard(fd, line.bytes.get(..=line.length).unwrap_or(&[]));
}

/// Writes without raising SIGPIPE where nobody reads any more: a message of ours must not end the program.
fn write_unheard(fd: sys::Fd, bytes: &[u8]) {
    let Ok(pending) = process::pending_signals() else { return };
    let Ok(before) = process::blocked_signals() else { return };
    if process::set_blocked_signals(before | BROKEN_PIPE).is_err() {
        return;
    }
    if sys::write(fd, bytes).is_err_and(|e| e.is(libc::EPIPE)) && pending & BROKEN_PIPE == 0 {
        process::take_signal(BROKEN_PIPE);
    }
    let _ = process::set_blocked_signals(before);
}

const BROKEN_PIPE: process::SignalSet = 1 << (libc::SIGPIPE - 1);

/// Whether descriptor 2 is an Internet socket.
fn stderr_is_a_connection() -> bool {
    socket::socket_option(2, libc::SO_DOMAIN)
        .is_ok_and(|domain| domain == libc::AF_INET || domain == libc::AF_INET6)
}

/// A message that is always written: a wrong setting.
pub fn always(text: Arguments<'_>) {
    if !stderr_is_a_connection() {
        line(2, text);
    }
}

/// A message of `LINGER_LOG=info`.
pub fn info(text: Arguments<'_>) {
    if config::log_level() >= 1 {
        always(text);
    }
}

/// Whether `LINGER_LOG=debug` is set.
pub fn debugging() -> bool {
    config::log_level() >= 2
}

/// Whether the drain thread is to write messages, too.
pub fn wanted_from_thread() -> bool {
    debugging() && !stderr_is_a_connection()
}

/// A message of `LINGER_LOG=debug` from a thread of the program.
pub fn debug(text: Arguments<'_>) {
    if debugging() {
        always(text);
    }
}

/// A message of `LINGER_LOG=debug` from the drain thread.
pub fn debug_from_thread(text: Arguments<'_>) {
    let fd = THREAD_STDERR.load(Relaxed);
    if debugging() && fd >= 0 {
        line(fd, text);
    }
}
