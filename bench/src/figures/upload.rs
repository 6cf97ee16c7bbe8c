//! A refused upload: what it costs to take a gibibyte that nobody wants.

use std::path::PathBuf;

use anyhow::{ensure, Context, Result};
use linger_testbed::pause;
use linger_testbed::server::Preload;
use serde::{Deserialize, Serialize};

use super::{Bound, Figure, Finding, Plan};
use crate::isolation::isolated;
use crate::load::play;
use crate::peers::{Answer, Closing, Peer};
use crate::process::Server;
use crate::processor::voluntary_switches;
use crate::samples::{turns, Series};

const MIB: u64 = 1 << 20;

/// What the uploader saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Bytes of the body that were taken.
    pub taken: u64,
    /// Whether the refusal arrived whole.
    pub refused: bool,
}

/// The figure.
pub const UPLOAD: Figure = Figure {
    id: "upload",
    title: "processor time to drain 1 GiB of a refused upload",
    method: "\
A client announces and sends 1 GiB to a server that refuses it, half-closes, and reads the refusal. The sample is the \
processor time of all of the server's processes and threads meanwhile. nginx, Apache and lighttpd refuse by their \
limit on bodies and drain themselves; nginx discards a refused body whatever `lingering_close` says, so liblinger is \
measured in front of the bare server, which closes at once. *Wake-ups* are the voluntary context switches of all the \
server's threads, for each 200 MiB; for liblinger also those of the drain thread alone.",
    run: |plan, finding| {
        let contenders = contenders(plan)?;
        for round in 0..plan.rounds {
            let mut sampled: Vec<Option<Sample>> = contenders.iter().map(|_| None).collect();
            for turn in turns(round, contenders.len()) {
                let contender = &contenders[turn];
                let sample = isolated(|| sample(plan, contender)).with_context(|| contender.name.clone())?;
                sampled[turn] = Some(sample);
            }
            for (contender, sample) in contenders.iter().zip(sampled) {
                add(finding, &contender.name, sample.context("not sampled")?);
            }
        }
        conclude(finding)
    },
};

struct Contender {
    name: String,
    peer: Peer,
    preload: Preload,
    library: Option<PathBuf>,
}

struct Sample {
    upload: Upload,
    processor_ms: f64,
    sleeps: f64,
    drain_thread_sleeps: Option<f64>,
}

const OURS: [&str; 2] = ["liblinger, hooked close", "liblinger, linger_close()"];
const PEERS: [Peer; 4] = [Peer::NginxAlways, Peer::Apache, Peer::Lighttpd, Peer::Echo(Closing::Prefork)];

fn contenders(plan: &Plan) -> Result<Vec<Contender>> {
    let plain = |peer: Peer, name: &str| Contender {
        name: name.to_owned(),
        peer,
        preload: Preload::None,
        library: None,
    };
    let [hooked, called] = OURS;
    let mut contenders = vec![
        Contender { preload: plan.shim(), ..plain(Peer::Echo(Closing::Close), hooked) },
        Contender { library: Some(plan.library.clone()), ..plain(Peer::Echo(Closing::LingerClose), called) },
    ];
    contenders.extend(PEERS.map(|peer| plain(peer, peer.name())));
    Ok(contenders)
}

fn sample(plan: &Plan, contender: &Contender) -> Result<Sample> {
    let library = contender.library.as_ref().and_then(|path| path.to_str());
    let settings: Vec<_> = library.iter().map(|path| ("LINGER_LIB", *path)).collect();
    let prepare = |dir: &std::path::Path, at| contender.peer.prepare_to(Answer::Refusal, dir, at);
    let server = Server::start(prepare, &contender.preload, &settings)?;
    let address = server.address().to_string();
    let play = |bytes: u64| play::<Upload>(&["upload", "--address", &address, "--bytes", &bytes.to_string()]);
    // The drain thread starts, and what a first upload allocates is there.
    play(2 * MIB)?;
    pause(std::time::Duration::from_millis(50), "what is left of the first upload is not the sample's");
    let before = (server.family().nanoseconds()?, server.family().sleeps()?, drain_thread(server.pid())?);
    let upload = play(plan.count(1024, 64) as u64 * MIB)?;
    pause(std::time::Duration::from_millis(50), "the last of it is drained after the client has sent it");
    let after = (server.family().nanoseconds()?, server.family().sleeps()?, drain_thread(server.pid())?);
    ensure!(upload.taken > 0, "nothing was taken");
    let per_200_mib = |sleeps: u64| sleeps as f64 * (200 * MIB) as f64 / upload.taken as f64;
    Ok(Sample {
        upload,
        // Where less was taken, as much more is added.
        processor_ms: (after.0 - before.0) as f64 / 1e6 * (1024 * MIB) as f64 / upload.taken as f64,
        sleeps: per_200_mib(after.1 - before.1),
        drain_thread_sleeps: after.2.zip(before.2).map(|(after, before)| per_200_mib(after - before)),
    })
}

fn drain_thread(pid: u32) -> Result<Option<u64>> {
    let Ok(thread) = linger_testbed::anatomy::Anatomy::of(pid).drain_thread() else { return Ok(None) };
    voluntary_switches(&PathBuf::from(format!("/proc/{pid}/task/{}/status", thread.tid))).map(Some)
}

fn add(finding: &mut Finding, name: &str, sample: Sample) {
    finding.add(name, "ms/GiB", sample.processor_ms);
    finding.add(&format!("{name}, wake-ups"), "per 200 MiB", sample.sleeps);
    if let Some(sleeps) = sample.drain_thread_sleeps {
        finding.add(&format!("{name}, wake-ups of the drain thread"), "per 200 MiB", sleeps);
    }
    let Upload { taken, refused } = sample.upload;
    if !refused {
        finding.remark(format!(
            "{name}: the client did not get the whole refusal; {} MiB were taken.",
            taken / MIB
        ));
    }
}

fn conclude(finding: &mut Finding) -> Result<()> {
    let rivals = [Peer::NginxAlways, Peer::Apache, Peer::Lighttpd].map(Peer::name);
    let mut best = finding.series(rivals[0])?.clone();
    for rival in rivals {
        let series = finding.series(rival)?;
        if series.summary().median < best.summary().median {
            best = series.clone();
        }
    }
    for ours in OURS {
        finding.require_ratio(ours, &best.name, Bound::AtMost(0.5))?;
    }
    for ours in OURS {
        let wakes: Series = finding.series(&format!("{ours}, wake-ups of the drain thread"))?.clone();
        finding.require_of(&wakes, Bound::AtMost(250.0));
    }
    finding.compare(PEERS[3].name(), &best.name)?;
    Ok(())
}
