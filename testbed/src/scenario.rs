//! Three ways in which an ordinary client loses answers to a server that closes plainly.
//!
//! Every server here answers `GET /N` with a body of N bytes of [`crate::pattern`], lets go after
//! [`REQUESTS_SERVED`] requests on a connection, and refuses an upload.

use std::net::SocketAddr;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::answers::Promise;
use crate::buggy;
use crate::client::{Client, Exchange};

/// After how many requests on one connection the servers let go of it.
pub const REQUESTS_SERVED: usize = 10;

/// The body sizes that are asked for.
pub const BODIES: [u64; 3] = [SMALL, PIPELINED, LARGE];

/// Fits into any window: shows that small answers get through, and that resets are sent all the same.
pub const SMALL: u64 = 1_000;
/// Ten of them are far more than the client's window, and fit into a server's send queue.
pub const PIPELINED: u64 = 100_000;
/// Far more than the client's window.
pub const LARGE: u64 = 3_000_000;

const PIPELINE: usize = 100;
const UPLOAD: usize = 8_000_000;

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Sends 100 requests at once; the server closes after 10.
    Pipeline,
    /// Sends several MB; the server refuses with a 413 and closes while they are coming.
    Upload,
    /// Sends one more request in the middle of a large last answer.
    Late,
}

impl Scenario {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Scenario; 3] = [Scenario::Pipeline, Scenario::Upload, Scenario::Late];

    /// What the client may expect.
    #[must_use]
    pub fn promise(self) -> Promise {
        match self {
            Scenario::Pipeline => Promise { answers: REQUESTS_SERVED, status: 200, body: PIPELINED },
            Scenario::Upload => Promise { answers: 1, status: 413, body: buggy::REFUSAL.len() as u64 },
            Scenario::Late => Promise { answers: 1, status: 200, body: LARGE },
        }
    }

    /// Plays the client's part once, against a server that listens.
    ///
    /// # Errors
    ///
    /// If the connection cannot be made or observed. Lost answers are a result, not an error.
    pub fn play(self, server: SocketAddr) -> Result<Exchange> {
        let mut client = Client::connect(server)?;
        match self {
            Scenario::Pipeline => {
                client.send(request(PIPELINED, "keep-alive").repeat(PIPELINE).as_bytes());
                client.hold_back_until_let_go()?;
                client.read_to_end();
            }
            Scenario::Upload => {
                let head =
                    format!("POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {UPLOAD}\r\n\r\n");
                if client.send(head.as_bytes()) && client.send(&vec![b'x'; UPLOAD]) {
                    client.read_answers(1);
                } else {
                    client.give_up();
                }
            }
            Scenario::Late => {
                client.send(request(LARGE, "close").as_bytes());
                client.hold_back_until_let_go()?;
                client.send(request(SMALL, "keep-alive").as_bytes());
                client.read_to_end();
            }
        }
        Ok(client.finish(&self.promise()))
    }
}

/// A GET as browsers send it: a hundred of them are more than a server takes in with one read.
#[must_use]
pub fn request(body: u64, connection: &str) -> String {
    format!(
        "GET /{body} HTTP/1.1\r\n\
         Host: localhost\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\n\
         Connection: {connection}\r\n\r\n"
    )
}
