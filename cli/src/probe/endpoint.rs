//! Where to connect, found out once, and how a connection is made there.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{connect, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

use super::secure::Secure;
use super::target::Target;
use super::trouble::{Kind, Trouble};

/// A server that can be connected to.
#[derive(Debug, Clone)]
pub struct Endpoint {
    addresses: Vec<SocketAddr>,
    /// HOST:PORT, for messages.
    pub authority: String,
    /// How TLS is begun, where it is.
    pub secure: Option<Secure>,
    /// How long nothing may happen.
    pub timeout: Duration,
}

impl Endpoint {
    /// Resolves the name and prepares TLS.
    pub fn find(target: &Target, insecure: bool, timeout: Duration) -> Result<Endpoint, Trouble> {
        let unknown = |why: String| {
            let line = format!("{}: no such host ({why}): check the name, or give an address", target.host);
            Trouble::new(Kind::UnknownHost, line)
        };
        let addresses: Vec<_> = (target.host.as_str(), target.port)
            .to_socket_addrs()
            .map_err(|error| unknown(resolver_words(&error)))?
            .collect();
        if addresses.is_empty() {
            return Err(unknown("it has no address".to_owned()));
        }
        let secure = target.tls.then(|| Secure::with(&target.host, insecure)).transpose()?;
        Ok(Endpoint { addresses, authority: target.authority(), secure, timeout })
    }

    /// A non-blocking socket, connected to the first address that answers. `receive_buffer` is set before the SYN,
    /// which settles how large the window can become.
    pub fn connect(&self, receive_buffer: Option<usize>) -> Result<TcpStream, Trouble> {
        let mut last = None;
        for &address in &self.addresses {
            match open(address, receive_buffer, self.timeout) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| io::Error::from(Errno::HOSTUNREACH));
        let (kind, advice) = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                (Kind::ConnectionRefused, "nobody listens there: start the server, or check the port")
            }
            io::ErrorKind::TimedOut => (Kind::Unreachable, "no connection: check address and firewall"),
            _ => (Kind::Unreachable, "check the address"),
        };
        Err(Trouble::new(kind, format!("{}: {}; {advice}", self.authority, words(&error))))
    }
}

/// The error's own words, without the number that Rust adds.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn resolver_words(error: &io::Error) -> String {
    words(error).trim_start_matches("failed to lookup address information: ").to_owned()
}

fn open(address: SocketAddr, receive_buffer: Option<usize>, timeout: Duration) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(bytes) = receive_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?;
    match connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            if !becomes_ready(&socket, PollFlags::OUT, timeout)? {
                return Err(io::Error::from(Errno::TIMEDOUT));
            }
        }
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.take_error()?.map_or(Ok(stream), Err)
}

/// Waits for one of `interest`; a signal only makes it look again.
pub fn becomes_ready(
    socket: &impl std::os::fd::AsFd,
    interest: PollFlags,
    time: Duration,
) -> io::Result<bool> {
    let started = Instant::now();
    loop {
        let left = Timespec::try_from(time.saturating_sub(started.elapsed())).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(socket, interest)];
        match poll(&mut fds, Some(&left)) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}
