//! The command line.

use crate::scenario::Scenario;

/// What a demonstration shows, for its help.
pub const EXPLANATION: &str = "\
A server that calls close() on a connection while the client still has something
to say makes its kernel answer with a reset (RST), and the reset throws away what
the server had written and the client had not yet received. This command lets
that happen and counts, first without and then with liblinger.so preloaded into
the same, unmodified server.

Scenarios:
  pipeline  the client sends 100 requests at once; the server answers 10 and
            closes
  upload    the client sends 8 MB; the server refuses with a 413 and closes while
            they are coming
  late      the client sends one more request in the middle of a 3 MB answer,
            after the server has written all of it and closed with nothing unread

Servers: a small one of our own that just closes, and nginx and lighttpd where
they are installed, configured as an operator would. The client has a receive
buffer of 64 KiB, and like most clients it gives up when it cannot send.

Columns:
  complete          answers that arrived whole, of those that were promised
  bytes lost        of the bodies that were promised
  client resets     connections on which the client saw ECONNRESET or EPIPE
  TCPAbortOnClose   resets the kernel sent because of unread data at close()
  TCPAbortOnData    resets the kernel sent because of data after close()
  OutRsts           all the resets that it sent, these and others

The counters are those of a network namespace made for this run. Without root that
takes a user namespace; where neither is allowed, the counters include other
traffic and this command says so.

Examples:
  linger demo                          everything
  linger demo --scenario late --repeat 15
  linger demo --library ./liblinger.so --json | jq .conclusion

Exit status: 0 if with liblinger every answer was complete and no reset was
counted, otherwise 1.";

/// What to show, and how.
#[derive(Debug, clap::Args)]
#[group(id = "demonstration")]
pub struct Arguments {
    /// Play each scenario this many times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) repeat: u32,

    /// Only this scenario; may be given more than once
    #[arg(long, value_name = "NAME", value_enum, hide_possible_values = true)]
    scenario: Vec<Scenario>,

    /// Print JSON for programs instead of a table for people
    #[arg(long)]
    pub(super) json: bool,
}

impl Arguments {
    pub(super) fn scenarios(&self) -> &[Scenario] {
        if self.scenario.is_empty() {
            &Scenario::ALL
        } else {
            &self.scenario
        }
    }
}
