//! The program itself: it accepts connections and closes them, a line on its standard input at a time.
//!
//! After its start it allocates nothing but for `time`, so that whatever memory it gains is somebody else's.

use std::ffi::c_int;
use std::io::{self, BufRead, Write};
use std::net::TcpListener;
use std::os::fd::{IntoRawFd, RawFd};
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use super::Timing;
use crate::interface::Interface;

/// Connections it can hold at once.
const ROOM: usize = 8192;

/// How much is offered to a connection that takes all it can.
static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Listens on a port that the kernel chooses, prints `listening ADDRESS`, and does as it is told until its standard
/// input ends. `library` is loaded, for a program that does not preload it.
///
/// # Errors
///
/// If it cannot listen, or does not understand.
pub fn run(library: Option<&Path>) -> Result<()> {
    let interface = Interface::find(library)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut held = Vec::with_capacity(ROOM);
    let mut line = String::with_capacity(256);
    let mut commands = io::stdin().lock();
    answer(format_args!("listening {}", listener.local_addr()?))?;
    loop {
        line.clear();
        if commands.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_ascii_whitespace();
        let command = words.next().unwrap_or_default();
        let number: usize = words.next().unwrap_or("0").parse().context("a number")?;
        match command {
            "accept" => accept(&listener, number, &mut held)?,
            "fill" => fill(&held, number)?,
            "close" => let_go(&mut held, number, close)?,
            "linger_close" => let_go(&mut held, number, interface.linger_close()?)?,
            "limit" => limit_descriptors(number as u64)?,
            "pending" => answer(format_args!("{}", interface.pending()))?,
            "stats" => answer(format_args!("{}", serde_json::to_string(&interface.statistics()?)?))?,
            "active" => answer(format_args!("{}", interface.active()))?,
            "processor" => answer(format_args!("{}", nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID)))?,
            "time" => time(&mut held, number, close)?,
            "time_linger_close" => time(&mut held, number, interface.linger_close()?)?,
            _ => bail!("{line:?} is not understood"),
        }
    }
}

fn answer(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn accept(listener: &TcpListener, count: usize, held: &mut Vec<RawFd>) -> Result<()> {
    ensure!(held.len() + count <= ROOM, "no room for {count} more");
    for _ in 0..count {
        held.push(listener.accept().context("accept")?.0.into_raw_fd());
    }
    answer(format_args!("done"))?;
    Ok(())
}

/// Writes to the last `count` connections until nothing more goes, and says how many bytes went to each.
fn fill(held: &[RawFd], count: usize) -> Result<()> {
    let mut out = io::stdout().lock();
    for fd in held.iter().skip(held.len().saturating_sub(count)) {
        let mut written = 0;
        loop {
            // SAFETY: the piece is as long as is said.
            let sent = unsafe { libc::send(*fd, PIECE.as_ptr().cast(), PIECE.len(), libc::MSG_DONTWAIT) };
            match usize::try_from(sent) {
                Ok(sent) => written += sent,
                Err(_) => break,
            }
        }
        write!(out, "{written} ")?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Lets go of the last `count` connections, and says how many of the calls failed.
fn let_go(held: &mut Vec<RawFd>, count: usize, way: impl Fn(RawFd) -> c_int) -> Result<()> {
    let mut failed = 0;
    for _ in 0..count {
        let fd = held.pop().context("no connection is left")?;
        failed += usize::from(way(fd) != 0);
    }
    answer(format_args!("{failed}"))?;
    Ok(())
}

/// The same, and says as JSON how long each call took.
fn time(held: &mut Vec<RawFd>, count: usize, way: impl Fn(RawFd) -> c_int) -> Result<()> {
    let mut calls_ns = Vec::with_capacity(count);
    let processor_before = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID);
    for _ in 0..count {
        let fd = held.pop().context("no connection is left")?;
        let before = nanoseconds(libc::CLOCK_MONOTONIC);
        let failed = way(fd) != 0;
        calls_ns.push(nanoseconds(libc::CLOCK_MONOTONIC) - before);
        ensure!(!failed, "a call failed: {}", io::Error::last_os_error());
    }
    let caller_processor_ns = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID) - processor_before;
    let timing = Timing { calls_ns, caller_processor_ns };
    answer(format_args!("{}", serde_json::to_string(&timing)?))?;
    Ok(())
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives until the call returns. These clocks exist, so it cannot fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Through libc, and so through whatever is preloaded.
fn close(fd: RawFd) -> c_int {
    // SAFETY: the number came from accept and is used no more.
    unsafe { libc::close(fd) }
}

fn limit_descriptors(limit: u64) -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum })?;
    answer(format_args!("done"))?;
    Ok(())
}
