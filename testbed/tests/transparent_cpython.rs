//! More of CPython's own tests, which say with the shim what they say without it: event loops, TLS, HTTP servers,
//! processes made in every way.
//!
//! Those that take a minute each are for `make transparency`.

use linger_testbed::cpython::{Sign, Suites};
use linger_testbed::netns::isolated;

const fn suites(names: &'static [&'static str], at_least: usize, sign: Sign) -> Suites<'static> {
    Suites { names, at_least, sign, expect_a_reset: &[] }
}

#[test]
fn test_epoll_and_test_httpservers() {
    let suites = suites(&["test_epoll", "test_httpservers"], 50, Sign::Lingered);
    isolated(move || suites.say_the_same_with_the_shim());
}

#[test]
#[ignore = "long: make transparency"]
fn test_selectors() {
    let suites = suites(&["test_selectors"], 50, Sign::On);
    isolated(move || suites.say_the_same_with_the_shim());
}

#[test]
#[ignore = "long: make transparency"]
fn test_ssl() {
    let suites = suites(&["test_ssl"], 100, Sign::Lingered);
    isolated(move || suites.say_the_same_with_the_shim());
}

#[test]
#[ignore = "long: make transparency"]
fn test_subprocess() {
    let suites = suites(&["test_subprocess"], 200, Sign::On);
    isolated(move || suites.say_the_same_with_the_shim());
}

#[test]
#[ignore = "long: make transparency"]
fn test_asyncio() {
    // A server closes while its client sends a file, and the client must see that fail: it does not any more (liblinger(7),
    // LIMITATIONS).
    const EXPECT_A_RESET: &[&str] = &[
        "test_sendfile_close_peer_in_the_middle_of_receiving",
        "test_sendfile_fallback_close_peer_in_the_middle_of_receiving",
    ];
    let suites = Suites { expect_a_reset: EXPECT_A_RESET, ..suites(&["test_asyncio"], 1000, Sign::Lingered) };
    isolated(move || suites.say_the_same_with_the_shim());
}

#[test]
#[ignore = "long: make transparency"]
fn test_multiprocessing_fork() {
    let suites = suites(&["test_multiprocessing_fork"], 200, Sign::On);
    isolated(move || suites.say_the_same_with_the_shim());
}
