//! What the program and its threads hold once nothing lingers any more.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs;

use anyhow::Result;
use serde::Serialize;

use crate::interface::{self, Statistics};
use crate::ways::Server;

/// How long to wait until nothing lingers.
const PATIENCE_MS: c_int = 15_000;

#[derive(Debug, Serialize)]
pub struct Report {
    statistics: Statistics,
    pending: c_int,
    /// Numbers that were not there at first, and what is behind them.
    more_descriptors: BTreeMap<c_int, String>,
    fewer_descriptors: Vec<c_int>,
    /// The tables of the threads besides the main one.
    thread_tables: Vec<BTreeMap<c_int, String>>,
    /// Lines of /proc/self/maps.
    maps: usize,
    resident_kib: u64,
}

pub fn make(server: &mut Server) -> Result<Report> {
    server.settle();
    let pending = interface::flush(PATIENCE_MS);
    let mut more_descriptors = descriptors("/proc/self/fd")?;
    let missing = |number: &c_int| !more_descriptors.contains_key(number);
    let fewer_descriptors = server.at_first.iter().copied().filter(missing).collect();
    more_descriptors.retain(|number, _| !server.at_first.contains(number));
    let main = std::process::id().to_string();
    let mut thread_tables = Vec::new();
    for thread in fs::read_dir("/proc/self/task")?.flatten() {
        if thread.file_name().to_string_lossy() != main {
            thread_tables.push(descriptors(&format!("{}/fd", thread.path().display())).unwrap_or_default());
        }
    }
    let resident = fs::read_to_string("/proc/self/status")?;
    let resident = resident.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kib =
        resident.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0);
    Ok(Report {
        statistics: interface::statistics(),
        pending,
        more_descriptors,
        fewer_descriptors,
        thread_tables,
        maps: fs::read_to_string("/proc/self/maps")?.lines().count(),
        resident_kib,
    })
}

/// What every number of a table refers to, without the one it is looked at with.
pub fn descriptors(directory: &str) -> Result<BTreeMap<c_int, String>> {
    let mut table = BTreeMap::new();
    for entry in fs::read_dir(directory)?.flatten() {
        if let (Ok(number), Ok(link)) =
            (entry.file_name().to_string_lossy().parse(), fs::read_link(entry.path()))
        {
            let link = link.to_string_lossy().into_owned();
            if !link.contains("/fd") || !link.starts_with("/proc") {
                table.insert(number, link);
            }
        }
    }
    Ok(table)
}
