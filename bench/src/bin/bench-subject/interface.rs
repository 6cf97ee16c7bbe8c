//! liblinger's functions, found at run time: in what is preloaded, or in the library that `$LINGER_LIB` names, which is
//! loaded and leaves `close(2)` alone.

use std::ffi::{c_int, c_void, CStr, CString};
use std::os::unix::ffi::OsStrExt;

use anyhow::{ensure, Context, Result};
use linger_testbed::closer::Statistics;

/// Where its functions are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interface {
    handle: *mut c_void,
}

impl Interface {
    /// Loads `$LINGER_LIB` if it is set.
    pub(crate) fn find() -> Result<Self> {
        let Some(path) = std::env::var_os("LINGER_LIB") else {
            return Ok(Self { handle: libc::RTLD_DEFAULT });
        };
        let path = CString::new(path.as_bytes())?;
        // SAFETY: the path ends with its only NUL; liblinger's constructor may run here.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        ensure!(!handle.is_null(), "{path:?} cannot be loaded");
        Ok(Self { handle })
    }

    fn symbol(self, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: the handle is one, and the name ends with its only NUL.
        let found = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    }

    /// The function itself, with the default deadline.
    pub(crate) fn linger_close(self) -> Result<impl Fn(c_int) -> c_int + Copy> {
        let found = self.symbol(c"linger_close").context("there is no linger_close")?;
        // SAFETY: it has this signature (linger.h).
        let function: extern "C" fn(c_int, c_int) -> c_int = unsafe { std::mem::transmute(found) };
        Ok(move |fd| function(fd, -1))
    }

    /// What `linger_stats()` says, if there is one.
    pub(crate) fn statistics(self) -> Option<Statistics> {
        let found = self.symbol(c"linger_stats")?;
        // SAFETY: it has this signature (linger.h).
        let function: extern "C" fn(*mut Statistics) -> c_int = unsafe { std::mem::transmute(found) };
        let mut statistics = Statistics { size: size_of::<Statistics>(), ..Statistics::default() };
        (function(&mut statistics) == 0).then_some(statistics)
    }
}
