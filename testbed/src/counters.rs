//! The kernel's own count of resets, per network namespace: the oracle of every test here.
//!
//! `Tcp OutRsts` counts every reset sent. `TcpExt TCPAbortOnClose` (unread data at `close()`) and
//! `TCPAbortOnData` (data after `close()`) say why, but the latter misses resets that were sent out
//! of FIN_WAIT2 and TIME_WAIT; only `OutRsts` is complete. See `Documentation/networking/snmp_counter.rst`.

use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};
use serde::Serialize;

/// Resets, since the namespace was made or between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Resets sent, whatever the cause.
    pub out_rsts: u64,
    /// Connections reset because data was unread when the program closed them.
    pub abort_on_close: u64,
    /// Connections reset because data came after the program had closed them.
    pub abort_on_data: u64,
    /// Connections that a reset ended while a program still had them: an end that had not closed was told.
    pub estab_resets: u64,
}

impl Counters {
    /// Reads the counters of the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// If procfs is not mounted or does not have these counters.
    pub fn read() -> Result<Self> {
        let snmp = fs::read_to_string("/proc/thread-self/net/snmp").context("read net/snmp")?;
        let netstat = fs::read_to_string("/proc/thread-self/net/netstat").context("read net/netstat")?;
        Ok(Self {
            out_rsts: field(&snmp, "Tcp:", "OutRsts")?,
            abort_on_close: field(&netstat, "TcpExt:", "TCPAbortOnClose")?,
            abort_on_data: field(&netstat, "TcpExt:", "TCPAbortOnData")?,
            estab_resets: field(&snmp, "Tcp:", "EstabResets")?,
        })
    }

    /// Whether no program lost a connection to a reset.
    ///
    /// `OutRsts` alone does not say so. On a busy machine a delayed ACK of the server can reach a client that has
    /// finished and closed, whose kernel then answers it with a reset: nobody is told, and nothing is lost. Such a
    /// one leaves the other three at zero.
    #[must_use]
    pub fn nobody_was_reset(&self) -> bool {
        self.abort_on_close == 0 && self.abort_on_data == 0 && self.estab_resets == 0
    }

    /// What has been counted since `self` was read.
    ///
    /// # Errors
    ///
    /// As [`Counters::read`].
    pub fn since(self) -> Result<Self> {
        Ok(Self::read()? - self)
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            out_rsts: self.out_rsts.saturating_sub(earlier.out_rsts),
            abort_on_close: self.abort_on_close.saturating_sub(earlier.abort_on_close),
            abort_on_data: self.abort_on_data.saturating_sub(earlier.abort_on_data),
            estab_resets: self.estab_resets.saturating_sub(earlier.estab_resets),
        }
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, more: Self) {
        self.out_rsts += more.out_rsts;
        self.abort_on_close += more.abort_on_close;
        self.abort_on_data += more.abort_on_data;
        self.estab_resets += more.estab_resets;
    }
}

/// A table is two lines with the same first word: names, then values.
pub(crate) fn field(text: &str, table: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines().filter(|line| line.split(' ').next() == Some(table));
    let names = lines.next().with_context(|| format!("no {table} line"))?;
    let values = lines.next().with_context(|| format!("no second {table} line"))?;
    let (_, value) = names
        .split(' ')
        .zip(values.split(' '))
        .find(|(column, _)| *column == name)
        .with_context(|| format!("no {name} in {table}"))?;
    value.parse().with_context(|| format!("{name} is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_the_name_of_its_column() {
        let text = "Ip: A B\nIp: 1 2\nTcp: A OutRsts\nTcp: 3 4\n";
        assert_eq!(field(text, "Tcp:", "OutRsts").expect("field"), 4);
        assert!(field(text, "Tcp:", "B").is_err());
    }

    #[test]
    fn the_kernel_has_these_counters() {
        Counters::read().expect("counters");
    }
}
