//! Peers that connect and do what they are told, a line on the standard input at a time.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use linger_bench::load::Tally;
use linger_testbed::DEADLINE;
use rustix::net::{AddressFamily, SocketType};

/// A request that nobody reads all of.
static REQUEST: [u8; 300] = [b'q'; 300];

/// What is answered to it.
const RESPONSE: usize = 1024;

/// Obeys until the standard input ends.
pub(crate) fn obey(source: Ipv4Addr) -> Result<()> {
    let mut clients: Vec<TcpStream> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let said = match command {
            "join" => {
                let server = words.next().context("whom to join")?.parse()?;
                let count: usize = words.next().context("how many")?.parse()?;
                for _ in 0..count {
                    clients.push(connect(source, server)?);
                }
                "done".to_owned()
            }
            "leave" => {
                let count: usize = words.next().context("how many")?.parse()?;
                clients.truncate(clients.len().saturating_sub(count));
                "done".to_owned()
            }
            "speak" => {
                let count: usize = words.next().context("how many")?.parse()?;
                for client in clients.iter_mut().rev().take(count) {
                    client.write_all(&REQUEST)?;
                }
                "done".to_owned()
            }
            "hear" => serde_json::to_string(&hear(&mut clients)?)?,
            _ => bail!("{line:?} is not understood"),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{said}")?;
        out.flush()?;
    }
    Ok(())
}

fn connect(source: Ipv4Addr, server: SocketAddr) -> Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((source, 0))).context("bind")?;
    rustix::net::connect(&socket, &server).context("connect")?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Everybody reads to the end and closes.
fn hear(clients: &mut Vec<TcpStream>) -> Result<Tally> {
    let started = Instant::now();
    let mut tally = Tally::default();
    for mut client in clients.drain(..) {
        let mut heard = 0;
        let mut piece = [0; 4096];
        loop {
            match client.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => heard += length,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    tally.resets += 1;
                    break;
                }
                Err(error) => return Err(error).context("read"),
            }
        }
        ensure!(heard <= RESPONSE, "too much was answered");
        tally.done += 1;
        tally.incomplete += u64::from(heard < RESPONSE);
    }
    tally.nanoseconds = started.elapsed().as_nanos() as u64;
    Ok(tally)
}
