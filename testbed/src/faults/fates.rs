//! What a failure turned connections into.

use std::fmt;

use super::calls::Fates;
use super::exchange::{Behaviour, Got};
use super::session::Conclusion;

/// As the clients and the counters have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// Clients that spoke late and got everything: their connections lingered. Without those the server itself waited for.
    pub whole: usize,
    /// Those that lost a part, of connections the server itself let go of.
    pub lost: usize,
    /// Those that lost a part, of connections its children let go of, whose counters are their own.
    pub lost_in_children: usize,
    /// Closed without waiting (`closed`); among them some of which it was seen only then that they had ended.
    pub inline: usize,
    /// Of these, those that should have lingered and could not (`fallbacks`).
    pub fallbacks: usize,
    /// Their state could not be told any more: closed (`reset`).
    pub over: usize,
    /// Left alone because somebody may hold them (`shared`).
    pub shared: usize,
}

impl Observed {
    /// Of one session.
    #[must_use]
    pub fn of(conclusion: &Conclusion) -> Self {
        let mut observed = Self::default();
        for (way, behaviour, got) in &conclusion.got {
            // What lingers when a program sandboxes itself is closed; what is left at the end is counted by nobody.
            if *behaviour != Behaviour::SpeaksLate || matches!(&**way, "sandbox" | "end of process") {
                continue;
            }
            match got {
                Got::Everything if way == "linger_close_wait" => {}
                Got::Everything => observed.whole += 1,
                Got::Reset(_) if matches!(&**way, "fork" | "exit") => observed.lost_in_children += 1,
                Got::Reset(_) => observed.lost += 1,
                Got::Nothing => {}
            }
        }
        if let Some(report) = &conclusion.report {
            let statistics = &report.statistics;
            observed.inline = statistics.closed as usize;
            observed.fallbacks = statistics.fallbacks as usize;
            observed.over = statistics.reset as usize;
            observed.shared = statistics.shared as usize;
        }
        observed
    }

    /// Whether something was lost.
    #[must_use]
    pub fn any_lost(&self) -> bool {
        self.lost + self.lost_in_children > 0
    }

    /// What the counters prove; what was lost without that may have been either.
    #[must_use]
    pub fn fates(&self) -> Fates {
        let mut fates = Fates::NONE;
        if self.whole > 0 {
            fates = fates.or(Fates::LINGERS);
        }
        if self.lost > 0 && self.fallbacks > 0 {
            fates = fates.or(Fates::INLINE);
        }
        // No counter has it.
        if self.lost > self.inline {
            fates = fates.or(Fates::PLAIN);
        }
        fates
    }

    /// What is against it that these were the fates of all connections. Whole is as good as any.
    #[must_use]
    pub fn contradiction(&self, expected: Fates) -> Option<&'static str> {
        if expected == Fates::LINGERS && self.any_lost() {
            return Some("nothing was to be lost");
        }
        if !self.fates().within(expected.or(Fates::LINGERS)) {
            return Some("what did not linger was to end otherwise");
        }
        let some_linger = Fates::LINGERS.within(expected);
        (some_linger && self.whole == 0).then_some("some were to linger")
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { whole, lost, lost_in_children, inline, fallbacks, over, shared } = self;
        write!(
            f,
            "{whole} whole, {lost}+{lost_in_children} lost; {inline} closed, {fallbacks} of them fallbacks; "
        )?;
        write!(f, "{over} reset, {shared} shared")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fate_is_told_from_the_others() {
        let lingered = Observed { whole: 9, inline: 3, over: 4, ..Observed::default() };
        let inline = Observed { whole: 1, lost: 8, inline: 11, fallbacks: 8, ..Observed::default() };
        let plain = Observed { whole: 1, lost: 8, inline: 3, ..Observed::default() };
        let in_children = Observed { lost_in_children: 1, ..lingered };
        let all = [Fates::LINGERS, Fates::INLINE, Fates::PLAIN];
        let told = |observed: Observed| all.map(|expected| observed.contradiction(expected).is_none());
        assert_eq!(told(lingered), [true, true, true]);
        assert_eq!(told(inline), [false, true, false]);
        assert_eq!(told(plain), [false, false, true]);
        assert_eq!(told(in_children), [false, true, true]);
        let none = Observed::default();
        assert!(none.contradiction(Fates::LINGERS.or(Fates::PLAIN)).is_some());
    }
}
