//! tokio: a task for each client. The stream leaves the runtime before it is let go of.
//!
//! tokio_server [--plain-close]: serves until SIGTERM or SIGINT.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};

use linger_examples::{answer, head_ends, plain_close, HEAD_BYTES};

/// `into_std` removes the stream from tokio's epoll set: the connection lives on in the library for a while, and its
/// registration would with it. That it stays non-blocking does not matter.
///
/// `linger::close` never blocks, so a task may call it. Where the stream was split with `into_split`, `reunite` it first.
fn let_go(stream: TcpStream) -> io::Result<()> {
    let stream = stream.into_std()?;
    if plain_close() {
        drop(stream);
        return Ok(());
    }
    linger::close(stream, None)
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

async fn serve(mut stream: TcpStream) {
    let answered = refuse(&mut stream).await;
    // On errors, too: what was written before one may still be on its way.
    if let Err(error) = answered.and(let_go(stream)) {
        eprintln!("{error}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tokio::spawn(serve(accepted?.0))),
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    // Blocks, so not in a task of its own right.
    let left = tokio::task::spawn_blocking(|| linger::flush(Duration::from_secs(5))).await?;
    if left > 0 {
        eprintln!("{left} connections had not ended");
    }
    Ok(())
}
