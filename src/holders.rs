//! Who else holds a socket: a look through /proc.
//!
//! **Promises:** no allocation; a bounded number of sockets is looked for in one pass. The drain thread's private
//! table does not appear in /proc/PID/fd, so a reference it holds is never mistaken for a holder.
//!
//! **Invariant:** doubt counts as a holder: no /proc, a table of the family that cannot be read, a pass cut short.
//!
//! The family is who can have inherited the socket: this process, those it was forked from (as far as they ran this
//! program), and whatever they forked. Others cannot hold it unless it was sent to them, and then their table is
//! read if it can be.

use crate::family;
use crate::handover::{Origin, Suspicion};
use crate::sys::{self, process, Errno, Fd};
use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// How many sockets one pass looks for.
pub const BATCH: usize = 64;

/// The process ends, and what it handed over is no longer open in its table.
pub static SWEPT: AtomicBool = AtomicBool::new(false);

/// This process, or one it was forked from, is the first of a process namespace whose parent is outside of it: that one's
/// table cannot be seen from here.
static RELATIVES_UNSEEN: AtomicBool = AtomicBool::new(false);

/// The last look found nothing out, because /proc cannot be read.
static BLIND: AtomicBool = AtomicBool::new(false);

/// How often a look is repeated that may have been crossed by a new reference.
const LOOKS: u32 = 4;

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

/// Whether a parent or a child of this process has the socket `inode` under the same `number`. Costs a system call for each that is
/// remembered.
pub fn nearest_kin_hold(number: Fd, inode: u64) -> bool {
    if nearest_kin().next().is_none() {
        return false;
    }
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let Ok(proc) = sys::open_at(libc::AT_FDCWD, c"/proc", directory) else { return true };
    let held = nearest_kin().any(|pid| socket_of(proc, pid, number) == Some(inode));
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

fn in_lineage(pid: i32) -> bool {
    pid != 0 && LINEAGE.iter().any(|p| p.load(Ordering::Relaxed) == pid)
}

/// A text on the stack, NUL-terminated.
struct Path {
    bytes: [u8; 48],
    length: usize,
}

impl Path {
    /// From format arguments; what does not fit is cut (no path here is longer).
    fn new(text: core::fmt::Arguments<'_>) -> Path {
        let mut path = Path { bytes: [0; 48], length: 0 };
        let _ = path.write_fmt(text);
        path
    }

    /// As a C string.
    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            // The last byte stays NUL.
            if self.length + 1 < self.bytes.len() {
                if let Some(place) = self.bytes.get_mut(self.length) {
                    *place = byte;
                    self.length += 1;
                }
            }
        }
        Ok(())
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// The inode in `socket:[123]`, as /proc/PID/fd shows sockets (proc(5)).
fn socket_inode(link: &[u8]) -> Option<u64> {
    decimal(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

/// The inode of the socket that number `fd` of process `pid` refers to.
fn socket_of(proc: Fd, pid: i32, fd: Fd) -> Option<u64> {
    let mut link = [0u8; 64];
    let path = Path::new(format_args!("{pid}/fd/{fd}"));
    let length = sys::read_link(proc, path.as_c_str(), &mut link).ok()?;
    socket_inode(link.get(..length)?)
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
    /// Somebody, or nobody can tell.
    Somebody,
    /// The number that is about to be closed still is open, whoever else may be there. Look again: only a look after
    /// one's own close counts. Of two holders that close together at least one then looks after both closes, so they
    /// never both find the other.
    NotYetClosed,
}

/// Fills in what was found, for every search: at the likeliest places first, then in one pass over /proc. `kept` is /proc
/// as it was before a chroot(2), if there was one.
pub fn find(searches: &mut [Search], kept: Option<Fd>) {
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let opened = kept.map_or_else(|| sys::open_at(libc::AT_FDCWD, c"/proc", directory), Ok);
    let unseen = RELATIVES_UNSEEN.load(Ordering::Relaxed);
    let found = opened.and_then(|proc| find_in(proc, searches));
    BLIND.store(found.is_err(), Ordering::Relaxed);
    if found.is_err() || unseen {
        for search in searches.iter_mut().filter(|s| s.found == Found::Nobody) {
            search.found = Found::Somebody;
        }
    }
    if let (Ok(proc), None) = (opened, kept) {
        let _ = sys::close(proc);
    }
}

fn find_in(proc: Fd, searches: &mut [Search]) -> sys::Result<()> {
    let own = process::pid();
    for search in searches.iter_mut() {
        let number = search.suspicion.number;
        let open_in = |pid| socket_of(proc, pid, number) == Some(search.inode);
        let still_open = if search.suspicion.exiting { !SWEPT.load(Ordering::SeqCst) } else { open_in(own) };
        search.found = if still_open {
            Found::NotYetClosed
        } else if nearest_kin().any(open_in) {
            Found::Somebody
        } else {
            Found::Nobody
        };
    }
    for _ in 0..LOOKS {
        let before = family::references_made();
        if searches.iter().all(|s| s.found != Found::Nobody) {
            break;
        }
        pass(proc, searches)?;
        for search in searches.iter_mut().filter(|s| s.found == Found::Nobody) {
            if family::travels(search.inode) {
                search.found = Found::Somebody;
            }
        }
        if family::references_made() == before {
            break;
        }
    }
    Ok(())
}

fn pass(proc: Fd, searches: &mut [Search]) -> sys::Result<()> {
    // Where other users' processes are hidden (hidepid=2) their tables cannot be told from no tables.
    let first = sys::open_at(proc, c"1", libc::O_PATH)?;
    let _ = sys::close(first);
    let listing = sys::open_at(proc, c".", libc::O_RDONLY | libc::O_DIRECTORY)?;
    let own = process::pid();
    let mut failure = Ok(());
    let listed = each_number(listing, &mut |pid| {
        let Ok(pid) = i32::try_from(pid) else { return };
        if searches.iter().all(|s| s.found != Found::Nobody) {
            return;
        }
        match look_into(proc, pid, pid == own, searches) {
            Ok(()) => {}
            Err(e) if pid == own => failure = Err(e),
            // It ended meanwhile.
            Err(e) if e.is(libc::ENOENT) || e.is(libc::ESRCH) => {}
            Err(e) if e.is(libc::EACCES) || e.is(libc::EPERM) => {
                let relation = relation(proc, pid, own);
                for search in searches.iter_mut().filter(|s| s.found == Found::Nobody) {
                    if relation.may_hold(search.suspicion.origin) {
                        search.found = Found::Somebody;
                    }
                }
            }
            Err(e) => failure = Err(e),
        }
    });
    let _ = sys::close(listing);
    listed.and(failure)
}

/// Looks through the descriptor table of one process.
///
/// A process whose first thread has ended while others live shows an empty table, or none. Its own drain threads have tables, too,
/// so that for this process there is doubt then; of another one all threads are looked at.
fn look_into(proc: Fd, pid: i32, own: bool, searches: &mut [Search]) -> sys::Result<()> {
    let path = Path::new(format_args!("{pid}/fd"));
    let looked = look_into_table(proc, &path, own, searches);
    let seen = match looked {
        Ok(count) => count > 0,
        Err(e) if e.is(libc::ENOENT) || e.is(libc::ESRCH) => false,
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
        match look_into_table(proc, &Path::new(format_args!("{pid}/task/{thread}/fd")), own, searches) {
            Err(e) if !e.is(libc::ENOENT) && !e.is(libc::ESRCH) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// The numbers of the threads of a process, as far as there is room for them; how many there are.
fn threads_of(proc: Fd, pid: i32, threads: &mut [i32]) -> sys::Result<usize> {
    let path = Path::new(format_args!("{pid}/task"));
    let directory = sys::open_at(proc, path.as_c_str(), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut count = 0;
    let listed = each_number(directory, &mut |number| {
        if let Some(place) = threads.get_mut(count) {
            *place = i32::try_from(number).unwrap_or(0);
        }
        count += 1;
    });
    let _ = sys::close(directory);
    listed.map(|()| count)
}

/// How many threads of this process are not `ours`; more than one may be counted as one.
pub fn other_threads(kept: Option<Fd>, ours: &dyn Fn(i32) -> bool) -> sys::Result<usize> {
    let directory = libc::O_PATH | libc::O_DIRECTORY;
    let proc = kept.map_or_else(|| sys::open_at(libc::AT_FDCWD, c"/proc", directory), Ok)?;
    let mut threads = [0i32; 128];
    // Of another process namespace's /proc the number is somebody else's.
    let mut name = [0u8; 16];
    let own = sys::read_link(proc, c"self", &mut name).map(|length| name.get(..length).and_then(decimal));
    let count = match own {
        Ok(Some(pid)) if pid == process::pid() as u64 => threads_of(proc, process::pid(), &mut threads),
        Ok(_) => Err(Errno(libc::ENOENT)),
        Err(error) => Err(error),
    };
    if kept.is_none() {
        let _ = sys::close(proc);
    }
    let count = count?;
    // There are fewer of ours.
    if count > threads.len() {
        return Ok(1);
    }
    Ok(threads.into_iter().take(count).filter(|thread| !ours(*thread)).count())
}

/// How many descriptors the table has.
fn look_into_table(proc: Fd, path: &Path, own: bool, searches: &mut [Search]) -> sys::Result<usize> {
    let mut count = 0;
    let directory = sys::open_at(proc, path.as_c_str(), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut unreadable = Ok(());
    let listed = each_number(directory, &mut |number| {
        count += 1;
        let name = Path::new(format_args!("{number}"));
        let mut link = [0u8; 64];
        match sys::read_link(directory, name.as_c_str(), &mut link) {
            Ok(length) => {
                if let Some(inode) = socket_inode(link.get(..length).unwrap_or(&[])) {
                    let found = |s: &&mut Search| s.inode == inode && !(own && s.suspicion.exiting);
                    for search in searches.iter_mut().filter(|s| s.found == Found::Nobody).filter(found) {
                        search.found = Found::Somebody;
                    }
                }
            }
            Err(e) if e.is(libc::ENOENT) => {}
            Err(e) => unreadable = Err(e),
        }
    });
    let _ = sys::close(directory);
    listed.and(unreadable).map(|()| count)
}

/// Calls `visit` with every entry of an open directory whose name is a number.
fn each_number(directory: Fd, visit: &mut dyn FnMut(u64)) -> sys::Result<()> {
    let mut buffer = [0u8; 4096];
    loop {
        let length = sys::directory_entries(directory, &mut buffer)?;
        let mut rest = buffer.get(..length).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(());
        }
        // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name (getdents(2)).
        while let Some(&[low, high]) = rest.get(16..18) {
            let record = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(19..record).unwrap_or(&[]);
            if let Some(number) = name.split(|b| *b == 0).next().and_then(decimal) {
                visit(number);
            }
            rest = rest.get(record.max(19)..).unwrap_or(&[]);
        }
    }
}

/// How a process whose table cannot be read relates to this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    /// This process was forked from it, or it from this process or one of those.
    Kin,
    /// It started this program in a process of its own, and may go on to use what it gave it; an inetd sets its services apart.
    Starter,
    /// Of the same process group or session, and started since this program was: perhaps a grandchild whose parent has
    /// ended.
    Companion,
    /// Neither.
    Stranger,
}

impl Relation {
    /// What came from another process was in that one's table, not in those of our companions: inetd and its other
    /// services are no holders.
    fn may_hold(self, origin: Origin) -> bool {
        match self {
            Relation::Kin => true,
            Relation::Starter => origin == Origin::Received,
            Relation::Companion => origin == Origin::Accepted,
            Relation::Stranger => false,
        }
    }
}

fn relation(proc: Fd, pid: i32, own: i32) -> Relation {
    let (Some(theirs), Some(ours)) = (relations(proc, pid), relations(proc, own)) else {
        return Relation::Kin;
    };
    if in_lineage(pid) || theirs.parent == own || in_lineage(theirs.parent) {
        return Relation::Kin;
    }
    if ours.parent == pid && theirs.session == ours.session {
        return Relation::Starter;
    }
    let together = |theirs: i32, ours: i32| ours != 0 && theirs == ours;
    let companion = together(theirs.group, ours.group) || together(theirs.session, ours.session);
    if companion && theirs.started >= program_started(proc, &ours) {
        Relation::Companion
    } else {
        Relation::Stranger
    }
}

/// When the first process of the lineage started, in clock ticks since boot; 0 where that cannot be told. What is older
/// inherited nothing from it.
fn program_started(proc: Fd, ours: &Relations) -> u64 {
    let first = LINEAGE.iter().map(|place| place.load(Ordering::Relaxed)).take_while(|pid| *pid != 0).last();
    let Some(first) = first else { return ours.started };
    // A number that was given out anew belongs to a younger process.
    relations(proc, first).map(|r| r.started).filter(|started| *started <= ours.started).unwrap_or(0)
}

struct Relations {
    parent: i32,
    group: i32,
    session: i32,
    started: u64,
}

/// Fields 4 to 6 and 22 of /proc/PID/stat; field 2 is a name in parentheses that may hold anything (proc(5)).
fn relations(proc: Fd, pid: i32) -> Option<Relations> {
    let path = Path::new(format_args!("{pid}/stat"));
    let file = sys::open_at(proc, path.as_c_str(), libc::O_RDONLY).ok()?;
    let mut text = [0u8; 512];
    let length = sys::read(file, &mut text);
    let _ = sys::close(file);
    parse_relations(text.get(..length.ok()?)?)
}

fn parse_relations(stat: &[u8]) -> Option<Relations> {
    let after_name = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = stat.get(after_name + 1..)?.split(|b| *b == b' ').filter(|f| !f.is_empty()).skip(1);
    let mut next = || fields.next().and_then(decimal).and_then(|n| i32::try_from(n).ok());
    let (parent, group, session) = (next()?, next()?, next()?);
    Some(Relations { parent, group, session, started: fields.nth(15).and_then(decimal)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_stat_line_is_read_past_any_name() {
        let line = b"42 (a) b (c)) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 rest";
        let r = parse_relations(line).unwrap();
        assert_eq!((r.parent, r.group, r.session, r.started), (7, 8, 9, 12345));
        let proc = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_PATH).unwrap();
        let own = relations(proc, process::pid()).unwrap();
        sys::close(proc).unwrap();
        assert!(own.started > 0 && own.parent > 0);
        assert!(parse_relations(b"42 (a").is_none());
    }

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(socket_inode(b"socket:[123]"), Some(123));
        for other in [&b"pipe:[123]"[..], b"socket:[]", b"socket:[12", b"/tmp/socket:[1]", b"socket:[x]"] {
            assert_eq!(socket_inode(other), None);
        }
    }

    #[test]
    fn finds_what_this_process_holds_and_not_what_it_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let held = sys::identity(open.as_raw_fd()).unwrap().inode;
        let proc = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_PATH).unwrap();
        assert_eq!(socket_of(proc, std::process::id() as i32, open.as_raw_fd()), Some(held));
        sys::close(proc).unwrap();
        let suspicion = Suspicion { origin: Origin::Accepted, number: -1, exiting: false };
        let look = |inode, suspicion| {
            let mut searches = [Search { inode, suspicion, found: Found::Nobody }];
            find(&mut searches, None);
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
