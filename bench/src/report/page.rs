//! REPORT.md.

use std::fmt::Write;
use std::path::Path;

use super::micro::Part;
use super::Results;
use crate::figures::{Figure, Finding, Target, FIGURES};
use crate::machine::Machine;
use crate::samples::{Series, Summary};

/// All of it. Writing to a string cannot fail.
pub(super) fn page(results: &Results, notes: &Path) -> String {
    let mut page = String::from("# What liblinger costs\n\n");
    page.push_str(
        "Made by `make bench` from [results.json](results.json); explanations come from [notes](notes) and survive a \
new measurement. Each contender takes its turn in every round, and who is first changes from round to round. \
*Measured* is the median over the rounds with its quartiles in parentheses; a ratio is the median of the ratios of \
the rounds.\n\n",
    );
    if results.findings.iter().any(|finding| finding.quick) {
        page.push_str("**Some of this is of a smoke run (`--quick`): small, one round. Such figures mean nothing.**\n\n");
    }
    where_measured(&mut page, &results.machine);
    summary(&mut page, results);
    for figure in FIGURES {
        if let Some(finding) = results.findings.iter().find(|finding| finding.id == figure.id) {
            section(&mut page, figure, finding, notes);
        }
    }
    parts(&mut page, &results.parts);
    page
}

fn where_measured(page: &mut String, machine: &Machine) {
    let _ = writeln!(
        page,
        "{} on {} cores of {}, {} MiB of memory, at most {} descriptors a process; load average at the start {}.",
        machine.kernel,
        machine.cores,
        machine.processor,
        machine.memory_mib,
        machine.descriptors,
        machine.load_average
    );
    let _ = writeln!(page, "Programs: {}.", machine.programs.join(", "));
    let _ = writeln!(page, "Mitigations: {}.\n", machine.mitigations.join("; "));
    let _ = writeln!(
        page,
        "Processor time is the kernel's processor clock of each process of the program (clock_getcpuclockid(3)), in \
nanoseconds: the sum that /proc/PID/stat rounds to ticks of 10 ms, threads that have ended included. On loopback the \
kernel does much of the other end's work in it, too, for all contenders alike.\n"
    );
}

fn summary(page: &mut String, results: &Results) {
    page.push_str("| figure | what | target | measured | reached |\n|---|---|---|---|---|\n");
    for finding in &results.findings {
        for target in &finding.targets {
            let Target { subject, must, measured, unit, reached, .. } = target;
            let reached = if *reached { "yes" } else { "**no**" };
            let (id, measured) = (&finding.id, measured_text(measured, unit));
            let _ = writeln!(page, "| [{id}](#{id}) | {subject} | {must} | {measured} | {reached} |");
        }
    }
    page.push_str("\n![every figure as a part of what its target allows](plots/overview.svg)\n\n");
}

fn parts(page: &mut String, parts: &[Part]) {
    if parts.is_empty() {
        return;
    }
    page.push_str(
        "## parts\n\n**Parts of the engine alone**, by criterion (`cargo bench -p linger-bench`): the median with its \
confidence interval of 95 %.\n\n| | ns | |\n|---|---:|---|\n",
    );
    for Part { name, nanoseconds, interval } in parts {
        let (low, high) = (number(interval.0), number(interval.1));
        let _ = writeln!(page, "| {name} | {} | {low} to {high} |", number(*nanoseconds));
    }
    page.push('\n');
}

fn section(page: &mut String, figure: &Figure, finding: &Finding, notes: &Path) {
    let _ = writeln!(page, "## {}\n\n**{}.** {}\n", figure.id, figure.title, figure.method);
    let rounds = finding.rounds;
    let quick = if finding.quick { "a smoke run, " } else { "" };
    let _ = writeln!(page, "{quick}{rounds} rounds, {}, {}.\n", day(finding.measured_at), finding.library);
    table(page, &finding.series);
    if !finding.ratios.is_empty() {
        table(page, &finding.ratios);
    }
    let _ = writeln!(page, "![{}](plots/{}.svg)\n", figure.title.replace('`', ""), figure.id);
    for remark in &finding.remarks {
        let _ = writeln!(page, "- {remark}");
    }
    if !finding.remarks.is_empty() {
        page.push('\n');
    }
    if let Ok(note) = std::fs::read_to_string(notes.join(format!("{}.md", figure.id))) {
        let _ = writeln!(page, "{}\n", note.trim_end());
    }
}

fn table(page: &mut String, rows: &[Series]) {
    page.push_str("| | median | quartiles | least to most | |\n|---|---:|---:|---:|---|\n");
    for row in rows {
        let Summary { median, lower_quartile, upper_quartile, least, most } = row.summary();
        let _ = writeln!(
            page,
            "| {} | {} | {} to {} | {} to {} | {} |",
            row.name,
            number(median),
            number(lower_quartile),
            number(upper_quartile),
            number(least),
            number(most),
            row.unit
        );
    }
    page.push('\n');
}

fn measured_text(summary: &Summary, unit: &str) -> String {
    let Summary { median, lower_quartile, upper_quartile, .. } = *summary;
    let space = if unit.is_empty() { "" } else { " " };
    format!("{}{space}{unit} ({} to {})", number(median), number(lower_quartile), number(upper_quartile))
}

/// As many digits as a spread of a percent leaves any meaning to.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        return "not measured".to_owned();
    }
    let digits = match value.abs() {
        size if size == size.trunc() && size < 1e15 => 0,
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// The day of a time in seconds since 1970, as ISO 8601 has it (civil-from-days, H. Hinnant).
fn day(seconds: u64) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(1_735_689_599), "2024-12-31");
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let shown = [1234.6, 123.46, 12.346, 1.2346, 5.0, 0.01234].map(number);
        assert_eq!(shown, ["1235", "123.5", "12.35", "1.235", "5", "0.012"]);
        assert_eq!(number(f64::NAN), "not measured");
    }
}
