//! A plot for each figure: every sample a dot, the median a bar, one line for each contender.

use std::path::Path;

use anyhow::{anyhow, Context, Result};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::page::number;
use crate::figures::Finding;
use crate::samples::Series;

const WIDTH: u32 = 900;
const ROW: u32 = 44;
const FRAME: u32 = 110;

/// One colour for what has liblinger in it, one for what has not.
const WITH: RGBColor = RGBColor(0x1b, 0x6c, 0xa8);
const WITHOUT: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);

/// Draws it; a figure without samples has no plot.
pub(super) fn draw(finding: &Finding, path: &Path) -> Result<()> {
    let Some(first) = finding.series.first() else { return Ok(()) };
    let shown: Vec<&Series> = if finding.plotted.is_empty() {
        finding.series.iter().filter(|series| series.unit == first.unit).collect()
    } else {
        finding.series.iter().filter(|series| finding.plotted.contains(&series.name)).collect()
    };
    let most = shown.iter().flat_map(|series| &series.samples).copied().fold(0.0, f64::max);
    let least = shown.iter().flat_map(|series| &series.samples).copied().fold(f64::INFINITY, f64::min);
    if most <= 0.0 {
        return Ok(());
    }
    let area = SVGBackend::new(path, (WIDTH, FRAME + ROW * shown.len() as u32)).into_drawing_area();
    let drawn = if finding.logarithmic && least > 0.0 {
        rows(&area, &shown, (least * 0.7..most * 2.5).log_scale())
    } else {
        rows(&area, &shown, 0.0..most * 1.12)
    };
    drawn.with_context(|| format!("draw {}", path.display()))?;
    area.present().map_err(|error| anyhow!("{error}")).with_context(|| format!("write {}", path.display()))
}

fn rows<X>(area: &DrawingArea<SVGBackend<'_>, Shift>, shown: &[&Series], values: X) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    area.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(90)
        .x_label_area_size(46)
        .y_label_area_size(270)
        .build_cartesian_2d(values, 0.0..shown.len() as f64)
        .map_err(failed)?;
    let unit = shown.first().map_or("", |series| series.unit.as_str());
    chart
        .configure_mesh()
        .disable_y_mesh()
        .max_light_lines(0)
        .disable_y_axis()
        .x_desc(unit)
        .x_label_formatter(&|value| number(*value))
        .label_style(("sans-serif", 13))
        .bold_line_style(RGBColor(0xe4, 0xe4, 0xe4))
        .draw()
        .map_err(failed)?;
    for (row, series) in shown.iter().enumerate() {
        let at = shown.len() as f64 - row as f64 - 0.5;
        let ours = series.name.contains("shim")
            || series.name.contains("linger_close()")
            || series.name.contains("hooked");
        let colour = if ours { WITH } else { WITHOUT };
        let summary = series.summary();
        let dots =
            series.samples.iter().map(|sample| Circle::new((*sample, at), 4, colour.mix(0.45).filled()));
        chart.draw_series(dots).map_err(failed)?;
        let median = [(summary.median, at - 0.3), (summary.median, at + 0.3)];
        chart.draw_series([PathElement::new(median, colour.stroke_width(3))]).map_err(failed)?;
        let (x, y) = chart.backend_coord(&(summary.median, at));
        let value = TextStyle::from(("sans-serif", 13)).color(&colour);
        let most = chart.backend_coord(&(summary.most, at)).0;
        area.draw(&Text::new(number(summary.median), (most.max(x) + 10, y - 7), value)).map_err(failed)?;
        let name = TextStyle::from(("sans-serif", 13)).color(&BLACK);
        area.draw(&Text::new(series.name.clone(), (14, y - 7), name)).map_err(failed)?;
    }
    Ok(())
}
