//! What the processes of a family tell each other about connections: one page of memory that fork(2) shares.
//!
//! A look through /proc is not done at one moment. A holder that makes a new reference where the look has been, and closes
//! the old one where it has not been yet, is missed: by dup(2) to a lower number, by fork(2) where process numbers have
//! wrapped round, by SCM_RIGHTS. So whoever makes a reference says so before its call returns, when the old one is still
//! open, and a look during which somebody did is repeated. And a reference that is on its way between two processes is in
//! nobody's table: its socket is remembered here until it arrives.
//!
//! **Promises:** atomics only, but for [`found`].

use crate::sys::memory::shared_page;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// How many sockets are remembered as being on their way; the oldest is forgotten first.
const TRAVELLERS: usize = 128;

/// Zero bytes are a valid one.
struct Page {
    moves: AtomicU64,
    next: AtomicU32,
    travelling: [AtomicU64; TRAVELLERS],
}

/// Of a process without relatives.
static OWN: Page = Page {
    moves: AtomicU64::new(0),
    next: AtomicU32::new(0),
    travelling: [const { AtomicU64::new(0) }; TRAVELLERS],
};
static SHARED: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

/// Before a fork of a process that has connections: from now on the page is shared. Keeps the one there is.
pub fn found() {
    if SHARED.load(Ordering::Relaxed).is_null() {
        SHARED.store(shared_page(core::mem::size_of::<Page>()).cast(), Ordering::Relaxed);
    }
}

/// Whether there is a shared page.
pub fn is_founded() -> bool {
    !SHARED.load(Ordering::Relaxed).is_null()
}

fn page() -> &'static Page {
    // SAFETY: null, or a mapping of that size, of zeros at first, that is never unmapped.
    unsafe { SHARED.load(Ordering::Relaxed).as_ref() }.unwrap_or(&OWN)
}

/// A reference to a connection was made here; the one it was made from is still open.
pub fn reference_made() {
    page().moves.fetch_add(1, Ordering::SeqCst);
}

/// How many references were made.
pub fn references_made() -> u64 {
    page().moves.load(Ordering::SeqCst)
}

/// A reference to the socket is about to be sent.
pub fn departs(inode: u64) {
    let page = page();
    let at = page.next.fetch_add(1, Ordering::Relaxed) as usize % TRAVELLERS;
    if let Some(place) = page.travelling.get(at) {
        place.store(inode, Ordering::SeqCst);
    }
}

/// Whether anything at all is on its way.
pub fn anybody_travels() -> bool {
    page().travelling.iter().any(|place| place.load(Ordering::SeqCst) != 0)
}

/// A reference to the socket was received: [`reference_made`] comes first.
pub fn arrived(inode: u64) {
    let leaves =
        |place: &&AtomicU64| place.compare_exchange(inode, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok();
    let _ = page().travelling.iter().find(leaves);
}

/// Whether a reference to the socket is on its way, in nobody's table.
pub fn travels(inode: u64) -> bool {
    page().travelling.iter().any(|place| place.load(Ordering::SeqCst) == inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traveller_is_known_until_it_arrives() {
        departs(7_000_000_001);
        assert!(travels(7_000_000_001));
        arrived(7_000_000_001);
        assert!(!travels(7_000_000_001));
    }
}
