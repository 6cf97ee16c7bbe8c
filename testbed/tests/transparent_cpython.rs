//! More of CPython's own tests, which say with the shim what they say without it: event loops, TLS, HTTP servers,
//! processes made in every way.
//!
//! Those that take a minute each are for `make transparency`.

use linger_testbed::cpython::{says_the_same_but_for_resets, says_the_same_with_the_shim};
use linger_testbed::netns::isolated;

#[test]
fn test_epoll_and_test_httpservers() {
    isolated(|| says_the_same_with_the_shim(&["test_epoll", "test_httpservers"], 50));
}

#[test]
#[ignore = "long: make transparency"]
fn test_selectors() {
    isolated(|| says_the_same_with_the_shim(&["test_selectors"], 50));
}

#[test]
#[ignore = "long: make transparency"]
fn test_ssl() {
    isolated(|| says_the_same_with_the_shim(&["test_ssl"], 100));
}

#[test]
#[ignore = "long: make transparency"]
fn test_subprocess() {
    isolated(|| says_the_same_with_the_shim(&["test_subprocess"], 200));
}

#[test]
#[ignore = "long: make transparency"]
fn test_asyncio() {
    // A server closes while its client sends a file, and the client must see that fail: it does not any more.
    const EXPECT_A_RESET: [&str; 2] = [
        "test_sendfile_close_peer_in_the_middle_of_receiving",
        "test_sendfile_fallback_close_peer_in_the_middle_of_receiving",
    ];
    isolated(|| says_the_same_but_for_resets(&["test_asyncio"], 1000, &EXPECT_A_RESET));
}

#[test]
#[ignore = "long: make transparency"]
fn test_multiprocessing_fork() {
    isolated(|| says_the_same_with_the_shim(&["test_multiprocessing_fork"], 200));
}
