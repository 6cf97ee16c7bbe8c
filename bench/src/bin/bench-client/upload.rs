//! Uploads that nobody wants: one of any size, an endless one, and many ordinary ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use linger_bench::figures::upload::Upload;
use linger_testbed::DEADLINE;
use rustix::event::{epoll, Timespec};

/// Offered at a time.
static PIECE: [u8; 256 * 1024] = [b'u'; 256 * 1024];

/// What an ordinary client offers the kernel before it waits: a small part of its upload.
const SEND_BUFFER: usize = 32 * 1024;

fn announce(server: SocketAddr, bytes: u64) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).context("connect")?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    write!(stream, "PUT /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n")?;
    Ok(stream)
}

/// Sends so many bytes, half-closes, and reads the refusal.
pub(crate) fn one(server: SocketAddr, bytes: u64) -> Result<Upload> {
    let mut stream = announce(server, bytes)?;
    let mut upload = Upload::default();
    while upload.taken < bytes {
        let length = PIECE.len().min((bytes - upload.taken) as usize);
        match stream.write(&PIECE[..length]) {
            Ok(length) => upload.taken += length as u64,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => return Err(error).context("send"),
        }
    }
    // Fails where the server has reset the connection; what arrived before is still there.
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    upload.refused = ended.is_ok() && is_whole(&answer);
    Ok(upload)
}

/// A 413 with as much body as it announces; some servers announce none and close.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    head.starts_with("HTTP/1.1 413") && body.len() >= announced.unwrap_or(0)
}

/// Sends for ever; says when it flows.
pub(crate) fn firehose(server: SocketAddr) -> Result<()> {
    let mut stream = announce(server, u64::MAX >> 1)?;
    let mut taken = 0;
    while taken < 64 << 20 {
        taken += stream.write(&PIECE)?;
    }
    println!("flowing");
    loop {
        stream.write_all(&PIECE)?;
    }
}

/// One of many.
struct Ordinary {
    stream: TcpStream,
    taken: usize,
}

/// `count` uploads at once; the milliseconds after which each was taken.
pub(crate) fn many(server: SocketAddr, count: usize, bytes: usize) -> Result<Vec<f64>> {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut uploads = Vec::with_capacity(count);
    for number in 0..count {
        let stream = announce(server, bytes as u64)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER)?;
        stream.set_nonblocking(true)?;
        epoll::add(&set, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::OUT)?;
        uploads.push(Some(Ordinary { stream, taken: 0 }));
    }
    let started = Instant::now();
    let mut times = Vec::with_capacity(count);
    let mut events = Vec::with_capacity(256);
    while times.len() < count {
        events.clear();
        let timeout = Timespec::try_from(DEADLINE)?;
        let ready = epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
        ensure!(ready > 0, "{} of {count} uploads are not taken", count - times.len());
        for event in &events {
            let number = event.data.u64() as usize;
            let Some(upload) = &mut uploads[number] else { continue };
            if upload.go_on(bytes)? {
                times.push(started.elapsed().as_secs_f64() * 1000.0);
                if let Some(upload) = uploads[number].take() {
                    upload.conclude()?;
                }
            }
        }
    }
    Ok(times)
}

impl Ordinary {
    /// Whether all of it was taken. A piece at a time, so that all of them go on.
    fn go_on(&mut self, bytes: usize) -> Result<bool> {
        let length = (bytes - self.taken).min(SEND_BUFFER);
        match self.stream.write(&PIECE[..length]) {
            Ok(length) => self.taken += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => bail!("after {} bytes: {error}", self.taken),
        }
        Ok(self.taken == bytes)
    }

    fn conclude(mut self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_nonblocking(false)?;
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer)?;
        ensure!(is_whole(&answer), "the refusal did not arrive whole");
        Ok(())
    }
}
