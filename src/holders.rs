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

use crate::handover::{Origin, Suspicion};
use crate::sys::{self, process, Fd};
use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicI32, Ordering};

/// How many sockets one pass looks for.
pub const BATCH: usize = 64;

/// Processes this one was forked from while it ran the same program, nearest first; 0 ends the list.
static LINEAGE: [AtomicI32; 8] = [const { AtomicI32::new(0) }; 8];

/// In a forked child: the parent joins the lineage.
pub fn remember_parent(pid: i32) {
    let mut carried = pid;
    for place in &LINEAGE {
        carried = place.swap(carried, Ordering::Relaxed);
    }
}

/// The process this one was forked from while it ran the same program.
pub fn parent() -> Option<i32> {
    LINEAGE.first().map(|p| p.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
}

fn in_lineage(pid: i32) -> bool {
    pid != 0 && LINEAGE.iter().any(|p| p.load(Ordering::Relaxed) == pid)
}

/// A text on the stack, NUL-terminated.
pub struct Path {
    bytes: [u8; 48],
    length: usize,
}

impl Path {
    /// From format arguments; what does not fit is cut (no path here is longer).
    pub fn new(text: core::fmt::Arguments<'_>) -> Path {
        let mut path = Path { bytes: [0; 48], length: 0 };
        let _ = path.write_fmt(text);
        path
    }

    /// As a C string.
    pub fn as_c_str(&self) -> &CStr {
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
pub fn socket_of(pid: i32, fd: Fd) -> Option<u64> {
    let mut link = [0u8; 64];
    let path = Path::new(format_args!("/proc/{pid}/fd/{fd}"));
    let length = sys::read_link(libc::AT_FDCWD, path.as_c_str(), &mut link).ok()?;
    socket_inode(link.get(..length)?)
}

/// One socket looked for, and whether a holder was found (or must be assumed).
#[derive(Clone, Copy)]
pub struct Search {
    /// Of the socket.
    pub inode: u64,
    /// Who may hold it.
    pub suspicion: Suspicion,
    /// The answer.
    pub held: bool,
}

/// Fills in `held` for every search: one pass over /proc.
pub fn find(searches: &mut [Search]) {
    if pass(searches).is_err() {
        searches.iter_mut().for_each(|s| s.held = true);
    }
}

fn pass(searches: &mut [Search]) -> sys::Result<()> {
    // Where other users' processes are hidden (hidepid=2) their tables cannot be told from no tables.
    let first = sys::open_at(libc::AT_FDCWD, c"/proc/1", libc::O_PATH)?;
    let _ = sys::close(first);
    let proc = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_RDONLY | libc::O_DIRECTORY)?;
    let own = process::pid();
    let mut failure = Ok(());
    let listed = each_number(proc, &mut |pid| {
        let Ok(pid) = i32::try_from(pid) else { return };
        if searches.iter().all(|s| s.held) {
            return;
        }
        match look_into(pid, pid == own, searches) {
            Ok(()) => {}
            Err(e) if pid == own => failure = Err(e),
            // It ended meanwhile.
            Err(e) if e.is(libc::ENOENT) || e.is(libc::ESRCH) => {}
            Err(e) if e.is(libc::EACCES) || e.is(libc::EPERM) => {
                let relation = relation(pid, own);
                searches.iter_mut().for_each(|s| s.held |= relation.may_hold(s.suspicion.origin));
            }
            Err(e) => failure = Err(e),
        }
    });
    let _ = sys::close(proc);
    listed.and(failure)
}

/// Looks through the descriptor table of one process.
fn look_into(pid: i32, own: bool, searches: &mut [Search]) -> sys::Result<()> {
    let path = Path::new(format_args!("/proc/{pid}/fd"));
    let directory = sys::open_at(libc::AT_FDCWD, path.as_c_str(), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut unreadable = Ok(());
    let listed = each_number(directory, &mut |number| {
        let name = Path::new(format_args!("{number}"));
        let mut link = [0u8; 64];
        match sys::read_link(directory, name.as_c_str(), &mut link) {
            Ok(length) => {
                if let Some(inode) = socket_inode(link.get(..length).unwrap_or(&[])) {
                    let counts = |s: &&mut Search| s.inode == inode && !(own && s.suspicion.exiting);
                    searches.iter_mut().filter(counts).for_each(|s| s.held = true);
                }
            }
            Err(e) if e.is(libc::ENOENT) => {}
            Err(e) => unreadable = Err(e),
        }
    });
    let _ = sys::close(directory);
    listed.and(unreadable)
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
    /// Of the same process group or session: perhaps a grandchild whose parent has ended.
    Companion,
    /// Neither.
    Stranger,
}

impl Relation {
    /// What came from another process was in that one's table, not in those of our companions: inetd and its other
    /// services are no holders.
    fn may_hold(self, origin: Origin) -> bool {
        self == Relation::Kin || (self == Relation::Companion && origin == Origin::Accepted)
    }
}

fn relation(pid: i32, own: i32) -> Relation {
    let (Some(theirs), Some(ours)) = (relations(pid), relations(own)) else {
        return Relation::Kin;
    };
    if in_lineage(pid) || theirs.parent == own || in_lineage(theirs.parent) {
        Relation::Kin
    } else if (ours.group != 0 && theirs.group == ours.group)
        || (ours.session != 0 && theirs.session == ours.session)
    {
        Relation::Companion
    } else {
        Relation::Stranger
    }
}

struct Relations {
    parent: i32,
    group: i32,
    session: i32,
}

/// Fields 4 to 6 of /proc/PID/stat; field 2 is a name in parentheses that may hold anything (proc(5)).
fn relations(pid: i32) -> Option<Relations> {
    let path = Path::new(format_args!("/proc/{pid}/stat"));
    let file = sys::open_at(libc::AT_FDCWD, path.as_c_str(), libc::O_RDONLY).ok()?;
    let mut text = [0u8; 512];
    let length = sys::read(file, &mut text);
    let _ = sys::close(file);
    parse_relations(text.get(..length.ok()?)?)
}

fn parse_relations(stat: &[u8]) -> Option<Relations> {
    let after_name = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = stat.get(after_name + 1..)?.split(|b| *b == b' ').filter(|f| !f.is_empty()).skip(1);
    let mut next = || fields.next().and_then(decimal).and_then(|n| i32::try_from(n).ok());
    Some(Relations { parent: next()?, group: next()?, session: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_stat_line_is_read_past_any_name() {
        let r = parse_relations(b"42 (a) b (c)) S 7 8 9 0 -1 rest").unwrap();
        assert_eq!((r.parent, r.group, r.session), (7, 8, 9));
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
        assert_eq!(socket_of(std::process::id() as i32, open.as_raw_fd()), Some(held));
        let suspicion = Suspicion { origin: Origin::Accepted, exiting: false };
        let search = |inode| Search { inode, suspicion, held: false };
        let mut searches = [search(held), search(u64::MAX)];
        find(&mut searches);
        assert_eq!(searches.map(|s| s.held), [true, false]);
        let mut searches = [Search { suspicion: Suspicion { exiting: true, ..suspicion }, ..search(held) }];
        find(&mut searches);
        assert!(!searches[0].held, "a process that ends is no holder itself");
        drop(open);
        let mut searches = [search(held)];
        find(&mut searches);
        assert!(!searches[0].held);
    }
}
