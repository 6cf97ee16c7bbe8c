//! How the figures are shown: REPORT.md for people, results.json for programs, a plot for each figure.
//!
//! # Invariants
//!
//! * The report is made from the results alone, so it can be made again from results.json.
//! * `notes/FIGURE.md` is included below its figure as it is: explanations survive a new measurement.

pub mod micro;
mod overview;
mod page;
mod plot;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figures::{Finding, FIGURES};
use crate::machine::Machine;

/// Everything that was measured, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// In the order of [`FIGURES`].
    pub findings: Vec<Finding>,
    /// Parts of the engine alone.
    pub parts: Vec<micro::Part>,
}

impl Results {
    /// What an earlier run left in `dir`, if it did.
    ///
    /// # Errors
    ///
    /// If it cannot be understood.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("results.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let results = serde_json::from_str(&text);
        results.map(Some).with_context(|| format!("{} is of another version: remove it", path.display()))
    }

    /// Puts `finding` in the place of an earlier one of the same figure.
    pub fn take(&mut self, finding: Finding) {
        self.findings.retain(|earlier| earlier.id != finding.id);
        self.findings.push(finding);
        let place = |finding: &Finding| FIGURES.iter().position(|figure| figure.id == finding.id);
        self.findings.retain(|finding| place(finding).is_some());
        self.findings.sort_by_key(place);
    }

    /// Writes results.json, REPORT.md and the plots into `dir`; takes the notes from `notes`.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn write(&self, dir: &Path, notes: &Path) -> Result<()> {
        let plots = dir.join("plots");
        fs::create_dir_all(&plots).with_context(|| format!("make {}", plots.display()))?;
        fs::write(dir.join("results.json"), serde_json::to_string_pretty(self)? + "\n")?;
        for finding in &self.findings {
            plot::draw(finding, &plots.join(format!("{}.svg", finding.id)))?;
        }
        overview::draw(&self.findings, &plots.join("overview.svg"))?;
        fs::write(dir.join("REPORT.md"), page::page(self, notes))?;
        Ok(())
    }
}
