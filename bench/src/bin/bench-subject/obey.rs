//! A program that accepts connections and lets go of them when it is told to, a line on its standard input at a time.
//!
//! It holds no memory for a connection that it has let go of, so what its memory gains is liblinger's.

use std::ffi::c_int;
use std::io::{self, BufRead, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use anyhow::{bail, ensure, Context, Result};
use linger_bench::commanded::Way;

use crate::interface::Interface;
use crate::server::{close, listen};

/// Connections it can hold at once.
const ROOM: usize = 32_768;

/// What it answers in a burst: a small response.
static RESPONSE: [u8; 1024] = [b'r'; 1024];

struct Obedient {
    listener: TcpListener,
    interface: Interface,
    held: Vec<RawFd>,
    /// Of each call; kept, so that no memory is gained while something is measured.
    times: Vec<u64>,
    /// How often the thread went to sleep in these calls.
    sleeps: i64,
    said: String,
}

/// Prints `listening ADDRESS` and obeys until its standard input ends.
pub(crate) fn obey() -> Result<()> {
    let listener = listen(([127, 0, 0, 1], 0).into())?;
    println!("listening {}", listener.local_addr()?);
    let mut obedient = Obedient {
        listener,
        interface: Interface::find()?,
        held: touched(ROOM, 0),
        times: touched(ROOM, 0),
        sleeps: 0,
        said: String::with_capacity(ROOM * 12),
    };
    let mut line = String::with_capacity(256);
    let mut commands = io::stdin().lock();
    loop {
        line.clear();
        if commands.read_line(&mut line)? == 0 {
            return Ok(());
        }
        obedient.play(line.trim_end())?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", obedient.said)?;
        out.flush()?;
    }
}

/// Empty, with room in memory that the process has already.
fn touched<T: Clone>(room: usize, value: T) -> Vec<T> {
    let mut vec = vec![value; room];
    std::hint::black_box(&mut vec).clear();
    vec
}

impl Obedient {
    fn play(&mut self, line: &str) -> Result<()> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, "0"));
        let count: usize = rest.parse().with_context(|| format!("{line:?}"))?;
        self.said.clear();
        match command {
            "accept" => self.accept(count)?,
            "answer" => self.answer(count)?,
            "accept-and-close" => self.accept_and_close(count)?,
            "sleeps" => self.said = self.sleeps.to_string(),
            "stats" => self.said = serde_json::to_string(&self.interface.statistics())?,
            _ => {
                let way = [Way::Close, Way::ShutdownClose, Way::LingerClose];
                match way.into_iter().find(|way| way.word() == command) {
                    Some(Way::Close) => self.let_go(count, close)?,
                    Some(Way::ShutdownClose) => self.let_go(count, shutdown_close)?,
                    Some(Way::LingerClose) => self.let_go(count, self.interface.linger_close()?)?,
                    None => bail!("{line:?} is not understood"),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, count: usize) -> Result<()> {
        ensure!(self.held.len() + count <= ROOM, "no room for {count} more");
        for _ in 0..count {
            self.held.push(self.listener.accept().context("accept")?.0.into_raw_fd());
        }
        self.said.push_str("done");
        Ok(())
    }

    /// Reads some of what the last `count` have said, and answers; the rest stays unread.
    fn answer(&mut self, count: usize) -> Result<()> {
        let mut piece = [0u8; 100];
        for fd in self.held.iter().rev().take(count) {
            // SAFETY: the buffers are as long as is said.
            let (read, sent) = unsafe {
                let read = libc::recv(*fd, piece.as_mut_ptr().cast(), piece.len(), 0);
                (read, libc::send(*fd, RESPONSE.as_ptr().cast(), RESPONSE.len(), libc::MSG_NOSIGNAL))
            };
            ensure!(read == 100 && sent == 1024, "read {read}, sent {sent}: {}", io::Error::last_os_error());
        }
        self.said.push_str("done");
        Ok(())
    }

    /// Says as JSON how long each call took.
    fn let_go(&mut self, count: usize, way: impl Fn(RawFd) -> c_int) -> Result<()> {
        self.times.clear();
        self.sleeps = -sleeps()?;
        for _ in 0..count {
            let fd = self.held.pop().context("no connection is left")?;
            let before = nanoseconds(libc::CLOCK_MONOTONIC);
            let failed = way(fd) != 0;
            self.times.push(nanoseconds(libc::CLOCK_MONOTONIC) - before);
            ensure!(!failed, "a call failed: {}", io::Error::last_os_error());
        }
        self.sleeps += sleeps()?;
        use std::fmt::Write;
        self.said.push('[');
        for (n, time) in self.times.iter().enumerate() {
            write!(self.said, "{}{time}", if n == 0 { "" } else { "," })?;
        }
        self.said.push(']');
        Ok(())
    }

    /// Says how many nanoseconds of its thread's processor time an accept and close took, on average.
    fn accept_and_close(&mut self, count: usize) -> Result<()> {
        let listener = self.listener.as_raw_fd();
        let before = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID);
        for _ in 0..count {
            // SAFETY: no address is asked for.
            let fd = unsafe { libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut()) };
            ensure!(fd >= 0 && close(fd) == 0, "accept or close: {}", io::Error::last_os_error());
        }
        let spent = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID) - before;
        self.said = (spent as f64 / count as f64).to_string();
        Ok(())
    }
}

fn shutdown_close(fd: RawFd) -> c_int {
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
    close(fd)
}

/// How often this thread has gone to sleep of its own will (getrusage(2)): what blocks, does.
fn sleeps() -> Result<i64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure lives until the call returns, and all zeroes is a value of it.
    let (failed, usage) =
        unsafe { (libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) != 0, usage.assume_init()) };
    ensure!(!failed, "getrusage: {}", io::Error::last_os_error());
    Ok(usage.ru_nvcsw)
}

pub(crate) fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives until the call returns. These clocks exist, so it cannot fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
