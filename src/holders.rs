//! Who else holds a socket: a look through /proc.
//!
//! **Promises:** no allocation; a bounded number of sockets is looked for in one pass. The drain thread's private
//! table does not appear in /proc/PID/fd, so a reference it holds is never mistaken for a holder.
//!
//! **Invariant:** doubt counts as a holder: no /proc, a table of the family that cannot be read, a pass cut short, processes
//! that come faster than they can be looked into.
//!
//! The family is who can have inherited the socket: this process, those it was forked from (as far as they ran this
//! program), and whatever they forked. Others cannot hold it unless it was sent to them, and then their table is
//! read if it can be. An only child whose parent said that it let go ([`family::departed`]) has nobody to look for.

mod proc;
mod relation;
mod visited;

pub use proc::other_threads;

use crate::engine;
use crate::family;
use crate::handover::{Share, Suspicion};
use crate::sys::{self, process, Errno, Fd};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use proc::{each_number, has_ended, is_ours, socket_inode, socket_of, threads_of, Path};
use relation::{note_power, unreadable};
use visited::{Effort, Numbers, Visit, Visited};

/// How many sockets one pass looks for.
pub const BATCH: usize = 64;

/// The process ends, and what it handed over is no longer open in its table.
pub static SWEPT: AtomicBool = AtomicBool::new(false);

/// This process, or one it was forked from, is the first of a process namespace whose parent is outside of it: that one's
/// table cannot be seen from here.
static RELATIVES_UNSEEN: AtomicBool = AtomicBool::new(false);

/// The last look found nothing out, because /proc cannot be read.
static BLIND: AtomicBool = AtomicBool::new(false);

/// How long to look again for [`Found::NotYetClosed`]: a caller that was preempted between handing a connection over and closing its
/// number is given so long, and a process between the end of its memory and that of its table.
pub const PATIENCE_MS: u64 = 1000;

/// How often a look is repeated that may have been crossed by a new reference.
const LOOKS: u32 = 4;
/// How many numbers of descriptor tables are read in one look: in a tenth of a second or two, for which the drain thread does nothing
/// else. With more there is doubt.
const NUMBERS: usize = 1 << 17;
/// How often /proc is listed in one look until there is nobody new in it.
const LISTINGS: u32 = 16;

/// Processes this one was forked from while it ran the same program, nearest first; 0 ends the list.
static LINEAGE: [AtomicI32; 8] = [const { AtomicI32::new(0) }; 8];
/// The children forked most recently, in no order.
static CHILDREN: [AtomicI32; 8] = [const { AtomicI32::new(0) }; 8];
static NEXT_CHILD: AtomicU32 = AtomicU32::new(0);

/// A child was forked. It is where to look first: a server that forks for each connection has it there.
pub fn remember_child(pid: i32) {
    let at = NEXT_CHILD.fetch_add(1, Ordering::Relaxed) as usize % CHILDREN.len();
    if let Some(place) = CHILDREN.get(at) {
        place.store(pid, Ordering::Relaxed);
    }
}

/// Whether looking is of no use.
pub fn blind() -> bool {
    BLIND.load(Ordering::Relaxed)
}

/// Whether a parent or a child of this process has the socket `inode` under the same `number`, or does not let us see what it
/// has. Costs a system call for each that is remembered.
pub fn nearest_kin_hold(number: Fd, inode: u64) -> bool {
    if nearest_kin().next().is_none() {
        return false;
    }
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let Ok(proc) = sys::open_at(libc::AT_FDCWD, c"/proc", directory) else { return true };
    let own = process::pid();
    let holds = |pid| match socket_of(proc, pid, number) {
        Ok(socket) => socket == Some(inode),
        Err(_) => !unreadable(proc, pid, own).is_err_and(has_ended),
    };
    let held = nearest_kin().any(holds);
    let _ = sys::close(proc);
    held
}

/// In a forked child: the parent joins the lineage, and its children are not ours.
pub fn remember_parent(parent: i32, own: i32) {
    if own == 1 {
        RELATIVES_UNSEEN.store(true, Ordering::Relaxed);
    }
    let mut carried = parent;
    for place in &LINEAGE {
        carried = place.swap(carried, Ordering::Relaxed);
    }
    CHILDREN.iter().for_each(|place| place.store(0, Ordering::Relaxed));
}

/// Those most likely to hold what this process holds: the parent and the recent children.
fn nearest_kin() -> impl Iterator<Item = i32> {
    LINEAGE.iter().take(1).chain(&CHILDREN).map(|place| place.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
}

/// One socket looked for.
#[derive(Clone, Copy)]
pub struct Search {
    /// Of the socket.
    pub inode: u64,
    /// Who may hold it.
    pub suspicion: Suspicion,
    /// The answer.
    pub found: Found,
}

/// Who holds a socket besides the drain thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nobody.
    Nobody,
    /// Nobody: of those that could, this process is the last, and does not have it under another number.
    NobodyCan,
    /// Somebody, or nobody can tell.
    Somebody,
    /// The number that is about to be closed still is open, whoever else may be there, or somebody is ending. Look again: only
    /// a look after one's own close counts. Of two holders that close together at least one then looks after both closes, so
    /// they never both find the other.
    NotYetClosed,
}

/// Fills in what was found, for every search: at the likeliest places first, then in a pass over /proc. `kept` is /proc
/// as it was before a chroot(2), if there was one. `room` is for one number of each process there is; with too little
/// there is doubt.
pub fn find(searches: &mut [Search], kept: Option<Fd>, room: &mut [u32]) {
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let opened = kept.map_or_else(|| sys::open_at(libc::AT_FDCWD, c"/proc", directory), Ok);
    let unseen = RELATIVES_UNSEEN.load(Ordering::Relaxed);
    let found = opened.and_then(|proc| find_in(proc, searches, room));
    BLIND.store(found.is_err(), Ordering::Relaxed);
    if found.is_err() || unseen {
        somebody_has(searches, &|_| true);
    }
    if let (Ok(proc), None) = (opened, kept) {
        let _ = sys::close(proc);
    }
}

fn find_in(proc: Fd, searches: &mut [Search], room: &mut [u32]) -> sys::Result<()> {
    let own = process::pid();
    let ours = is_ours(proc) == Ok(true);
    for search in searches.iter_mut() {
        let number = search.suspicion.number;
        let open_in = |pid| socket_of(proc, pid, number) == Ok(Some(search.inode));
        let still_open = if search.suspicion.exiting { !SWEPT.load(Ordering::SeqCst) } else { open_in(own) };
        // Said first, and then looked: see `departures`.
        if let (false, Share::WithOneChild { forks, .. }) = (still_open, search.suspicion.share) {
            if ours
                && engine::shared_so(search.suspicion.share)
                && !family::departed(search.inode, own, forks)
            {
                family::has_departed(search.inode, own, forks);
            }
        }
        search.found = if still_open {
            Found::NotYetClosed
        } else if nearest_kin().any(open_in) {
            Found::Somebody
        } else {
            Found::Nobody
        };
    }
    let mut effort = Effort::new(NUMBERS);
    if ours {
        look_for_the_last(proc, own, searches, &mut effort);
    }
    for _ in 0..LOOKS {
        let before = family::references_made();
        if searches.iter().all(|s| s.found != Found::Nobody) {
            break;
        }
        pass(proc, searches, room, &mut effort)?;
        somebody_has(searches, &|s| family::travels(s.inode));
        if family::references_made() == before {
            break;
        }
    }
    Ok(())
}

/// Whether the parent said that it let go of a connection that nobody else has but this process.
pub fn parent_has_departed(inode: u64, share: Share) -> bool {
    let Share::WithParent { forks, .. } = share else { return false };
    let parent = LINEAGE.iter().map(|place| place.load(Ordering::Relaxed)).next();
    parent.is_some_and(|parent| family::departed(inode, parent, forks))
}

/// A child that alone has a connection now has to look nowhere but in its own table.
fn look_for_the_last(proc: Fd, own: i32, searches: &mut [Search], effort: &mut Effort) {
    let alone = |search: &Search| {
        let share = search.suspicion.share;
        parent_has_departed(search.inode, share) && engine::shared_so(share)
    };
    let before = family::references_made();
    if searches.iter().any(|s| s.found == Found::Nobody && alone(s)) {
        let looked = look_into(proc, own, true, searches, effort);
        if looked.is_ok() && family::references_made() == before {
            settle(searches, Found::NobodyCan, &alone);
        }
    }
}

/// The first fork with connections: who may become somebody else from now on.
pub fn family_begins() {
    note_power();
}

/// Looks into every process, and then into those that came meanwhile, until there are none.
///
/// Whoever holds a socket that nobody had when he was looked into has it from a process that was not looked into yet when it
/// handed it on, by fork(2). So where one listing of all processes has nobody new, nobody holds it.
fn pass(proc: Fd, searches: &mut [Search], room: &mut [u32], effort: &mut Effort) -> sys::Result<()> {
    // Where other users' processes are hidden (hidepid=2) their tables cannot be told from no tables.
    let first = sys::open_at(proc, c"1", libc::O_PATH)?;
    let _ = sys::close(first);
    let mut visited = Visited::none(room);
    for _ in 0..LISTINGS {
        if !visit_the_new(proc, searches, &mut visited, effort)? {
            return Ok(());
        }
    }
    somebody_has(searches, &|_| true);
    Ok(())
}

/// Those of which it is true were found, or there is doubt about them.
fn somebody_has(searches: &mut [Search], is_true: &dyn Fn(&Search) -> bool) {
    settle(searches, Found::Somebody, is_true);
}

fn settle(searches: &mut [Search], found: Found, is_true: &dyn Fn(&Search) -> bool) {
    for search in searches.iter_mut().filter(|s| s.found == Found::Nobody && is_true(s)) {
        search.found = found;
    }
}

/// Whether there was anybody to look into.
fn visit_the_new(
    proc: Fd,
    searches: &mut [Search],
    visited: &mut Visited<'_>,
    effort: &mut Effort,
) -> sys::Result<bool> {
    let own = process::pid();
    let mut anybody_new = false;
    each_entry(proc, &Path::new(format_args!(".")), &mut |_, pid| {
        let Ok(pid) = i32::try_from(pid) else { return Ok(()) };
        if searches.iter().all(|s| s.found != Found::Nobody) {
            return Ok(());
        }
        match visited.note(pid.unsigned_abs()) {
            Visit::First => anybody_new = true,
            Visit::Again => return Ok(()),
            Visit::Unnoted => return Err(Errno(libc::ENOBUFS)),
        }
        match look_into(proc, pid, pid == own, searches, effort) {
            Err(e) if pid == own => Err(e),
            Err(e) if has_ended(e) => Ok(()),
            Err(e) if e.is(libc::EACCES) || e.is(libc::EPERM) => {
                guess(proc, pid, own, searches);
                Ok(())
            }
            looked => looked,
        }
    })?;
    Ok(anybody_new)
}

/// Where a table cannot be read.
fn guess(proc: Fd, pid: i32, own: i32, searches: &mut [Search]) {
    match unreadable(proc, pid, own) {
        Ok(process) => {
            let found = if process.ends { Found::NotYetClosed } else { Found::Somebody };
            settle(searches, found, &|s| process.relation.may_hold(s.suspicion.origin));
        }
        Err(e) if has_ended(e) => {}
        Err(_) => somebody_has(searches, &|_| true),
    }
}

/// Looks through the descriptor table of one process.
///
/// A process whose first thread has ended while others live shows an empty table, or none. Its own drain threads have tables, too,
/// so that for this process there is doubt then; of another one all threads are looked at.
fn look_into(proc: Fd, pid: i32, own: bool, searches: &mut [Search], effort: &mut Effort) -> sys::Result<()> {
    let path = Path::new(format_args!("{pid}/fd"));
    let looked = look_into_table(proc, &path, own, searches, effort);
    let seen = match looked {
        Ok(any) => any,
        Err(e) if has_ended(e) => false,
        Err(e) => return Err(e),
    };
    if seen {
        return Ok(());
    }
    // Of threads of the kernel and of processes that nobody has waited for there are many.
    if sys::links(proc, Path::new(format_args!("{pid}/task")).as_c_str())? <= 2 + 1 {
        return looked.map(drop);
    }
    let mut threads = [0i32; 64];
    let count = threads_of(proc, pid, &mut threads)?;
    if own {
        return Err(Errno(libc::EAGAIN));
    }
    // Not looked into, like one that is not readable.
    if count > threads.len() {
        return Err(Errno(libc::EACCES));
    }
    for thread in threads.into_iter().take(count).filter(|thread| *thread != pid) {
        let path = Path::new(format_args!("{pid}/task/{thread}/fd"));
        match look_into_table(proc, &path, own, searches, effort) {
            Err(e) if !has_ended(e) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Reads a table, and once more if something was opened or closed meanwhile: it may have been moved to where the reading had
/// been. Of this process's and its relatives' own moves [`family`] tells. False if it is empty.
fn look_into_table(
    proc: Fd,
    path: &Path,
    own: bool,
    searches: &mut [Search],
    effort: &mut Effort,
) -> sys::Result<bool> {
    let read = read_table(proc, path, own, searches, effort)?;
    if read == Numbers::default() || own {
        return Ok(read != Numbers::default());
    }
    let mut now = Numbers::default();
    each_entry(proc, path, &mut |_, number| {
        now.add(number);
        Ok(())
    })?;
    if now != read {
        read_table(proc, path, own, searches, effort)?;
    }
    Ok(true)
}

fn read_table(
    proc: Fd,
    path: &Path,
    own: bool,
    searches: &mut [Search],
    effort: &mut Effort,
) -> sys::Result<Numbers> {
    let mut numbers = Numbers::default();
    let mut unreadable = Ok(());
    each_entry(proc, path, &mut |directory, number| {
        effort.read_one()?;
        numbers.add(number);
        let name = Path::new(format_args!("{number}"));
        let mut link = [0u8; 64];
        match sys::read_link(directory, name.as_c_str(), &mut link) {
            Ok(length) => {
                if let Some(inode) = socket_inode(link.get(..length).unwrap_or(&[])) {
                    somebody_has(searches, &|s| s.inode == inode && !(own && s.suspicion.exiting));
                }
            }
            Err(e) if e.is(libc::ENOENT) => {}
            Err(e) => unreadable = Err(e),
        }
        Ok(())
    })?;
    unreadable.map(|()| numbers)
}

/// Calls `visit` with every entry of a directory whose name is a number, and with the open directory, until it fails.
fn each_entry(proc: Fd, path: &Path, visit: &mut dyn FnMut(Fd, u64) -> sys::Result<()>) -> sys::Result<()> {
    let directory = sys::open_at(proc, path.as_c_str(), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let listed = each_number(directory, &mut |number| visit(directory, number));
    let _ = sys::close(directory);
    listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::Origin;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn finds_what_this_process_holds_and_not_what_it_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let held = sys::identity(open.as_raw_fd()).unwrap().inode;
        let proc = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_PATH).unwrap();
        assert_eq!(socket_of(proc, std::process::id() as i32, open.as_raw_fd()), Ok(Some(held)));
        sys::close(proc).unwrap();
        let share = Share::Unknown;
        let suspicion = Suspicion { origin: Origin::Accepted, number: -1, exiting: false, share };
        let look = |inode, suspicion| {
            let mut searches = [Search { inode, suspicion, found: Found::Nobody }];
            find(&mut searches, None, &mut [0; 4096]);
            searches[0].found
        };
        assert_eq!(look(held, suspicion), Found::Somebody);
        assert_eq!(look(u64::MAX, suspicion), Found::Nobody);
        let exiting = Suspicion { exiting: true, ..suspicion };
        assert_eq!(look(held, exiting), Found::NotYetClosed, "until its numbers have been replaced");
        SWEPT.store(true, Ordering::SeqCst);
        assert_eq!(look(held, exiting), Found::Nobody);
        SWEPT.store(false, Ordering::SeqCst);
        let closing = Suspicion { number: open.as_raw_fd(), ..suspicion };
        assert_eq!(look(held, closing), Found::NotYetClosed);
        let second = open.try_clone().unwrap();
        let other = Suspicion { number: second.as_raw_fd() + 1, ..suspicion };
        drop(open);
        assert_eq!(look(held, other), Found::Somebody);
        drop(second);
        assert_eq!(look(held, suspicion), Found::Nobody);
    }
}
