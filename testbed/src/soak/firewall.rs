//! Peers that are gone: every packet from them and to them is dropped, by nftables in the calling thread's network
//! namespace.

use std::process::Command;

use anyhow::{ensure, Context, Result};

use crate::server::find_program;

/// What drops packets, by the port of the peer that is gone.
const RULES: &str = "
table inet linger {
    set gone { type inet_service; }
    counter dropped { }
    chain in {
        type filter hook input priority 0;
        tcp sport @gone counter name dropped drop
        tcp dport @gone counter name dropped drop
    }
}";

/// Sets it up. It goes with the namespace.
///
/// # Errors
///
/// If there is no nftables here.
pub(super) fn raise() -> Result<()> {
    nft(RULES).context("peers that vanish need nftables: a kernel with nf_tables, and root")?;
    Ok(())
}

/// How many packets were dropped.
///
/// # Errors
///
/// If it was not set up.
pub(super) fn dropped() -> Result<u64> {
    let text = nft("list counter inet linger dropped")?;
    let mut words = text.split_ascii_whitespace().skip_while(|word| *word != "packets").skip(1);
    let packets = words.next().and_then(|number| number.parse().ok());
    packets.with_context(|| format!("nft says {text:?}"))
}

/// A peer that is gone; dropping it brings it back.
pub(super) struct Gone(u16);

impl Gone {
    /// Who uses this port is.
    pub(super) fn make(port: u16) -> Result<Self> {
        nft(&format!("add element inet linger gone {{ {port} }}"))?;
        Ok(Self(port))
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Err(error) = nft(&format!("delete element inet linger gone {{ {} }}", self.0)) {
            eprintln!("whoever gets that port next is gone from the start: {error:#}");
        }
    }
}

fn nft(commands: &str) -> Result<String> {
    let output = Command::new(find_program("nft", "nftables")?).arg(commands).output().context("run nft")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {}", errors.trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
