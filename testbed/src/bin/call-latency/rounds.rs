//! The three programs, their silent peers, and the rounds of timed calls.
//!
//! The rounds are interleaved, so that whatever else the machine does in the meantime is in all three.

use anyhow::Result;
use linger_testbed::closer::{Closer, Start, Timing, Way, AT_ONCE};
use linger_testbed::crowd::{allow_descriptors, Crowd};
use linger_testbed::server::Preload;

use crate::report::Row;

/// What is to be measured.
pub(crate) struct Plan {
    pub(crate) silent: usize,
    pub(crate) calls: usize,
    pub(crate) rounds: usize,
    pub(crate) shim: Preload,
}

/// One of the programs, and what has been measured of it.
struct Contender {
    name: &'static str,
    way: Way,
    closer: Closer,
    silent: Crowd,
    others: Crowd,
    timing: Timing,
    processor_ns: u64,
    lingering: usize,
}

/// Plays all of it.
pub(crate) fn play(plan: &Plan) -> Result<Vec<Row>> {
    // The peers of all three are here.
    allow_descriptors(3 * (plan.silent + plan.calls) as u64 + 100)?;
    let mut contenders = Vec::new();
    for (name, way) in
        [("close", Way::Close), ("hooked close", Way::Close), ("linger_close", Way::LingerClose)]
    {
        contenders.push(Contender::prepare(plan, name, way)?);
    }
    let mut left = plan.calls;
    for round in 0..plan.rounds {
        let mut calls = left / (plan.rounds - round);
        left -= calls;
        while calls > 0 {
            let now = calls.min(AT_ONCE);
            for contender in &mut contenders {
                contender.play(now)?;
            }
            calls -= now;
        }
    }
    contenders.into_iter().map(Contender::conclude).collect()
}

impl Contender {
    fn prepare(plan: &Plan, name: &'static str, way: Way) -> Result<Self> {
        let executable = std::env::current_exe()?;
        let executable = executable.to_string_lossy();
        let mut start = Start::new(&executable, Preload::None);
        let lingers = name != "close";
        match (&plan.shim, way) {
            (shim, Way::Close) if lingers => start.preload = shim.clone(),
            (Preload::Shim(library), Way::LingerClose) => start.library = Some(library),
            _ => {}
        }
        let mut closer = Closer::start(start)?;
        let mut silent = Crowd::of(closer.address());
        closer.accept(&mut silent, plan.silent)?;
        let others = Crowd::of(closer.address());
        if lingers {
            closer.let_linger(way, plan.silent, 0)?;
        } else {
            closer.let_go(way, plan.silent)?;
        }
        let lingering = closer.pending()?.unwrap_or(0);
        let timing = Timing::default();
        Ok(Self { name, way, closer, silent, others, timing, processor_ns: 0, lingering })
    }

    fn play(&mut self, calls: usize) -> Result<()> {
        self.closer.accept(&mut self.others, calls)?;
        let before = self.closer.processor_ns()?;
        let timing = self.closer.time(self.way, calls)?;
        // Their FIN ends the lingering of those that were timed.
        self.others.leave(calls);
        if self.closer.pending()?.is_some() {
            self.closer.wait_until_pending(self.lingering)?;
        }
        self.processor_ns += self.closer.processor_ns()? - before;
        self.timing.calls_ns.extend(timing.calls_ns);
        self.timing.caller_processor_ns += timing.caller_processor_ns;
        Ok(())
    }

    fn conclude(mut self) -> Result<Row> {
        let fallbacks = match self.closer.pending()? {
            Some(_) => self.closer.statistics()?.fallbacks,
            None => 0,
        };
        drop(self.silent);
        Ok(Row::new(self.name, self.timing, self.processor_ns, self.lingering, fallbacks))
    }
}
