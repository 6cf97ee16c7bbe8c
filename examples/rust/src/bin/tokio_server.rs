//! tokio: a task for each client. The stream leaves the runtime before it is let go of, and the task is told how it ended.
//!
//! tokio_server [--plain-close]: serves until SIGTERM or SIGINT. Says on stderr how each connection ended.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::task::JoinSet;
use tokio::time::timeout;

use linger_examples::{answer, head_ends, plain_close, HEAD_BYTES};

/// `into_std` removes the stream from tokio's epoll set: the connection lives on in the library for a while, and its
/// registration would with it. That it stays non-blocking does not matter.
///
/// Where the stream was split with `into_split`, `reunite` it first. Who does not ask how it ended calls `linger::close` in place
/// of all this.
async fn let_go(stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let stream = stream.into_std()?;
    if plain_close() {
        drop(stream);
        return Ok(());
    }
    // Never blocks, so a task may call it. From here on the task holds a report, not the connection.
    let report = linger::close_reporting(stream, None)?;
    // SAFETY: a report owns its descriptor, and keeps it until it is dropped.
    let lingering = unsafe { AsyncFd::register_with_interest(report, Interest::READABLE) }?;
    let outcome = lingering.async_io(Interest::READABLE, ended).await?;
    eprintln!("{peer}: {}", outcome.name());
    Ok(())
}

/// How it ended. Until then it would block, which has `async_io` wait.
fn ended(lingering: &linger::Lingering) -> io::Result<linger::Outcome> {
    lingering.outcome()?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    while !head_ends(&head) {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            bytes => head.extend_from_slice(&piece[..bytes]),
        }
    }
    // Returns when the kernel has the last byte, not the client. `shutdown().await` would send FIN and not wait either.
    stream.write_all(&answer()).await
}

async fn serve((mut stream, peer): (TcpStream, SocketAddr)) {
    let answered = refuse(&mut stream).await;
    // On errors, too: what was written before one may still be on its way.
    if let Err(error) = answered.and(let_go(stream, peer).await) {
        eprintln!("{error}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("listening on {}", listener.local_addr()?);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tasks.spawn(serve(accepted?))),
            // A set keeps what has ended until it is asked.
            Some(_) = tasks.join_next() => {}
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    // What lingers is in this process and ends with it. Each has a task that waits for its end: wait for these, but not for
    // ever. Without such tasks, `linger::flush` in `spawn_blocking`.
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(Duration::from_secs(5), all).await.is_err() {
        eprintln!("{} connections had not ended", linger::pending());
    }
    Ok(())
}
