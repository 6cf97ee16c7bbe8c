//! liblinger's functions, called by a program that has them, or not.

use std::ffi::{c_int, c_void, CStr};
use std::os::fd::RawFd;
use std::path::Path;

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};

/// `struct linger_stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Statistics {
    pub size: usize,
    pub lingered: u64,
    pub pending: u64,
    pub fin: u64,
    pub reset: u64,
    pub idle: u64,
    pub timeout: u64,
    pub bytes: u64,
    pub evicted: u64,
    pub closed: u64,
    pub shared: u64,
    pub fallbacks: u64,
    pub bytes_discarded: u64,
}

impl Statistics {
    /// How many connections ended, in whatever way.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.fin
            + self.reset
            + self.idle
            + self.timeout
            + self.bytes
            + self.evicted
            + self.closed
            + self.shared
    }
}

/// liblinger's functions, where there are any.
/// Addresses are null for what is not there.
#[derive(Debug)]
pub struct Interface {
    linger_close: *mut c_void,
    linger_pending: *mut c_void,
    linger_stats: *mut c_void,
    linger_shim_active: *mut c_void,
}

impl Interface {
    /// Those of `library`, which is loaded; without one, those of the program itself.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded.
    pub fn find(library: Option<&Path>) -> Result<Self> {
        let mut handle = libc::RTLD_DEFAULT;
        if let Some(path) = library {
            let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
            // SAFETY: the path ends with its only NUL; liblinger's constructor may run here.
            handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
            ensure!(!handle.is_null(), "{path:?} cannot be loaded");
        }
        // SAFETY: the handle is one, and the name ends with its only NUL.
        let symbol = |name: &CStr| unsafe { libc::dlsym(handle, name.as_ptr()) };
        Ok(Self {
            linger_close: symbol(c"linger_close"),
            linger_pending: symbol(c"linger_pending"),
            linger_stats: symbol(c"linger_stats"),
            linger_shim_active: symbol(c"linger_shim_active"),
        })
    }

    /// # Errors
    ///
    /// If there is no such function.
    pub fn linger_close(&self) -> Result<impl Fn(RawFd) -> c_int> {
        ensure!(!self.linger_close.is_null(), "there is no linger_close");
        // SAFETY: it has this signature (linger.h).
        let function: extern "C" fn(c_int, c_int) -> c_int =
            unsafe { std::mem::transmute(self.linger_close) };
        Ok(move |fd| function(fd, -1))
    }

    /// What `linger_pending()` says.
    #[must_use]
    pub fn pending(&self) -> Answer {
        ask(self.linger_pending)
    }

    /// What `linger_shim_active()` says.
    #[must_use]
    pub fn active(&self) -> Answer {
        ask(self.linger_shim_active)
    }

    /// What `linger_stats()` says.
    ///
    /// # Errors
    ///
    /// If there is no such function.
    pub fn statistics(&self) -> Result<Statistics> {
        let mut statistics = Statistics { size: size_of::<Statistics>(), ..Statistics::default() };
        ensure!(!self.linger_stats.is_null(), "there is no linger_stats");
        // SAFETY: it has this signature (linger.h).
        let function: extern "C" fn(*mut Statistics) -> c_int =
            unsafe { std::mem::transmute(self.linger_stats) };
        ensure!(function(&mut statistics) == 0, "linger_stats failed");
        Ok(statistics)
    }
}

/// What a function without arguments says, if there is one.
#[derive(Debug)]
pub struct Answer(Option<c_int>);

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "absent"),
        }
    }
}

/// `function` is linger_pending, linger_shim_active, or null.
fn ask(function: *mut c_void) -> Answer {
    if function.is_null() {
        return Answer(None);
    }
    // SAFETY: both functions have this signature (linger.h).
    let function: extern "C" fn() -> c_int = unsafe { std::mem::transmute(function) };
    Answer(Some(function()))
}
