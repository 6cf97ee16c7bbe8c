//! What criterion measured of the engine's parts, if it was asked to (`cargo bench -p linger-bench`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// As the benchmark calls it.
    pub name: String,
    /// Nanoseconds, the median.
    pub nanoseconds: f64,
    /// Its confidence interval of 95 %.
    pub interval: (f64, f64),
}

/// All that are in criterion's directory, by name; none where there is no such directory.
///
/// # Errors
///
/// If criterion writes them otherwise.
pub fn read(dir: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let latest = entry.path().join("new");
        let Ok(text) = fs::read_to_string(latest.join("estimates.json")) else { continue };
        let about = fs::read_to_string(latest.join("benchmark.json"))?;
        let part = part(&about, &text).with_context(|| format!("{}", latest.display()))?;
        parts.push(part);
    }
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(parts)
}

fn part(about: &str, estimates: &str) -> Result<Part> {
    let (about, estimates): (Value, Value) = (serde_json::from_str(about)?, serde_json::from_str(estimates)?);
    let name = about["full_id"].as_str().context("no full_id")?.to_owned();
    let median = &estimates["median"];
    let number = |value: &Value| value.as_f64().context("no number");
    let interval = &median["confidence_interval"];
    Ok(Part {
        name,
        nanoseconds: number(&median["point_estimate"])?,
        interval: (number(&interval["lower_bound"])?, number(&interval["upper_bound"])?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_its_median() {
        let estimates = r#"{"median":{"confidence_interval":{"confidence_level":0.95,"lower_bound":1.5,
            "upper_bound":2.5},"point_estimate":2.0,"standard_error":0.1}}"#;
        let found = part(r#"{"full_id":"verdict"}"#, estimates).expect("a part");
        assert_eq!(found, Part { name: "verdict".into(), nanoseconds: 2.0, interval: (1.5, 2.5) });
        assert!(part("{}", estimates).is_err());
    }

    #[test]
    fn without_criterion_there_are_none() {
        assert_eq!(read(Path::new("/nonexistent")).expect("none"), []);
    }
}
