//! More of CPython's own tests, which say with the shim what they say without it: event loops, TLS, HTTP servers,
//! processes made in every way.
//!
//! Those that take a minute each are for `make transparency`.

use linger_testbed::cpython::says_the_same_with_the_shim;
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
    isolated(|| says_the_same_with_the_shim(&["test_asyncio"], 1000));
}

#[test]
#[ignore = "long: make transparency"]
fn test_multiprocessing_fork() {
    isolated(|| says_the_same_with_the_shim(&["test_multiprocessing_fork"], 200));
}
