//! Twenty thousand closes at once: more than any queue was made for.

use anyhow::{Context, Result};
use linger_testbed::anatomy::Anatomy;
use linger_testbed::counters::Counters;
use linger_testbed::server::Preload;

use super::{Bound, Figure, Finding, Plan};
use crate::commanded::{Subject, Way};
use crate::crowd::Crowd;
use crate::isolation::isolated;
use crate::load::Tally;
use crate::samples::turns;
use crate::stopped::Stopped;

/// In all.
const CLOSES: usize = 20_000;

/// Descriptors that the subject needs for other things.
const SPARE: usize = 100;

/// Connections that wait to be accepted.
const AT_ONCE: usize = 500;

const PLAIN: &str = "close";
const SHIM: &str = "hooked close";
const HELD: &str = "hooked close, drain thread held";

/// The figure.
pub const BURST: Figure = Figure {
    id: "burst",
    title: "20,000 closes in a burst, each with unread input",
    method: "\
Peers send 300 bytes each; a bare program reads 100 of each, answers with 1 KiB, and then closes all of them, one right \
after the other: as many at once as it may have descriptors (a hundred fewer), the rest in a second burst right after. \
The peers then read to the end. The plain close shows what is at stake: every one of these connections is reset, \
though a small answer survives it on loopback. In *drain thread held* ptrace(2) makes the drain thread stand still \
during the burst, so that its queue overflows; *fell back* are those that found it full and were drained inline. \
A call that blocks is one in which the thread goes to sleep: getrusage(2) counts that. Resets are counted by the kernel \
(TCPAbortOnClose, TCPAbortOnData) in a private network namespace, and by the peers.",
    run: |plan, finding| {
        let contenders = [(PLAIN, Preload::None), (SHIM, plan.shim()), (HELD, plan.shim())];
        for round in 0..plan.rounds {
            for turn in turns(round, contenders.len()) {
                let (name, preload) = &contenders[turn];
                isolated(|| sample(plan, finding, name, preload)).with_context(|| (*name).to_owned())?;
            }
        }
        finding.plotted = contenders.iter().map(|(name, _)| format!("{name}, longest call")).collect();
        finding.logarithmic = true;
        for name in [SHIM, HELD] {
            for what in ["calls that slept", "connections reset", "peers that saw a reset", "answers incomplete"] {
                finding.require(&format!("{name}, {what}"), Bound::Exactly(0.0))?;
            }
            finding.require(&format!("{name}, most memory more"), Bound::AtMost(10.0))?;
            finding.compare(&format!("{name}, longest call"), &format!("{PLAIN}, longest call"))?;
        }
        if !plan.quick {
            finding.require(&format!("{HELD}, fell back"), Bound::AtLeast(1.0))?;
        }
        Ok(())
    },
};

fn sample(plan: &Plan, finding: &mut Finding, name: &str, preload: &Preload) -> Result<()> {
    let mut subject = Subject::start(plan, preload, false)?;
    subject.statistics()?;
    let memory = |subject: &Subject| -> Result<f64> {
        let text = Anatomy::of(subject.process.pid()).status("VmHWM")?;
        text.trim_end_matches(" kB").parse().context("VmHWM")
    };
    let (resident, counters) = (memory(&subject)?, Counters::read()?);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let at_once = limit.map_or(CLOSES, |limit| limit as usize - SPARE);
    let mut left = plan.count(CLOSES, 1000);
    let mut times = Vec::new();
    let mut tally = Tally::default();
    let mut number = 0;
    let mut slept = 0;
    if name == HELD {
        // The drain thread starts with the first close.
        let mut first = Crowd::start(100)?;
        first.linger(&mut subject, Way::Close, 1)?;
    }
    while left > 0 {
        let burst = left.min(at_once);
        left -= burst;
        let mut crowds = Vec::new();
        let mut coming = burst;
        while coming > 0 {
            let now = coming.min(burst.div_ceil(2));
            let mut crowd = Crowd::start(number)?;
            number += 1;
            come(&mut subject, &mut crowd, now)?;
            crowds.push(crowd);
            coming -= now;
        }
        let held = match name {
            HELD => Some(Stopped::drain_thread_of(subject.process.pid())?),
            _ => None,
        };
        times.extend(subject.let_go(Way::Close, burst)?);
        drop(held);
        slept += subject.sleeps()?;
        for crowd in &mut crowds {
            let heard = crowd.hear()?;
            tally.done += heard.done;
            tally.resets += heard.resets;
            tally.incomplete += heard.incomplete;
        }
    }
    let counted = counters.since()?;
    let mut add = |what: &str, unit: &str, sample: f64| finding.add(&format!("{name}, {what}"), unit, sample);
    let sum: f64 = times.iter().sum();
    add("longest call", "ms", times.iter().copied().fold(0.0, f64::max) / 1e6);
    add("mean call", "µs", sum / 1000.0 / times.len() as f64);
    add("calls that slept", "", slept as f64);
    add("connections reset", "", (counted.abort_on_close + counted.abort_on_data) as f64);
    add("peers that saw a reset", "", tally.resets as f64);
    add("answers incomplete", "", tally.incomplete as f64);
    if let Some(statistics) = subject.statistics()? {
        add("fell back", "", statistics.fallbacks as f64);
    }
    add("most memory more", "MiB", (memory(&subject)? - resident) / 1024.0);
    Ok(())
}

/// `count` connect, speak, are accepted and answered.
fn come(subject: &mut Subject, crowd: &mut Crowd, count: usize) -> Result<()> {
    let mut left = count;
    while left > 0 {
        let now = left.min(AT_ONCE);
        crowd.join(subject.address, now)?;
        crowd.speak(now)?;
        subject.accept(now)?;
        subject.process.tell(&format!("answer {now}"))?;
        left -= now;
    }
    Ok(())
}
