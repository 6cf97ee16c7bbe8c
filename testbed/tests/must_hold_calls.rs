//! Letting go of a connection does not block, whoever lingers meanwhile. How long it takes is measured by
//! `call-latency`: a figure that depends on the machine is no test.

use std::path::Path;

use linger_testbed::closer::{Closer, Start, Way, AT_ONCE};
use linger_testbed::crowd::{allow_descriptors, Crowd, ServerEnd};
use linger_testbed::netns;
use linger_testbed::server::Preload;

const PROGRAM: &str = env!("CARGO_BIN_EXE_call-latency");

const SILENT: usize = 1000;

/// A call that waited for one silent peer would wait for ten minutes (`settings::PATIENT`); [`Closer::tell`] gives up
/// long before.
fn calls_return_while_silent_peers_linger(mut closer: Closer, way: Way) {
    allow_descriptors(2 * SILENT as u64).expect("descriptors");
    let mut silent = Crowd::of(closer.address());
    closer.accept(&mut silent, SILENT).expect("connections");
    closer.let_linger(way, SILENT, 0).expect("silent peers linger");
    assert_eq!(closer.pending().expect("pending"), Some(SILENT));
    silent.wait_until_lingering(SILENT).expect("every one of them lingers");

    let mut others = Crowd::of(closer.address());
    closer.accept(&mut others, AT_ONCE).expect("more connections");
    closer.let_go(way, AT_ONCE).expect("every call returns");
    others.hear_the_end().expect("their FIN left in the call");
    others.wait_until_lingering(AT_ONCE).expect("they linger, too");
    silent.wait_until_lingering(SILENT).expect("and nobody made room for them");
    assert_eq!(closer.statistics().expect("statistics").fallbacks, 0);
}

#[test]
fn hooked_close_returns_while_1000_silent_peers_linger() {
    netns::isolated(|| {
        let shim = Preload::shim().expect("shim");
        let closer = Closer::start(Start::new(PROGRAM, shim)).expect("program");
        calls_return_while_silent_peers_linger(closer, Way::Close);
    });
}

#[test]
fn linger_close_returns_while_1000_silent_peers_linger() {
    netns::isolated(|| {
        let Preload::Shim(library) = Preload::shim().expect("shim") else { unreachable!("no shim") };
        let start = Start { library: Some(Path::new(&library)), ..Start::new(PROGRAM, Preload::None) };
        let closer = Closer::start(start).expect("program");
        calls_return_while_silent_peers_linger(closer, Way::LingerClose);
    });
}

#[test]
fn plain_close_leaves_nothing_that_lingers() {
    netns::isolated(|| {
        let mut closer = Closer::start(Start::new(PROGRAM, Preload::None)).expect("program");
        let mut silent = Crowd::of(closer.address());
        closer.accept(&mut silent, AT_ONCE).expect("connections");
        closer.let_go(Way::Close, AT_ONCE).expect("every call returns");
        let ends = silent.server_ends().expect("table");
        assert!(ends.iter().all(|end| *end == ServerEnd::Orphaned), "{ends:?}");
    });
}
