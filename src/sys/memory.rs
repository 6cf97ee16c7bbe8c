//! Memory straight from the kernel: arrays of a fixed length that start out as zeros.
//!
//! **Promises:** pages cost nothing until touched, are not copied into a forked child, and go back to the
//! kernel on drop. A refusal is an error, never an abort.

use super::{call, Errno, Result};
use core::mem::size_of;
use core::ops::{Deref, DerefMut};

/// Types for which all-zero bytes are a value.
///
/// # Safety
/// The implementor vouches for that.
pub unsafe trait Zeroed: Copy {}

// SAFETY: zero is an integer.
unsafe impl Zeroed for u64 {}

/// A fixed array of `T` in pages of its own.
pub struct Region<T: Zeroed> {
    start: *mut T,
    length: usize,
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

/// Zeros that forked children share; null where they cannot be had.
pub fn shared_page(bytes: usize) -> *mut u8 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping overlaps nothing.
    unsafe { call!(SYS_mmap, 0, bytes, protection, flags, -1, 0) }
        .map_or(core::ptr::null_mut(), |at| at as *mut u8)
}
