//! How long letting go of a connection takes while many silent peers linger.

use anyhow::Result;
use linger_testbed::server::Preload;

use super::{Bound, Figure, Finding, Plan};
use crate::commanded::{Subject, Way};
use crate::crowd::Crowd;
use crate::isolation::isolated;
use crate::samples::{percentile, turns};

/// Peers that linger meanwhile.
const SILENT: usize = 1000;

/// Calls at a time.
const BATCH: usize = 100;

const CONTENDERS: [(&str, Way, bool, bool); 4] = [
    ("close", Way::Close, false, false),
    ("shutdown+close", Way::ShutdownClose, false, false),
    ("hooked close", Way::Close, true, false),
    ("linger_close()", Way::LingerClose, false, true),
];

/// The figure.
pub const LATENCY: Figure = Figure {
    id: "call-latency",
    title: "how long a call takes that lets go of a connection, while 1,000 silent peers linger",
    method: "\
Four programs, each with 1,000 silent peers that it has let go of in its way: plain close(2), shutdown(SHUT_WR) and \
close(2), close(2) with the shim, linger_close() of the library. In each round 20 times 100 more peers connect, the \
calls that let go of them are timed one by one, and they leave. p50 and p99 are those of the round. The plain calls \
show what the machine itself takes to send a FIN.",
    run: |plan, finding| {
        isolated(|| measure(plan, finding))?;
        finding.require("linger_close() p50", Bound::AtMost(3.0))?;
        finding.require("linger_close() p99", Bound::AtMost(20.0))?;
        for percent in ["p50", "p99"] {
            finding.compare(&format!("linger_close() {percent}"), &format!("shutdown+close {percent}"))?;
            finding.compare(&format!("hooked close {percent}"), &format!("close {percent}"))?;
        }
        Ok(())
    },
};

fn measure(plan: &Plan, finding: &mut Finding) -> Result<()> {
    let mut subjects = Vec::new();
    let silent = plan.count(SILENT, 200);
    for (_, way, hooked, library) in CONTENDERS {
        let preload = if hooked { plan.shim() } else { Preload::None };
        let mut subject = Subject::start(plan, &preload, library)?;
        let mut crowd = Crowd::start(0)?;
        crowd.linger(&mut subject, way, silent)?;
        subjects.push((subject, crowd));
    }
    for round in 0..plan.rounds {
        let mut times = vec![Vec::new(); CONTENDERS.len()];
        for _ in 0..plan.count(20, 2) {
            for turn in turns(round, CONTENDERS.len()) {
                let (subject, crowd) = &mut subjects[turn];
                crowd.join(subject.address, BATCH)?;
                subject.accept(BATCH)?;
                times[turn].extend(subject.let_go(CONTENDERS[turn].1, BATCH)?);
                crowd.leave(BATCH)?;
            }
        }
        for ((name, ..), times) in CONTENDERS.iter().zip(&mut times) {
            for percent in [50.0, 99.0] {
                finding.add(&format!("{name} p{percent}"), "µs", percentile(times, percent) / 1000.0);
            }
            finding.add(&format!("{name} longest"), "µs", percentile(times, 100.0) / 1000.0);
        }
    }
    for ((name, ..), (subject, _)) in CONTENDERS.iter().zip(&mut subjects) {
        if let Some(statistics) = subject.statistics()? {
            let (pending, fallbacks) = (statistics.pending, statistics.fallbacks);
            finding.remark(format!(
                "{name}: {pending} linger at the end, {fallbacks} calls found the queue full."
            ));
        }
    }
    finding.logarithmic = true;
    Ok(())
}
