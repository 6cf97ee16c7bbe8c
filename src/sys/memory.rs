//! Memory straight from the kernel: arrays of a fixed length that start out as zeros.
//!
//! **Promises:** pages cost nothing until touched, are not copied into a forked child, and go back to the
//! kernel on drop. A refusal is an error, never an abort.

use super::{call, Errno, Fd, Result};
use core::mem::size_of;
use core::ops::{Deref, DerefMut};

/// Types for which all-zero bytes are a value.
///
/// # Safety
/// The implementor vouches for that.
pub unsafe trait Zeroed: Copy {}

// SAFETY: zero is an integer.
unsafe impl Zeroed for u64 {}

// SAFETY: zero is an integer.
unsafe impl Zeroed for u32 {}

/// A fixed array of `T` in pages of its own.
pub struct Region<T: Zeroed> {
    start: *mut T,
    length: usize,
}

/// Some bytes of a file, mapped and shared with whoever else maps them.
pub struct Mapping {
    start: *mut u8,
    bytes: usize,
}

impl Mapping {
    /// The `bytes` of `fd` from `offset` on, for reading and writing.
    pub fn of_file(fd: Fd, offset: usize, bytes: usize) -> Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping overlaps nothing.
        let start = unsafe { call!(SYS_mmap, 0, bytes, protection, libc::MAP_SHARED, fd, offset) }?;
        Ok(Mapping { start: start as *mut u8, bytes })
    }

    /// Where it begins: aligned to a page.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// Leaves it mapped for the rest of the process's life.
    pub fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        let _ = unsafe { call!(SYS_munmap, self.start, self.bytes) };
    }
}

const MFD_NOEXEC_SEAL: libc::c_uint = 8;

/// An unnamed file of memory (memfd_create(2)) of `bytes` zeros, mode 0600, whose length nobody can change. It takes
/// memory only for what is touched.
pub fn sealed_file(name: &core::ffi::CStr, bytes: usize) -> Result<Fd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Linux 6.3 wants to be told that it is no program (vm.memfd_noexec); an older one does not know the flag.
    // SAFETY: the name is NUL-terminated.
    let create = |flags: libc::c_uint| unsafe { call!(SYS_memfd_create, name.as_ptr(), flags) };
    let created = match create(flags | MFD_NOEXEC_SEAL) {
        Err(Errno(libc::EINVAL)) => create(flags),
        created => created,
    };
    let fd = created? as Fd;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    // SAFETY: no memory is passed.
    let ready = unsafe {
        call!(SYS_fchmod, fd, 0o600)
            .and_then(|_| call!(SYS_ftruncate, fd, bytes))
            .and_then(|_| call!(SYS_fcntl, fd, libc::F_ADD_SEALS, seals))
    };
    ready.map(|_| fd).inspect_err(|_| {
        let _ = super::close(fd);
    })
}

/// Nobody can write to `fd` from now on, but through the mappings that are there (Linux 5.1).
pub fn seal_writing(fd: Fd) -> Result<()> {
    let seals = libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: no memory is passed.
    unsafe { call!(SYS_fcntl, fd, libc::F_ADD_SEALS, seals) }.map(drop)
}

impl<T: Zeroed> Region<T> {
    /// `length` elements of zeros.
    pub fn new(length: usize) -> Result<Region<T>> {
        let bytes = length.checked_mul(size_of::<T>()).filter(|b| *b > 0).ok_or(Errno(libc::ENOMEM))?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping overlaps nothing.
        let start = unsafe { call!(SYS_mmap, 0, bytes, protection, flags, -1, 0) }?;
        // SAFETY: the range was mapped just now. A refusal only means that a child copies the page tables.
        let _ = unsafe { call!(SYS_madvise, start, bytes, libc::MADV_DONTFORK) };
        Ok(Region { start: start as *mut T, length })
    }

    /// `length` elements in the file `fd` from `offset` on, which holds zeros there.
    pub fn of_file(fd: Fd, offset: usize, length: usize) -> Result<Region<T>> {
        let bytes = length.checked_mul(size_of::<T>()).filter(|b| *b > 0).ok_or(Errno(libc::ENOMEM))?;
        let mapping = Mapping::of_file(fd, offset, bytes)?;
        let start = mapping.start() as *mut T;
        mapping.keep();
        // SAFETY: as in `new`.
        let _ = unsafe { call!(SYS_madvise, start, bytes, libc::MADV_DONTFORK) };
        Ok(Region { start, length })
    }
}

impl<T: Zeroed> Deref for Region<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: mapped, aligned to a page, and zeros or what was written since.
        unsafe { core::slice::from_raw_parts(self.start, self.length) }
    }
}

impl<T: Zeroed> DerefMut for Region<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.length) }
    }
}

impl<T: Zeroed> Drop for Region<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        let _ = unsafe { call!(SYS_munmap, self.start, self.length * size_of::<T>()) };
    }
}

/// `bytes` of zeros for the rest of the process's life.
pub fn zeros(bytes: usize) -> Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping overlaps nothing.
    unsafe { call!(SYS_mmap, 0, bytes, protection, flags, -1, 0) }.map(|at| at as *mut u8)
}

/// Zeros that forked children share; null where they cannot be had.
pub fn shared_page(bytes: usize) -> *mut u8 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping overlaps nothing.
    unsafe { call!(SYS_mmap, 0, bytes, protection, flags, -1, 0) }
        .map_or(core::ptr::null_mut(), |at| at as *mut u8)
}
