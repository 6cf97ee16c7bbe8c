//! Which process holds the server's end of a connection, and when it ends.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use crate::{pause, DEADLINE};

/// Between two looks at the tables of descriptors, which have no event to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A process under observation.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
}

impl Process {
    /// The process with this number.
    ///
    /// # Errors
    ///
    /// If it has ended already.
    pub fn with_number(pid: i32) -> Result<Self> {
        let pid = Pid::from_raw(pid).context("0 is no process")?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).with_context(|| format!("process {pid:?}"))?;
        Ok(Self { pidfd })
    }

    /// Waits until exactly one process holds the server's end of the connection, and it runs `program`.
    ///
    /// # Errors
    ///
    /// If that is not so after [`DEADLINE`].
    pub fn holding_alone(program: &str, server: SocketAddr, client: SocketAddr) -> Result<Self> {
        let started = Instant::now();
        loop {
            let holders = holders(server, client)?;
            if let [pid] = holders[..] {
                if fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|name| name.trim_end() == program)
                {
                    return Self::with_number(pid);
                }
            }
            if started.elapsed() > DEADLINE {
                bail!("processes {holders:?} hold the connection, not one of {program} alone");
            }
            pause(LOOK_AGAIN, "the kernel announces no descriptors of other processes");
        }
    }

    /// Whether it has ended by now.
    ///
    /// # Errors
    ///
    /// If it cannot be observed.
    pub fn has_ended(&self) -> Result<bool> {
        self.ends_within(Duration::ZERO)
    }

    /// Waits for its end; false if it has not come after [`DEADLINE`].
    ///
    /// # Errors
    ///
    /// If it cannot be observed.
    pub fn ends(&self) -> Result<bool> {
        self.ends_within(DEADLINE)
    }

    fn ends_within(&self, time: Duration) -> Result<bool> {
        let timeout = Timespec::try_from(time)?;
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        Ok(poll(&mut fds, Some(&timeout))? > 0)
    }
}

/// Waits until no process has a descriptor of any connection to `server`: a half-close alone shows as a state of the
/// socket, this only after `close`. The shim's drain thread is such a holder.
///
/// # Errors
///
/// If one still has after [`DEADLINE`].
pub fn wait_until_nobody_holds(server: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while let Some(held) = ends_at(server)?.into_iter().find(|end| end.inode != 0 && end.remote_port != 0) {
        if started.elapsed() > DEADLINE {
            bail!("a process holds socket {}", held.inode);
        }
        pause(LOOK_AGAIN, "the kernel announces no close of a socket that is not ours");
    }
    Ok(())
}

/// The processes with a descriptor of the server's end of the connection.
fn holders(server: SocketAddr, client: SocketAddr) -> Result<Vec<i32>> {
    let is_it = |end: &End| end.remote_port == client.port() && end.inode != 0;
    let Some(end) = ends_at(server)?.into_iter().find(is_it) else {
        return Ok(Vec::new());
    };
    let socket = format!("socket:[{}]", end.inode);
    let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let is_it =
            |link: std::path::PathBuf| fs::read_link(link).is_ok_and(|it| it.as_os_str() == socket.as_str());
        descriptors.any(|link| is_it(link.path())).then_some(pid)
    });
    Ok(processes.collect())
}

/// A socket on the server's end.
struct End {
    /// 0 for the listener.
    remote_port: u16,
    /// As /proc/PID/fd shows it; 0 once nobody holds it.
    inode: u64,
}

fn ends_at(server: SocketAddr) -> Result<Vec<End>> {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").context("read net/tcp")?;
    let port = |end: &str| u16::from_str_radix(end.rsplit(':').next()?, 16).ok();
    let end = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local_port, remote_port) = (port(words.next()?)?, port(words.next()?)?);
        let inode = words.nth(6)?.parse().ok()?;
        Some((local_port, End { remote_port, inode }))
    };
    let mut ends = Vec::new();
    for line in table.lines().skip(1) {
        let (local_port, end) = end(line).with_context(|| format!("net/tcp says {line:?}"))?;
        if local_port == server.port() {
            ends.push(end);
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_held_by_its_process() {
        crate::netns::isolated(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            let client = TcpStream::connect(address).expect("connect");
            let _server_end = listener.accept().expect("accept");
            let found = holders(address, client.local_addr().expect("address")).expect("holders");
            assert_eq!(found, [std::process::id() as i32]);
        });
    }

    #[test]
    fn nobody_holds_what_was_closed_though_it_is_not_over() {
        crate::netns::isolated(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            let _client = TcpStream::connect(address).expect("connect");
            drop(listener.accept().expect("accept"));
            wait_until_nobody_holds(address).expect("nobody");
            assert_eq!(ends_at(address).expect("table").len(), 2, "the listener and the closed end");
        });
    }

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("cat");
        let process = Process::with_number(child.id() as i32).expect("process");
        assert!(!process.has_ended().expect("poll"));
        drop(child.stdin.take());
        assert!(process.ends().expect("poll"));
        child.wait().expect("wait");
    }
}
