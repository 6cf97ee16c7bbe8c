//! What was seen of one connection, as plain data: what verdicts are made of.

use std::time::Duration;

use serde::Serialize;

use super::answer::{Answer, Completeness, Framing};
use super::connection::Connection;
use super::tcp_info::TcpInfo;
use super::timeline::Timeline;

/// One connection.
#[derive(Debug, Clone)]
pub struct Observation {
    /// How much of the answer is here.
    pub completeness: Completeness,
    /// How its end is told, where its head is here.
    pub framing: Option<Framing>,
    /// Of HTTP.
    pub status: Option<u16>,
    /// As it calls itself.
    pub server: Option<String>,
    /// What it said, of other protocols.
    pub said: Option<String>,
    /// Bytes of the answer, head included.
    pub received: u64,
    /// Bytes of its body.
    pub body: u64,
    /// Head and body, where promised.
    pub total: Option<u64>,
    /// When the server's FIN was read.
    pub fin: Option<Duration>,
    /// When a reset was seen.
    pub reset: Option<Duration>,
    /// A send failed.
    pub send_failed: bool,
    /// The server took all that was to be sent.
    pub sent_all: bool,
    /// Whether TLS said goodbye.
    pub close_notify: Option<bool>,
    /// What the provocation came to.
    pub provocation: Provocation,
    /// The kernel's view at the end.
    pub tcp: TcpFacts,
    /// What happened.
    pub timeline: Timeline,
}

/// Whether the server was led to do what can lose an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provocation {
    /// It was, as far as a client can tell.
    Worked,
    /// It took all of the upload, or the large head.
    TookEverything,
    /// It served the client instead of refusing it.
    ServedInstead,
    /// It went on answering after `Connection: close`.
    KeptAlive,
}

/// The kernel's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TcpFacts {
    /// The state's name as in ss(8).
    pub state: &'static str,
    /// The rest.
    #[serde(flatten)]
    pub info: TcpInfo,
}

impl Observation {
    /// Of a connection that is over and its HTTP answer.
    pub fn of_http(connection: Connection, answer: &Answer, provocation: Provocation) -> Self {
        let mut observation = Observation::of(connection, answer.completeness());
        observation.framing = answer.framing();
        observation.status = answer.status();
        observation.server = answer.server().map(str::to_owned);
        observation.received = answer.received();
        observation.body = answer.body();
        observation.total = answer.total();
        observation.provocation = provocation;
        observation
    }

    /// Of a connection that is over; counts nothing yet.
    pub fn of(connection: Connection, completeness: Completeness) -> Self {
        let info = connection.info();
        Observation {
            completeness,
            framing: None,
            status: None,
            server: None,
            said: None,
            received: 0,
            body: 0,
            total: None,
            fin: connection.fin,
            reset: connection.reset,
            send_failed: connection.send_failed,
            sent_all: !connection.is_sending() && !connection.send_failed,
            close_notify: connection.is_tls().then_some(connection.close_notify),
            provocation: Provocation::Worked,
            tcp: TcpFacts { state: info.state_name(), info },
            timeline: connection.timeline,
        }
    }
}
