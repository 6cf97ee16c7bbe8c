//! CPython's own tests of sockets and socket servers: among them threads that are woken by another's shutdown or close,
//! duplicated and passed descriptors, and servers of every kind. With the shim they say what they say without it.

use linger_testbed::cpython::{Sign, Suites};
use linger_testbed::netns::isolated;

#[test]
fn test_socket_and_test_socketserver_say_the_same_with_the_shim() {
    const NAMES: [&str; 2] = ["test_socket", "test_socketserver"];
    // Fewer than there are: the report has been understood.
    let suites = Suites { names: &NAMES, at_least: 400, sign: Sign::Lingered, expect_a_reset: &[] };
    isolated(move || suites.say_the_same_with_the_shim());
}
