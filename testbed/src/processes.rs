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

    /// Waits until exactly one process holds the server's end of the connection.
    ///
    /// # Errors
    ///
    /// If none or several still do after [`DEADLINE`].
    pub fn holding_alone(server: SocketAddr, client: SocketAddr) -> Result<Self> {
        let started = Instant::now();
        loop {
            let holders = holders(server, client)?;
            if let [pid] = holders[..] {
                return Self::with_number(pid);
            }
            if started.elapsed() > DEADLINE {
                bail!("processes {holders:?} hold the connection");
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

/// The processes with a descriptor of the server's end of the connection.
fn holders(server: SocketAddr, client: SocketAddr) -> Result<Vec<i32>> {
    let Some(inode) = inode(server, client)? else {
        return Ok(Vec::new());
    };
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let is_it =
            |link: std::path::PathBuf| fs::read_link(link).is_ok_and(|it| it.as_os_str() == socket.as_str());
        descriptors.any(|link| is_it(link.path())).then_some(pid)
    });
    Ok(processes.collect())
}

/// The number of the socket on the server's end, as /proc/PID/fd shows it.
fn inode(server: SocketAddr, client: SocketAddr) -> Result<Option<u64>> {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").context("read net/tcp")?;
    let ends = [port_in_table(server), port_in_table(client)];
    let line = table.lines().skip(1).find(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        ends.iter().all(|end| words.next().is_some_and(|word| word.ends_with(end)))
    });
    let inode = |line: &str| line.split_ascii_whitespace().nth(9)?.parse().ok();
    line.map(|line| inode(line).with_context(|| format!("net/tcp says {line:?}"))).transpose()
}

fn port_in_table(address: SocketAddr) -> String {
    format!(":{:04X}", address.port())
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
