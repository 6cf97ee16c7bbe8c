//! What the rounds say together, as Markdown: medians, and in brackets the least and the most.

use linger_testbed::siege::Siege;

use crate::cases::Case;

/// A case, and what came of it in each round.
pub(crate) type Measured<'a> = (&'a Case, &'a [Siege]);

const SERVICE: &str = "\
| attack | liblinger | p50 ms | to plain | p99 ms | failed | late data: whole | neighbours kept |
|---|---|---|---|---|---|---|---|";

const COST: &str = "\
| attack | liblinger | lingering | of one address | threads | memory, MB | kernel, MB | processor | to plain | while silent \
| received, MB/s | resets |
|---|---|---|---|---|---|---|---|---|---|---|---|";

/// Both tables.
pub(crate) fn text(all: &[Measured<'_>]) -> String {
    let rows = |row: fn(&Measured<'_>, &[Siege]) -> String| -> String {
        all.iter().map(|measured| row(measured, plain(all, measured)) + "\n").collect()
    };
    format!("{SERVICE}\n{}\n{COST}\n{}", rows(service), rows(cost))
}

/// The same attack without liblinger.
fn plain<'a>(all: &[Measured<'a>], (case, _): &Measured<'_>) -> &'a [Siege] {
    all.iter()
        .find(|(other, _)| other.name == case.name && !other.with_shim)
        .map_or(&[], |(_, sieges)| sieges)
}

fn service((case, sieges): &Measured<'_>, plain: &[Siege]) -> String {
    let p50 = |siege: &Siege| siege.service.percentile_ms(50);
    let sum = |of: fn(&Siege) -> usize| sieges.iter().map(of).sum::<usize>();
    format!(
        "| {} | {} | {} | {} | {} | {} of {} | {} of {} | {} of {} |",
        case.name,
        case.liblinger(),
        spread(sieges, p50, 2),
        ratio(case, sieges, plain, p50, 0.0),
        spread(sieges, |siege| siege.service.percentile_ms(99), 1),
        sum(|siege| siege.service.failures),
        sum(|siege| siege.service.requests()),
        sum(|siege| siege.late.served()),
        sum(|siege| siege.late.requests()),
        sum(|siege| siege.neighbours.kept as usize),
        sum(|siege| (siege.neighbours.kept + siege.neighbours.lost) as usize),
    )
}

fn cost((case, sieges): &Measured<'_>, plain: &[Siege]) -> String {
    let most = |of: fn(&Siege) -> u64| sieges.iter().map(of).max().unwrap_or(0);
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let of_one_address = match most(|siege| siege.most_of_one_address) {
        0 => "".to_owned(),
        count => count.to_string(),
    };
    let more_in_kernel = |siege: &Siege| megabytes(siege.kernel_bytes.1.saturating_sub(siege.kernel_bytes.0));
    let silent = sieges.first().and_then(|siege| siege.silent_percent);
    format!(
        "| {} | {} | {} | {} | {} | {:.1} → {:.1} | {} | {} % | {} | {} | {} | {} |",
        case.name,
        case.liblinger(),
        most(|siege| siege.most_lingering),
        of_one_address,
        most(|siege| siege.threads),
        megabytes(most(|siege| siege.resident_bytes.0)),
        megabytes(most(|siege| siege.resident_bytes.1)),
        spread(sieges, more_in_kernel, 0),
        spread(sieges, |siege| siege.processor_percent, 0),
        // Less than one percent is a few ticks of the kernel's clock, and no basis for a ratio.
        ratio(case, sieges, plain, |siege| siege.processor_percent, 1.0),
        silent.map_or(String::new(), |percent| format!("{percent:.1} %")),
        spread(sieges, |siege| siege.received_a_second / 1e6, 1),
        most(|siege| siege.traffic.resets),
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

fn spread(sieges: &[Siege], of: impl Fn(&Siege) -> f64, digits: usize) -> String {
    let values: Vec<f64> = sieges.iter().map(of).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let count = values.len();
    let median = median(values);
    if count > 1 {
        format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
    } else {
        format!("{median:.digits$}")
    }
}

/// The median of the ratios of the rounds.
fn ratio(case: &Case, sieges: &[Siege], plain: &[Siege], of: impl Fn(&Siege) -> f64, basis: f64) -> String {
    let rounds = sieges.iter().zip(plain).filter(|(_, plain)| of(plain) > basis);
    let ratios: Vec<f64> = rounds.map(|(siege, plain)| of(siege) / of(plain)).collect();
    if !case.with_shim || ratios.is_empty() {
        return String::new();
    }
    format!("× {:.2}", median(ratios))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![1.0, 2.0]), 1.5);
        assert!(median(Vec::new()).is_nan());
    }
}
