//! One peer that sends as fast as it can, and a thousand ordinary ones.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use linger_testbed::pause;
use linger_testbed::server::Preload;

use super::{Bound, Figure, Plan};
use crate::commanded::Commanded;
use crate::isolation::isolated;
use crate::load::play;
use crate::peers::{Answer, Closing, Peer};
use crate::process::{ours, Server};
use crate::samples::{percentile, turns};

/// Ordinary uploads, all at once, of so many bytes each.
const ORDINARY: (usize, usize) = (1000, 512 * 1024);

const ALONE: &str = "alone";
const ELSEWHERE: &str = "firehose at another server";
const HERE: &str = "firehose at the same server, with shim";

/// The figure.
pub const FAIRNESS: Figure = Figure {
    id: "fairness",
    title: "1,000 ordinary uploads of 512 KiB beside one sender at line rate",
    method: "\
The bare server with the shim refuses every upload and closes at once, so all input is the drain thread's. A thousand \
clients begin together, each with a small send buffer; the sample is the time until the last byte of an upload was \
taken, its median and 99th percentile over the thousand. *Elsewhere* the firehose sends to another process with a \
drain thread of its own: it takes as much of this machine's cores, but no turn of ours. So *here* over *elsewhere* \
is what the drain thread's fairness is judged by, and *alone* shows what the machine has to give. The brief has no number \
for it; 1.10 is ours.",
    run: |plan, finding| {
        let contenders = [ALONE, ELSEWHERE, HERE];
        for round in 0..plan.rounds {
            let mut sampled: [Vec<f64>; 3] = Default::default();
            for turn in turns(round, contenders.len()) {
                sampled[turn] = isolated(|| sample(plan, contenders[turn]))
                    .with_context(|| contenders[turn].to_owned())?;
            }
            for (name, times) in contenders.iter().zip(&mut sampled) {
                for percent in [50.0, 99.0] {
                    finding.add(&format!("{name}, p{percent}"), "ms", percentile(times, percent));
                }
            }
        }
        for percent in ["p50", "p99"] {
            let (here, elsewhere) = (format!("{HERE}, {percent}"), format!("{ELSEWHERE}, {percent}"));
            finding.require_ratio(&here, &elsewhere, Bound::AtMost(1.10))?;
            finding.compare(&here, &format!("{ALONE}, {percent}"))?;
        }
        Ok(())
    },
};

/// Milliseconds that each upload took.
fn sample(plan: &Plan, contender: &str) -> Result<Vec<f64>> {
    let refuse = |dir: &std::path::Path, at| Peer::Echo(Closing::Close).prepare_to(Answer::Refusal, dir, at);
    let server = Server::start(refuse, &plan.shim(), &[])?;
    let another = Server::start(refuse, &plan.shim(), &[])?;
    let _firehose = match contender {
        HERE => Some(firehose(&server)?),
        ELSEWHERE => Some(firehose(&another)?),
        _ => None,
    };
    let (count, bytes) = (plan.count(ORDINARY.0, 50), ORDINARY.1);
    let times: Vec<f64> = play(&[
        "uploads",
        "--address",
        &server.address().to_string(),
        "--count",
        &count.to_string(),
        "--bytes",
        &bytes.to_string(),
    ])?;
    ensure!(times.len() == count, "only {} of {count} uploads were taken", times.len());
    Ok(times)
}

fn firehose(server: &Server) -> Result<Commanded> {
    let mut command = ours("bench-client")?;
    command.args(["firehose", "--address", &server.address().to_string()]);
    let mut firehose = Commanded::start(command, &Preload::None, &[])?;
    // It says so when as much was taken as no buffer holds.
    ensure!(firehose.hear()? == "flowing", "the firehose does not flow");
    pause(Duration::from_millis(20), "the drain thread is used to it");
    Ok(firehose)
}
