//! What the numbers say, in words.

use super::measure::Row;
use super::table::with_spaces;

/// Sums of the rows without the shim, or of those with it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    promised: usize,
    complete: usize,
    bytes_lost: u64,
    resets_seen: usize,
    resets_sent: u64,
}

impl Sum {
    fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        rows.fold(Self::default(), |sum, row| Self {
            promised: sum.promised + row.promised,
            complete: sum.complete + row.complete,
            bytes_lost: sum.bytes_lost + row.bytes_lost,
            resets_seen: sum.resets_seen + row.resets_seen,
            resets_sent: sum.resets_sent + row.kernel.out_rsts,
        })
    }

    fn sentence(&self, which: &str) -> String {
        let Sum { promised, complete, bytes_lost, resets_seen, resets_sent } = self;
        if complete == promised && *resets_seen == 0 && *resets_sent == 0 {
            return format!("{which} the shim all {promised} answers arrived whole and no reset was sent.");
        }
        format!(
            "{which} the shim {complete} of {promised} answers arrived whole, {} bytes were \
             lost, the client saw {resets_seen} and the kernel sent {resets_sent} resets.",
            with_spaces(*bytes_lost)
        )
    }
}

/// Whether the shim kept everything, and the same in one or two sentences. Where the kernel's counters
/// include other traffic, only what the client saw decides.
pub(crate) fn draw(rows: &[Row], counters_are_ours: bool) -> (bool, String) {
    let without = Sum::of(rows.iter().filter(|row| !row.shim));
    let with = Sum::of(rows.iter().filter(|row| row.shim));
    let no_resets = with.resets_seen == 0 && (with.resets_sent == 0 || !counters_are_ours);
    let ok = with.complete == with.promised && no_resets;
    let sentences = [without.sentence("Without"), with.sentence("With")];
    (ok, sentences.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;
    use crate::scenario::Scenario;

    fn row(shim: bool, complete: usize, out_rsts: u64) -> Row {
        Row {
            scenario: Scenario::Late,
            server: "test",
            shim,
            connections: 2,
            promised: 2,
            complete,
            bytes_lost: 10 * (2 - complete as u64),
            resets_seen: 2 - complete,
            kernel: Counters { out_rsts, ..Counters::default() },
        }
    }

    #[test]
    fn a_shim_that_keeps_everything_is_said_to() {
        let (ok, text) = draw(&[row(false, 1, 1), row(true, 2, 0)], true);
        assert!(ok);
        assert!(text.contains("Without the shim 1 of 2 answers arrived whole, 10 bytes"), "{text}");
        assert!(text.ends_with("With the shim all 2 answers arrived whole and no reset was sent."));
    }

    #[test]
    fn a_shim_that_loses_something_is_said_to() {
        let (ok, text) = draw(&[row(true, 1, 0)], true);
        assert!(!ok);
        assert!(text.contains("With the shim 1 of 2"), "{text}");
    }

    #[test]
    fn a_reset_counts_only_in_a_namespace_of_our_own() {
        assert!(!draw(&[row(true, 2, 1)], true).0);
        assert!(draw(&[row(true, 2, 1)], false).0);
    }
}
