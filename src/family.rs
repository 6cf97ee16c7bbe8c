//! What the processes of a family tell each other about connections: memory that fork(2) shares.
//!
//! A look through /proc is not done at one moment. A holder that makes a new reference where the look has been, and closes
//! the old one where it has not been yet, is missed: by dup(2) to a lower number, by fork(2) where process numbers have
//! wrapped round, by SCM_RIGHTS. So whoever makes a reference says so before its call returns, when the old one is still
//! open, and a look during which somebody did is repeated. And a reference that is on its way between two processes is in
//! nobody's table: its socket is remembered here until it arrives.
//!
//! A process that gave up its privilege may not look at what its parent has, or its siblings. So who lets go of a
//! connection that exactly one child has says so, too, and that child knows that it alone has it.
//!
//! **Promises:** atomics only, but for [`found`].

mod departures;

use crate::sys::memory::shared_page;
use crate::sys::{self, Fd};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use departures::Departures;

/// How many sockets are remembered as being on their way; the oldest is forgotten first.
const TRAVELLERS: usize = 128;

/// Zero bytes are a valid one.
struct Page {
    /// Some traveller was forgotten.
    forgetful: AtomicU32,
    moves: AtomicU64,
    next: AtomicU32,
    travelling: [AtomicU64; TRAVELLERS],
    departures: Departures,
}

/// Of a process without relatives.
static OWN: Page = Page {
    forgetful: AtomicU32::new(0),
    moves: AtomicU64::new(0),
    next: AtomicU32::new(0),
    travelling: [const { AtomicU64::new(0) }; TRAVELLERS],
    departures: Departures::none(),
};
static SHARED: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

/// Before a fork of a process that has connections: from now on the page is shared. Keeps the one there is.
pub fn found() {
    if SHARED.load(Ordering::Relaxed).is_null() {
        let page: *mut Page = shared_page(core::mem::size_of::<Page>()).cast();
        // SAFETY: null, or a mapping of that size, of zeros, which are a valid page.
        if let Some(page) = unsafe { page.as_ref() }
            .filter(|_| anybody_travels() || OWN.forgetful.load(Ordering::SeqCst) != 0)
        {
            page.forgetful.store(1, Ordering::SeqCst);
        }
        SHARED.store(page, Ordering::Relaxed);
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
        if place.swap(inode, Ordering::SeqCst) != 0 {
            page.forgetful.store(1, Ordering::SeqCst);
        }
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

/// Whether every reference to the socket `fd` that was sent has arrived at a relative, who can be looked for. False where that
/// cannot be told.
pub fn has_arrived(fd: Fd) -> bool {
    is_founded()
        && page().forgetful.load(Ordering::SeqCst) == 0
        && sys::identity(fd).is_ok_and(|identity| !travels(identity.inode))
}

/// Whether a reference to the socket is on its way, in nobody's table.
pub fn travels(inode: u64) -> bool {
    page().travelling.iter().any(|place| place.load(Ordering::SeqCst) == inode)
}

/// `process` has let go of the socket `inode`, which only the child that was forked as number `forks` has now.
pub fn has_departed(inode: u64, process: i32, forks: u32) {
    if is_founded() {
        page().departures.note(inode, process, forks);
    }
}

/// Whether `process` told the child that was forked as number `forks` so.
pub fn departed(inode: u64, process: i32, forks: u32) -> bool {
    is_founded() && page().departures.noted(inode, process, forks)
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
