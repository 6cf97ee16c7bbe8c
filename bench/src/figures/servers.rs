//! Real servers under an ordinary load: what a request or a connection costs them with liblinger in front.

use std::time::Duration;

use anyhow::{Context, Result};
use linger_testbed::pause;
use linger_testbed::server::Preload;

use super::{Bound, Figure, Finding, Plan};
use crate::isolation::isolated;
use crate::load::{converse, Conversation};
use crate::peers::{Closing, Peer};
use crate::process::Server;
use crate::samples::turns;

/// Connections at a time.
const AT_ONCE: usize = 20;

/// Before the first sample: caches are warm, and the drain thread has started.
const WARM_UP: Duration = Duration::from_millis(150);

/// After the last connection, the drain thread has as much left to do as it collects in a tick.
const SETTLE: Duration = Duration::from_millis(60);

/// nginx on connections that are kept.
pub const KEEP_ALIVE: Figure = Figure {
    id: "nginx-keep-alive",
    title: "nginx, keep-alive, 1 KB, processor time per request",
    method: METHOD,
    run: |plan, finding| {
        let contenders = with_and_without(plan, &[Peer::Nginx]);
        measure(plan, finding, Conversation::HttpKeepAlive, &contenders)?;
        finding.require_ratio("nginx with shim", "nginx", Bound::AtMost(1.01))
    },
};

/// nginx on connections that are closed.
pub const CLOSE: Figure = Figure {
    id: "nginx-close",
    title: "nginx, `Connection: close`, 1 KB, processor time per connection",
    method: METHOD,
    run: |plan, finding| {
        let mut contenders = with_and_without(plan, &[Peer::Nginx]);
        contenders.extend([Peer::NginxAlways, Peer::Apache].map(Contender::plain));
        measure(plan, finding, Conversation::HttpClose, &contenders)?;
        finding.require_ratio("nginx with shim", "nginx", Bound::AtMost(1.10))?;
        finding.require_ratio("nginx with shim", Peer::NginxAlways.name(), Bound::Below(1.0))
    },
};

/// redis.
pub const REDIS: Figure = Figure {
    id: "redis",
    title: "redis, connect, PING, QUIT, processor time per connection",
    method: METHOD,
    run: |plan, finding| {
        measure(plan, finding, Conversation::Redis, &with_and_without(plan, &[Peer::Redis]))?;
        finding.require_ratio("redis with shim", "redis", Bound::AtMost(1.10))
    },
};

/// lighttpd, which lingers itself.
pub const LIGHTTPD: Figure = Figure {
    id: "lighttpd",
    title: "lighttpd, `Connection: close`, 1 KB, processor time per connection",
    method: METHOD,
    run: |plan, finding| {
        measure(plan, finding, Conversation::HttpClose, &with_and_without(plan, &[Peer::Lighttpd]))?;
        finding.require_ratio("lighttpd with shim", "lighttpd", Bound::AtMost(1.10))
    },
};

/// A server that does nothing else.
pub const ECHO: Figure = Figure {
    id: "echo",
    title: "a bare epoll server, one read, one answer, one close, processor time per connection",
    method: METHOD,
    run: |plan, finding| {
        let bare = Peer::Echo(Closing::Close);
        let library = Peer::Echo(Closing::LingerClose);
        let mut contenders = with_and_without(plan, &[bare]);
        let path = plan.library.to_str().context("the library's path is not UTF-8")?.to_owned();
        contenders.push(Contender { settings: vec![("LINGER_LIB", path)], ..Contender::plain(library) });
        contenders.push(Contender::plain(Peer::Echo(Closing::Prefork)));
        measure(plan, finding, Conversation::Echo, &contenders)?;
        finding.require_ratio("bare epoll server with shim", bare.name(), Bound::AtMost(1.10))?;
        finding.compare(library.name(), bare.name())?;
        finding.compare(Peer::Echo(Closing::Prefork).name(), bare.name())?;
        Ok(())
    },
};

const METHOD: &str = "\
For each sample a server is started in a network namespace of its own and warmed up; then a client in another process \
keeps 20 connections busy, each closed right after the server's end of it was read, and the next one begun. The \
sample is the processor time of all processes and threads of the server, the drain thread's included, between the \
moment before the client starts and 60 ms after it has ended, divided by what the client counted. Start-up is not in \
it. A lost or short answer would end the run.";

struct Contender {
    name: String,
    peer: Peer,
    preload: Preload,
    settings: Vec<(&'static str, String)>,
}

impl Contender {
    fn plain(peer: Peer) -> Self {
        Self { name: peer.name().to_owned(), peer, preload: Preload::None, settings: Vec::new() }
    }
}

fn with_and_without(plan: &Plan, peers: &[Peer]) -> Vec<Contender> {
    let both = |peer: &Peer| {
        let name = format!("{} with shim", peer.name());
        [Contender::plain(*peer), Contender { name, preload: plan.shim(), ..Contender::plain(*peer) }]
    };
    peers.iter().flat_map(both).collect()
}

fn measure(
    plan: &Plan,
    finding: &mut Finding,
    conversation: Conversation,
    contenders: &[Contender],
) -> Result<()> {
    for round in 0..plan.rounds {
        let mut sampled: Vec<Option<f64>> = vec![None; contenders.len()];
        for turn in turns(round, contenders.len()) {
            let contender = &contenders[turn];
            let sample =
                isolated(|| sample(plan, conversation, contender)).with_context(|| contender.name.clone())?;
            sampled[turn] = Some(sample);
        }
        for (contender, sample) in contenders.iter().zip(sampled) {
            finding.add(&contender.name, "µs", sample.unwrap_or(f64::NAN));
        }
    }
    Ok(())
}

/// Microseconds of processor time for each request or connection.
fn sample(plan: &Plan, conversation: Conversation, contender: &Contender) -> Result<f64> {
    let settings: Vec<_> = contender.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server =
        Server::start(|dir, address| contender.peer.prepare(dir, address), &contender.preload, &settings)?;
    converse(conversation, server.address(), AT_ONCE, WARM_UP)?;
    pause(SETTLE, "what the warm-up left to the drain thread is not the sample's");
    let before = server.family().nanoseconds()?;
    let tally = converse(conversation, server.address(), AT_ONCE, plan.load_time())?;
    pause(SETTLE, "the drain thread's share belongs to the sample");
    let spent = server.family().nanoseconds()? - before;
    Ok(spent as f64 / 1000.0 / tally.done as f64)
}
