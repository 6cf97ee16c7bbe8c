//! What the fuzzers have found worth keeping, in every run of the tests: each input is checked as the fuzz target checks it.

use arbitrary::{Arbitrary, Unstructured};
use std::path::Path;

#[path = "../fuzz/checks/messages.rs"]
mod messages;
#[path = "../fuzz/checks/published.rs"]
mod published;
#[path = "../fuzz/checks/settings.rs"]
mod settings;

/// Calls `check` with each input of a corpus. How many there were that say anything.
fn each(corpus: &str, mut check: impl FnMut(&[u8]) -> bool) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    // Said by the test's output where it fails.
    let said = |file: &Path| println!("{}", file.display());
    files.iter().inspect(|file| said(file)).filter(|file| check(&std::fs::read(file).unwrap())).count()
}

/// As libfuzzer_sys makes it of bytes.
fn input<'a, T: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<T> {
    if bytes.len() < T::size_hint(0).0 {
        return None;
    }
    T::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}

#[test]
fn messages_to_the_drain_thread() {
    let checked = each("messages", |bytes| input(bytes).map(messages::check).is_some());
    assert!(checked >= 10, "{checked} inputs");
}

#[test]
fn published_memory() {
    let checked = each("published", |bytes| {
        published::check(bytes);
        true
    });
    assert!(checked >= 10, "{checked} inputs");
}

#[test]
fn settings_of_the_c_interface() {
    let checked = each("settings", |bytes| input(bytes).map(settings::check).is_some());
    assert!(checked >= 10, "{checked} inputs");
}
