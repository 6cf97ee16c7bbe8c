//! io_uring_register(2) with a table of files: the ring then holds references that are in no descriptor table.
//!
//! liburing makes its system calls itself, so only programs that use syscall(2) are seen (liblinger(7), "LIMITATIONS").

use crate::{fds, gate};
use engine::family;
use engine::sys::{self, Fd};
use libc::c_uint;

// <linux/io_uring.h>
const REGISTER_FILES: c_uint = 2;
const REGISTER_FILES_UPDATE: c_uint = 6;
const REGISTER_FILES2: c_uint = 13;
const REGISTER_FILES_UPDATE2: c_uint = 14;
/// Besides the operation: the ring is named by its place in a table.
const USE_REGISTERED_RING: c_uint = 1 << 31;
/// A ring takes no more (IORING_MAX_FIXED_FILES).
const MOST_FILES: c_uint = 1 << 20;

/// `struct io_uring_files_update`
#[repr(C)]
struct Update {
    offset: u32,
    reserved: u32,
    files: u64,
}

/// `struct io_uring_rsrc_register`
#[repr(C)]
struct Register2 {
    count: u32,
    flags: u32,
    reserved: u64,
    files: u64,
    tags: u64,
}

/// `struct io_uring_rsrc_update2`
#[repr(C)]
struct Update2 {
    offset: u32,
    reserved: u32,
    files: u64,
    tags: u64,
    count: u32,
    reserved2: u32,
}

/// Before a ring gets references to connections: nobody can look for that holder, so their close is the plain one from now on.
///
/// # Safety
/// As io_uring_register(2).
pub(super) unsafe fn before_register(operation: c_uint, argument: usize, count: c_uint) {
    if argument == 0 || !gate::is_open() {
        return;
    }
    // SAFETY: the structures are what the operation takes.
    unsafe {
        let (files, count) = match operation & !USE_REGISTERED_RING {
            REGISTER_FILES => (argument as u64, count),
            REGISTER_FILES_UPDATE => ((*(argument as *const Update)).files, count),
            REGISTER_FILES2 => {
                let register = &*(argument as *const Register2);
                (register.files, register.count)
            }
            REGISTER_FILES_UPDATE2 => {
                let update = &*(argument as *const Update2);
                (update.files, update.count)
            }
            _ => return,
        };
        let files = files as *const Fd;
        if files.is_null() {
            return;
        }
        for i in 0..count.min(MOST_FILES) as usize {
            let fd = files.add(i).read_unaligned();
            if fds::facts(fd).connection() {
                fds::mark_sent(fd);
                // It never arrives: no look through /proc would find it there.
                if let Ok(identity) = sys::identity(fd) {
                    family::departs(identity.inode);
                }
            }
        }
    }
}
