//! `every-way`: a server that answers each request and lets go of its connection in the way the request names, looking
//! closely at what that does to itself. What liblinger is tested with while its system calls fail.
//!
//! A request is one line, `WAY ID BYTES`. When it has let go of the connection the program says `gone ID`; what it finds
//! wrong it says as `wrong ...`. There are three requests without a connection to let go of: `look` has it wait until nothing
//! lingers; `report`, that too, and say what it counted and which descriptors are its own; `end`, return from main with the
//! connections it was told to `keep`.
//!
//! What it holds is for others to look up in /proc: it asks the kernel for nothing that a careful program may have forbidden
//! itself, but where a way needs it.

mod answer;
mod interface;
mod precautions;
mod report;
mod ways;

use std::ffi::c_int;
use std::os::fd::IntoRawFd;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use ways::Server;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("every-way: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("listen")?;
    let address = listener.local_addr()?;
    let mut server = Server::new(listener.into_raw_fd())?;
    if let Some(free) = std::env::var_os("EVERY_WAY_FREE_DESCRIPTORS") {
        let free = free.to_str().context("a number")?.parse()?;
        server.leave_free(free)?;
    }
    say(&format!("listening {address}"));
    loop {
        let connection = server.accept()?;
        let request = read_line(connection)?;
        if matches!(&*request, "look" | "report" | "end") {
            // SAFETY: a number of ours.
            unsafe { libc::close(connection) };
            match &*request {
                // What is kept goes with the process.
                "end" => return Ok(()),
                "look" => say(&format!("looked {}", report::make(&mut server).pending)),
                _ => say(&format!("report {}", serde_json::to_string(&report::make(&mut server))?)),
            }
            continue;
        }
        let mut words = request.split(' ');
        let (Some(way), Some(id), Some(bytes)) = (words.next(), words.next(), words.next()) else {
            bail!("{request:?} is not understood");
        };
        server.serve(connection, way, id.parse()?, bytes.parse()?)?;
    }
}

fn read_line(connection: c_int) -> Result<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = 0u8;
        // SAFETY: room for one byte.
        if unsafe { libc::read(connection, (&raw mut byte).cast(), 1) } != 1 {
            bail!("no request: {}", std::io::Error::last_os_error());
        }
        if byte == b'\n' {
            return Ok(String::from_utf8(line)?);
        }
        line.push(byte);
    }
}

/// One line, with one write(2): children say things, too.
fn say(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: the kernel reads a live slice.
    unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
}
