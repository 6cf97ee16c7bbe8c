//! All targets at a glance: how much of what each allows was used.

use std::path::Path;

use anyhow::{anyhow, Context, Result};
use plotters::prelude::*;

use super::page::number;
use crate::figures::{Finding, Target};

const WIDTH: u32 = 1000;
const ROW: u32 = 22;
const FRAME: u32 = 90;
const NAMES: u32 = 470;

const REACHED: RGBColor = RGBColor(0x2e, 0x8b, 0x57);
const MISSED: RGBColor = RGBColor(0xc0, 0x39, 0x2b);

/// Beyond these a bar says no more.
const RANGE: std::ops::Range<f64> = 0.01..10.0;

/// A bar for each target that is a limit.
pub(super) fn draw(findings: &[Finding], path: &Path) -> Result<()> {
    let limits = |finding: &'_ Finding| -> Vec<(String, Target, f64)> {
        let limit = |target: &Target| {
            let name = format!("{}: {}", finding.id, target.subject);
            target.part.filter(|part| part.is_finite()).map(|part| (name, target.clone(), part))
        };
        finding.targets.iter().filter_map(limit).collect()
    };
    let rows: Vec<_> = findings.iter().flat_map(limits).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let area = SVGBackend::new(path, (WIDTH, FRAME + ROW * rows.len() as u32)).into_drawing_area();
    bars(&area, &rows).with_context(|| format!("draw {}", path.display()))?;
    area.present().map_err(|error| anyhow!("{error}")).with_context(|| format!("write {}", path.display()))
}

fn bars(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    rows: &[(String, Target, f64)],
) -> Result<()> {
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    area.fill(&WHITE).map_err(failed)?;
    let height = rows.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(60)
        .x_label_area_size(46)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(RANGE.log_scale(), 0.0..height)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .max_light_lines(0)
        .bold_line_style(RGBColor(0xe4, 0xe4, 0xe4))
        .x_desc("measured, as a part of what the target allows (logarithmic; 1 is the target)")
        .x_label_formatter(&|value| number(*value))
        .label_style(("sans-serif", 12))
        .draw()
        .map_err(failed)?;
    for (row, (name, target, part)) in rows.iter().enumerate() {
        let at = height - row as f64 - 0.5;
        let colour = if target.reached { REACHED } else { MISSED };
        // What costs less than nothing is within the spread of nothing.
        let end = part.clamp(RANGE.start, RANGE.end);
        let bar = Rectangle::new([(RANGE.start, at - 0.3), (end, at + 0.3)], colour.mix(0.75).filled());
        chart.draw_series([bar]).map_err(failed)?;
        let (x, y) = chart.backend_coord(&(RANGE.end, at));
        let small = TextStyle::from(("sans-serif", 11));
        area.draw(&Text::new(number(*part), (x + 8, y - 6), small.color(&colour))).map_err(failed)?;
        area.draw(&Text::new(name.clone(), (10, y - 6), small)).map_err(failed)?;
    }
    let target = [(1.0, 0.0), (1.0, height)];
    chart.draw_series([PathElement::new(target, BLACK.stroke_width(2))]).map_err(failed)?;
    Ok(())
}
