#![no_main]

#[path = "../checks/settings.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|given: check::Input| check::check(given));
