//! The C interface of a liblinger that is preloaded.

use std::ffi::{c_int, c_void, CStr};

use linger_testbed::interface::Statistics;

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with its only NUL.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

type WithTwo = extern "C" fn(c_int, c_int) -> c_int;

/// One of the functions that take a descriptor and a time.
pub fn closing(name: &CStr) -> Option<WithTwo> {
    // SAFETY: linger_close and linger_close_wait have this signature (linger.h).
    symbol(name).map(|function| unsafe { std::mem::transmute::<*mut c_void, WithTwo>(function) })
}

/// Waits until nothing lingers; how many still do. 0 where there is no liblinger.
pub fn flush(timeout_ms: c_int) -> c_int {
    type WithOne = extern "C" fn(c_int) -> c_int;
    // SAFETY: linger_flush has this signature (linger.h).
    symbol(c"linger_flush")
        .map_or(0, |function| unsafe { std::mem::transmute::<*mut c_void, WithOne>(function) }(timeout_ms))
}

/// The counters; zeros where there is no liblinger.
pub fn statistics() -> Statistics {
    type WithPointer = extern "C" fn(*mut Statistics) -> c_int;
    let mut statistics = Statistics { size: size_of::<Statistics>(), ..Statistics::default() };
    if let Some(function) = symbol(c"linger_stats") {
        // SAFETY: it has this signature (linger.h).
        let function = unsafe { std::mem::transmute::<*mut c_void, WithPointer>(function) };
        function(&mut statistics);
    }
    statistics
}
