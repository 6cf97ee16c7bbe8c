//! What was called and what was refused: words in a file that is mapped by everybody concerned.
//!
//! | words | what |
//! |---|---|
//! | 0 | how often a thread was asked for |
//! | 8... | for each part of `LINGER_FAULTS`: calls it concerns, calls refused by it |
//! | 64... | the last refusals, a word each: errno, from bit 16 on the side, from bit 32 on the call number plus one; word 63 counts them |
//! | 2112... | for each call number: how often outside the drain threads, and in them |

use super::super::raw::kernel;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Where a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Outside the drain threads.
    Caller,
    /// In a drain thread.
    Thread,
}

/// How many words there are.
pub const WORDS: usize = CALLS_AT + 2 * NUMBERS;
/// Where the parts begin.
pub const PARTS_AT: usize = 8;
/// How many refusals there were.
pub const REFUSALS: usize = 63;
/// Where they begin, and how many are kept.
pub const REFUSALS_AT: usize = 64;
/// See [`REFUSALS_AT`].
pub const REFUSALS_KEPT: usize = 2048;
/// Where the calls begin.
pub const CALLS_AT: usize = REFUSALS_AT + REFUSALS_KEPT;
/// Call numbers above this one are not counted.
pub const NUMBERS: usize = 512;

static OWN: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static SHARED: AtomicPtr<AtomicU64> = AtomicPtr::new(core::ptr::null_mut());

fn words() -> &'static [AtomicU64] {
    let shared = SHARED.load(Ordering::Acquire);
    if shared.is_null() {
        return &OWN;
    }
    // SAFETY: a mapping of `WORDS` words that is never undone.
    unsafe { core::slice::from_raw_parts(shared, WORDS) }
}

fn raise(word: usize) -> u64 {
    words().get(word).map_or(0, |word| word.fetch_add(1, Ordering::SeqCst))
}

/// Maps the file, which has its length already.
pub(super) fn open(path: Option<&core::ffi::CStr>) {
    let Some(path) = path else { return };
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let here = libc::AT_FDCWD as isize as usize;
    let flags = (libc::O_RDWR | libc::O_CLOEXEC) as usize;
    // SAFETY: the path is NUL-terminated; a fresh mapping overlaps nothing.
    unsafe {
        let Ok(file) = kernel(libc::SYS_openat, [here, path.as_ptr() as usize, flags, 0, 0, 0]) else {
            return;
        };
        let shared = libc::MAP_SHARED as usize;
        if let Ok(start) = kernel(libc::SYS_mmap, [0, WORDS * 8, protection, shared, file, 0]) {
            SHARED.store(start as *mut AtomicU64, Ordering::Release);
        }
        let _ = kernel(libc::SYS_close, [file, 0, 0, 0, 0, 0]);
    }
}

/// One more call that a part concerns: its number, from 1 on.
pub(super) fn count(part: usize) -> u64 {
    raise(PARTS_AT + 2 * part) + 1
}

pub(super) fn note_injection(part: usize) {
    raise(PARTS_AT + 2 * part + 1);
}

/// One more call: how many of this number there were on this side before.
pub(super) fn note_call(number: libc::c_long, side: Side) -> u64 {
    match usize::try_from(number) {
        Ok(number) if number < NUMBERS => raise(CALLS_AT + 2 * number + side as usize),
        Ok(_) => 0,
        Err(_) => raise(0),
    }
}

pub(super) fn note_failure(number: libc::c_long, errno: i32, side: Side) {
    let at = REFUSALS_AT + raise(REFUSALS) as usize % REFUSALS_KEPT;
    let entry = errno as u64 | (side as u64) << 16 | ((number + 1) as u64) << 32;
    if let Some(word) = words().get(at) {
        word.store(entry, Ordering::SeqCst);
    }
}
