//! Many that linger: what they cost in memory and time while they do nothing, and what one more close costs.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use linger_testbed::anatomy::Anatomy;
use linger_testbed::pause;

use super::{Bound, Figure, Finding, Plan};
use crate::commanded::{Subject, Way};
use crate::crowd::Crowd;
use crate::isolation::isolated;
use crate::samples::turns;

/// So many linger.
const LEVELS: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// Peers in one process: fewer than the descriptors it may have.
const PEERS: usize = 12_500;

/// How much of the silence is watched.
const SILENCE: Duration = Duration::from_secs(3);

/// What they cost while they do nothing.
pub const MEMORY: Figure = Figure {
    id: "memory",
    title: "memory and processor time of 100 to 100,000 lingering connections whose peers are silent",
    method: "\
A bare program with the shim accepts connections of silent peers, closes each at once, and holds nothing of its own; its \
memory is looked at when 100, 1,000, 10,000 and 100,000 have been closed. *Bytes a connection* is what its resident \
memory gained since 100 lingered, divided by those that came to linger since. Processor time is that of 3 s in which \
nobody does anything. Where fewer linger than were closed, it says so.",
    run: |plan, finding| {
        for _ in 0..plan.rounds {
            isolated(|| fill(plan, finding))?;
        }
        let most = *levels(plan).last().context("no level")?;
        finding.require("bytes a connection", Bound::AtMost(64.0))?;
        let lingering = format!("lingering of {most}");
        finding.require(&lingering, Bound::AtLeast(most as f64))?;
        let fewest = finding.series(&lingering)?.summary().least;
        finding.require(&format!("resident memory more, {most}"), Bound::Below(10.0))?;
        finding.require("processor while silent", Bound::Below(1.0))?;
        // What so many cost was not seen where fewer lingered.
        if fewest < most as f64 {
            finding.fail_last(2, &format!("only {fewest} linger"));
        }
        Ok(())
    },
};

/// What one more close costs.
pub const GROWTH: Figure = Figure {
    id: "growth",
    title: "processor time of one more close while 100 to 100,000 linger",
    method: "\
Four bare programs with the shim, with 100, 1,000, 10,000 and 100,000 silent peers that it has let go of. In each round \
every one of them takes 2,000 more connections, in batches, and closes them, and their peers leave; the sample is the \
processor time of all its threads from just before the closes until the drain thread has done with them, by the number \
of closes.",
    run: |plan, finding| {
        let lingering = isolated(|| grow(plan, finding))?;
        let few = level_name(LEVELS[0]);
        for (level, lingering) in levels(plan).iter().zip(lingering).skip(1) {
            finding.require_ratio(&level_name(*level), &few, Bound::AtMost(1.2))?;
            if lingering < *level as u64 {
                finding.fail_last(1, &format!("only {lingering} linger"));
            }
        }
        Ok(())
    },
};

fn levels(plan: &Plan) -> &'static [usize] {
    &LEVELS[..plan.count(LEVELS.len(), 2)]
}

fn level_name(level: usize) -> String {
    format!("one more close, {level} lingering")
}

/// A subject, and its silent peers in as many processes as it takes.
struct Filled {
    subject: Subject,
    crowds: Vec<Crowd>,
    closed: usize,
}

impl Filled {
    fn start(plan: &Plan) -> Result<Self> {
        Ok(Self { subject: Subject::start(plan, &plan.shim(), false)?, crowds: Vec::new(), closed: 0 })
    }

    fn fill(&mut self, level: usize) -> Result<()> {
        while self.closed < level {
            let crowd = self.closed / PEERS;
            if crowd == self.crowds.len() {
                self.crowds.push(Crowd::start(crowd)?);
            }
            let now = (level - self.closed).min((crowd + 1) * PEERS - self.closed);
            self.crowds[crowd].linger(&mut self.subject, Way::Close, now)?;
            self.closed += now;
        }
        Ok(())
    }

    fn lingering(&mut self) -> Result<u64> {
        Ok(self.subject.statistics()?.context("there is no linger_stats")?.pending)
    }

    /// Kibibytes.
    fn resident(&self) -> Result<f64> {
        let text = Anatomy::of(self.subject.process.pid()).status("VmRSS")?;
        text.trim_end_matches(" kB").parse().context("VmRSS")
    }
}

fn fill(plan: &Plan, finding: &mut Finding) -> Result<()> {
    let mut filled = Filled::start(plan)?;
    // The buffers of standard input and output are there then.
    filled.lingering()?;
    let none = filled.resident()?;
    let mut few = None;
    for level in levels(plan) {
        filled.fill(*level)?;
        let lingering = filled.lingering()?;
        let resident = filled.resident()?;
        finding.add(&format!("resident memory more, {level}"), "MiB", (resident - none) / 1024.0);
        finding.add(&format!("lingering of {level}"), "", lingering as f64);
        let (few_linger, few_resident) = *few.get_or_insert((lingering, resident));
        if *level == *levels(plan).last().context("no level")? {
            let since = lingering.saturating_sub(few_linger);
            ensure!(since > 0, "of {level} that were closed only {lingering} linger");
            finding.add("bytes a connection", "bytes", (resident - few_resident) * 1024.0 / since as f64);
        }
    }
    let (started, before) = (Instant::now(), filled.subject.process.family().nanoseconds()?);
    pause(if plan.quick { SILENCE / 10 } else { SILENCE }, "silence is what is measured");
    let spent = filled.subject.process.family().nanoseconds()? - before;
    finding.add("processor while silent", "%", spent as f64 * 100.0 / started.elapsed().as_nanos() as f64);
    finding.logarithmic = true;
    Ok(())
}

const BATCH: usize = 250;

/// How many lingered at each level when the rounds began.
fn grow(plan: &Plan, finding: &mut Finding) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    let mut lingered = Vec::new();
    for (number, level) in levels(plan).iter().enumerate() {
        let mut filled = Filled::start(plan)?;
        filled.fill(*level)?;
        lingered.push(filled.lingering()?);
        all.push((filled, Crowd::start(200 + number)?));
    }
    for round in 0..plan.rounds {
        let mut spent = vec![0.0; all.len()];
        let batches = plan.count(8, 1);
        for turn in turns(round, all.len()) {
            let (filled, crowd) = &mut all[turn];
            for _ in 0..batches {
                spent[turn] += one_batch(&mut filled.subject, crowd)?;
            }
        }
        for (level, spent) in levels(plan).iter().zip(spent) {
            finding.add(&level_name(*level), "µs", spent / 1000.0 / (batches * BATCH) as f64);
        }
    }
    for (level, (filled, _)) in levels(plan).iter().zip(&mut all) {
        let statistics = filled.subject.statistics()?.context("there is no linger_stats")?;
        let (pending, fallbacks, evicted) = (statistics.pending, statistics.fallbacks, statistics.evicted);
        finding.remark(format!(
            "{level}: after all rounds {pending} linger; {fallbacks} fell back, {evicted} were evicted."
        ));
    }
    Ok(lingered)
}

/// Nanoseconds of processor time for a batch of closes whose peers leave soon.
fn one_batch(subject: &mut Subject, crowd: &mut Crowd) -> Result<f64> {
    crowd.join(subject.address, BATCH)?;
    subject.accept(BATCH)?;
    let before = subject.process.family().nanoseconds()?;
    subject.let_go(Way::Close, BATCH)?;
    pause(Duration::from_millis(4), "they linger before their peers leave");
    crowd.leave(BATCH)?;
    pause(Duration::from_millis(12), "the drain thread's share belongs to the sample");
    Ok((subject.process.family().nanoseconds()? - before) as f64)
}
