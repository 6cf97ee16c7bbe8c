//! The nearest kin, the parent and the children forked most recently: if one has the same socket under the same number,
//! the socket is shared, and no search is needed to know it.
//!
//! **Promises:** a ring of atomics; a look costs one readlink(2) for each of them. Only "shared" is ever proven
//! here, never "not shared".

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use engine::holders;
use engine::sys::{self, Fd};

const KEPT: usize = 8;
static CHILDREN: [AtomicI32; KEPT] = [const { AtomicI32::new(0) }; KEPT];
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A child was forked.
pub(crate) fn remember(pid: i32) {
    let at = NEXT.fetch_add(1, Ordering::Relaxed) as usize % KEPT;
    if let Some(place) = CHILDREN.get(at) {
        place.store(pid, Ordering::Relaxed);
    }
}

/// In a forked child: its siblings are not its children.
pub(crate) fn forget() {
    CHILDREN.iter().for_each(|place| place.store(0, Ordering::Relaxed));
}

/// Whether a recent child provably holds the socket `fd`.
pub(crate) fn share(fd: Fd) -> bool {
    let Ok(own) = sys::identity(fd) else {
        return false;
    };
    let newest = NEXT.load(Ordering::Relaxed) as usize;
    (1..=KEPT).any(|back| {
        let at = newest.wrapping_sub(back) % KEPT;
        let pid = CHILDREN.get(at).map_or(0, |place| place.load(Ordering::Relaxed));
        pid > 0 && holders::socket_of(pid, fd) == Some(own.inode)
    })
}
