//! WvStreams' `WvHttpPool` fetches 60 pages from a small Perl server, unmodified, that closes at
//! random: the case that this project exists for.

use std::sync::OnceLock;

use linger_testbed::counters::Counters;
use linger_testbed::netns;
use linger_testbed::server::{Preload, Program, Server};
use linger_testbed::wvstreams::{Fetcher, PAGES};

/// A run that closes at lucky moments loses nothing, though its resets are counted all the same.
const SEEDS: [u32; 3] = [1, 5, 7];

#[test]
fn without_the_shim_pages_break() {
    netns::isolated(|| {
        let mut broken = 0;
        for seed in SEEDS {
            let (complete, resets) = fetch(seed, &Preload::None);
            // Mostly data after close, out of FIN_WAIT2: TCPAbortOnData does not count those.
            assert!(resets.out_rsts > 0, "seed {seed}: {resets:?}");
            println!("seed {seed}: {complete} pages, {resets:?}");
            broken += PAGES - complete;
        }
        assert!(broken > 0, "every page arrived, for all of {SEEDS:?}");
    });
}

#[test]
fn with_the_shim_every_page_arrives_and_no_reset_is_sent() {
    netns::isolated(|| {
        let shim = Preload::shim().expect("shim");
        for seed in SEEDS {
            let (complete, resets) = fetch(seed, &shim);
            assert_eq!(complete, PAGES, "pages that arrived, seed {seed}");
            assert_eq!(resets, Counters::default(), "seed {seed}");
        }
    });
}

/// Built once: two builds at a time would write the same file.
fn fetcher() -> &'static Fetcher {
    static FETCHER: OnceLock<Fetcher> = OnceLock::new();
    FETCHER.get_or_init(|| Fetcher::build().expect("client"))
}

fn fetch(seed: u32, preload: &Preload) -> (usize, Counters) {
    let server = Server::start(&Program::Perl { seed }, preload).expect("server");
    let fetched = server.count_resets(|address| fetcher().fetch(address));
    fetched.expect("fetch")
}
