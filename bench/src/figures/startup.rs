//! What a program pays that never has a connection: the library is mapped and relocated at its start.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use linger_testbed::server::{find_program, Preload};
use linger_testbed::settings;

use super::{Bound, Figure, Plan};
use crate::samples::{percentile, turns, Series};

/// Starts for a sample.
const STARTS: usize = 200;

/// The figure.
pub const STARTUP: Figure = Figure {
    id: "start-up",
    title: "LD_PRELOAD=liblinger.so /bin/true, and the size of the library",
    method: "\
`/bin/true` is started and waited for 200 times with the library preloaded and 200 times without, in turn; the sample is \
the median. The size is that of a copy after strip(1), in kB of 1000 bytes.",
    run: |plan, finding| {
        let contenders = [("true", Preload::None), ("true with shim", plan.shim())];
        for round in 0..plan.rounds {
            let mut times = [const { Vec::new() }; 2];
            for start in 0..plan.count(STARTS, 20) {
                for turn in turns(round + start, contenders.len()) {
                    times[turn].push(start_once(&contenders[turn].1)?);
                }
            }
            for ((name, _), times) in contenders.iter().zip(&mut times) {
                finding.add(name, "ms", percentile(times, 50.0));
            }
        }
        let more = finding.series("true with shim")?.less(finding.series("true")?);
        finding.require_of(&more, Bound::AtMost(1.0));
        let size = Series { samples: vec![stripped_kb(plan)?], ..Series::new("liblinger.so, stripped", "kB") };
        finding.require_of(&size, Bound::Below(700.0));
        Ok(())
    },
};

fn start_once(preload: &Preload) -> Result<f64> {
    let mut command = Command::new("/bin/true");
    settings::apply(&mut command, preload, &[]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    ensure!(command.status()?.success(), "/bin/true failed");
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}

fn stripped_kb(plan: &Plan) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("liblinger.so");
    fs::copy(&plan.library, &copy)?;
    let stripped = Command::new(find_program("strip", "binutils")?).arg(&copy).status().context("strip")?;
    ensure!(stripped.success(), "strip failed");
    Ok(fs::metadata(&copy)?.len() as f64 / 1000.0)
}
