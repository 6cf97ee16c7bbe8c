//! How much processor time `close(2)` takes of what never lingers: files, pipes, Unix sockets, connections of a client.
//!
//! Many numbers are opened first, so that nothing but closes lies between two looks at the clock. It is the thread's
//! processor clock: what other programs take meanwhile is not in it.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;

use anyhow::{ensure, Context, Result};
use linger_bench::figures::untouched::Kind;

use crate::obey::nanoseconds;
use crate::server::close;

/// Prints the nanoseconds of a call as JSON, one number for each batch.
pub(crate) fn time(kind: Kind, server: Option<SocketAddr>, batches: usize, each: usize) -> Result<()> {
    let mut times = Vec::with_capacity(batches);
    for _ in 0..batches {
        let numbers = open(kind, server, each)?;
        let before = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID);
        let failed = numbers.iter().filter(|fd| close(**fd) != 0).count();
        let spent = nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID) - before;
        ensure!(failed == 0, "close: {}", io::Error::last_os_error());
        times.push(spent as f64 / numbers.len() as f64);
    }
    println!("{}", serde_json::to_string(&times)?);
    Ok(())
}

fn open(kind: Kind, server: Option<SocketAddr>, each: usize) -> Result<Vec<RawFd>> {
    let mut numbers = Vec::with_capacity(each + 1);
    while numbers.len() < each {
        match kind {
            Kind::File => numbers.push(File::open("/dev/null")?.into_raw_fd()),
            Kind::Pipe => {
                let mut ends = [0; 2];
                // SAFETY: two numbers are written.
                let failed = unsafe { libc::pipe(ends.as_mut_ptr()) } != 0;
                ensure!(!failed, "pipe: {}", io::Error::last_os_error());
                numbers.extend(ends);
            }
            Kind::UnixSocket => {
                let (one, other) = UnixStream::pair()?;
                numbers.extend([one.into_raw_fd(), other.into_raw_fd()]);
            }
            Kind::Client => {
                let mut stream = TcpStream::connect(server.context("--address is missing")?)?;
                // The server's end is closed then, and nobody else works while ours is timed.
                ensure!(stream.read(&mut [0])? == 0, "the server says something");
                numbers.push(stream.into_raw_fd());
            }
        }
    }
    Ok(numbers)
}
