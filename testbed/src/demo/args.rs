//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use linger_testbed::buggy::SoLinger;
use linger_testbed::scenario::Scenario;
use linger_testbed::server::Preload;

const EXPLANATION: &str = "\
A server that calls close() on a connection while the client still has something to say makes its
kernel answer with a reset (RST), and the reset throws away what the server had written and the
client had not yet received. This program lets that happen and counts, first without and then with
liblinger.so preloaded into the same, unmodified server.

Scenarios:
  pipeline  the client sends 100 requests at once; the server answers 10 and closes
  upload    the client sends 8 MB; the server refuses with a 413 and closes while they are coming
  late      the client sends one more request in the middle of a 3 MB answer, after the server has
            written all of it and closed with nothing unread

Servers: a small one of our own that just closes, and nginx and lighttpd where they are installed,
configured as an operator would. The client has a receive buffer of 64 KiB, and like most clients it
gives up when it cannot send.

Columns:
  complete          answers that arrived whole, of those that were promised
  bytes lost        of the bodies that were promised
  client resets     connections on which the client saw ECONNRESET or EPIPE
  TCPAbortOnClose   resets the kernel sent because of unread data at close()
  TCPAbortOnData    resets the kernel sent because of data after close()
  OutRsts           all the resets that it sent, these and others

The counters are those of a network namespace made for this run. Without root that takes a user
namespace; where neither is allowed, the counters include other traffic and this program says so.

Examples:
  linger-demo                          everything
  linger-demo --scenario late --repeat 15
  linger-demo --library ./liblinger.so --json | jq .conclusion

Exit status: 0 if with the shim every answer was complete and no reset was counted, otherwise 1.";

/// Shows what servers lose by closing plainly, and that liblinger keeps it.
#[derive(Debug, Parser)]
#[command(name = "linger-demo", version, after_long_help = EXPLANATION)]
pub(crate) struct Args {
    /// Play each scenario this many times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,

    /// The liblinger.so to show [default: $LINGER_LIB, or the one that was built here]
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,

    /// Only this scenario; may be given more than once
    #[arg(long, value_name = "NAME", value_enum, hide_possible_values = true)]
    scenario: Vec<Scenario>,

    /// Print JSON for programs instead of a table for people
    #[arg(long)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

/// What the program starts itself for.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Be the server that closes plainly
    #[command(hide = true)]
    Serve {
        /// What to set before closing
        #[arg(long, value_enum, default_value_t)]
        so_linger: SoLinger,
        /// Where to listen
        #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
        host: Ipv4Addr,
    },
}

impl Args {
    pub(crate) fn shim(&self) -> Result<Preload> {
        match &self.library {
            Some(path) => Preload::shim_at(path),
            None => Preload::shim(),
        }
    }

    pub(crate) fn scenarios(&self) -> &[Scenario] {
        if self.scenario.is_empty() {
            &Scenario::ALL
        } else {
            &self.scenario
        }
    }
}
