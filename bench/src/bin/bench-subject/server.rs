//! A bare epoll server: it reads once from each connection, answers once, and closes. What it costs is what the kernel
//! costs, so nothing hides what liblinger adds.
//!
//! It closes without `EPOLL_CTL_DEL`, as nginx and HAProxy do; before `linger_close()` it does as linger.h demands.

use std::ffi::c_int;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use linger_bench::peers::{Answer, Closing, REFUSAL};
use rustix::net::{AddressFamily, SocketType};

use crate::interface::Interface;
use crate::set::Set;

/// As many connections as wait for an ordinary server at most.
const BACKLOG: i32 = 4096;

/// Apache prefork reads so many bytes at a time, waits so long for each, and so long altogether.
const PREFORK: (usize, Duration, Duration) = (512, Duration::from_secs(2), Duration::from_secs(30));

/// Serves for ever.
pub(crate) fn serve(address: SocketAddr, answer: Answer, closing: Closing) -> Result<()> {
    let listener = listen(address)?;
    match closing {
        Closing::Close => serve_with(&listener, answer, |_, fd| {
            close(fd);
        }),
        Closing::LingerClose => {
            let linger_close = Interface::find()?.linger_close()?;
            serve_with(&listener, answer, move |set, fd| {
                set.remove(fd);
                linger_close(fd);
            })
        }
        Closing::Prefork => serve_with(&listener, answer, |set, fd| {
            set.remove(fd);
            // SAFETY: nobody else owns the number.
            let stream = unsafe { TcpStream::from_raw_fd(fd) };
            // Without a thread it is closed at once, as Apache does when it has no process left.
            let _ = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || linger(&stream));
        }),
    }
}

/// At this address, with a queue for a crowd.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address).with_context(|| format!("bind {address}"))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Through libc, and so through whatever is preloaded.
pub(crate) fn close(fd: RawFd) -> c_int {
    // SAFETY: whoever calls this owns the number and uses it no more.
    unsafe { libc::close(fd) }
}

fn serve_with(listener: &TcpListener, answer: Answer, let_go: impl Fn(&Set, RawFd)) -> Result<()> {
    listener.set_nonblocking(true)?;
    let mut set = Set::new()?;
    let listening = listener.as_raw_fd();
    set.add(listening)?;
    let mut piece = [0; 4096];
    loop {
        for n in 0..set.wait()? {
            let fd = set.ready(n);
            if fd == listening {
                accept_all(listener, &set)?;
                continue;
            }
            // SAFETY: the buffers are as long as is said; the number is open until let_go.
            let read = unsafe { libc::recv(fd, piece.as_mut_ptr().cast(), piece.len(), 0) };
            let said = usize::try_from(read).ok().and_then(|length| piece.get(..length)).unwrap_or_default();
            let say = match answer {
                Answer::Echo => said,
                Answer::Refusal => REFUSAL.as_bytes(),
            };
            // SAFETY: as above.
            unsafe { libc::send(fd, say.as_ptr().cast(), say.len(), libc::MSG_NOSIGNAL) };
            let_go(&set, fd);
        }
    }
}

/// With libc's accept4, so that whatever is preloaded sees it.
fn accept_all(listener: &TcpListener, set: &Set) -> Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        };
        stream.set_nonblocking(true)?;
        set.add(stream.as_raw_fd())?;
        let _ = stream.into_raw_fd();
    }
}

/// As `ap_lingering_close` does it, blocking.
fn linger(stream: &TcpStream) {
    let (length, quiet, altogether) = PREFORK;
    let started = Instant::now();
    let mut piece = vec![0; length];
    if stream.shutdown(Shutdown::Write).is_err()
        || stream.set_nonblocking(false).is_err()
        || stream.set_read_timeout(Some(quiet)).is_err()
    {
        return;
    }
    while started.elapsed() < altogether {
        match std::io::Read::read(&mut &*stream, &mut piece) {
            Ok(length) if length > 0 => {}
            _ => return,
        }
    }
}
