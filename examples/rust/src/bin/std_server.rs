//! A thread for each client, with std alone: a wrapper lets go of the connection however the thread is done with it.
//!
//! std_server [--plain-close]: serves until SIGTERM or SIGINT.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use linger_examples::{answer, head_ends, plain_close};

/// A connection that lingers when it is dropped: by `?`, by a panic, and at the end of its scope.
struct Connection(Option<TcpStream>);

impl Connection {
    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.0.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(stream) = self.0.take() else { return };
        if plain_close() {
            return drop(stream);
        }
        // Returns at once. It takes the stream, so nothing can use it afterwards; a clone made with try_clone() would be
        // cut off from sending, and must be gone by now.
        if let Err(error) = linger::close(stream, Duration::from_secs(30)) {
            eprintln!("linger::close: {error}");
        }
    }
}

fn serve(mut connection: Connection) -> io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head_ends(&head) {
        match connection.stream()?.read(&mut piece)? {
            0 => return Ok(()),
            bytes => head.extend_from_slice(&piece[..bytes]),
        }
    }
    connection.stream()?.write_all(&answer())
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("listening on {}", listener.local_addr()?);

    let stopping = Arc::new(AtomicBool::new(false));
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    let (address, stop) = (listener.local_addr()?, stopping.clone());
    thread::spawn(move || {
        signals.forever().next();
        stop.store(true, Ordering::SeqCst);
        // Wakes accept() below.
        drop(TcpStream::connect(address));
    });

    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        let connection = Connection(Some(stream?));
        thread::spawn(move || {
            if let Err(error) = serve(connection) {
                eprintln!("{error}");
            }
        });
    }
    drop(listener);
    // What lingers is in this process and ends with it: wait, but not for ever.
    let left = linger::flush(Duration::from_secs(5));
    if left > 0 {
        eprintln!("{left} connections had not ended");
    }
    Ok(())
}
