//! How related a process is whose descriptor table cannot be read, and so whether it may hold a connection.

use super::proc::{decimal, Path};
use super::LINEAGE;
use crate::handover::Origin;
use crate::sys::{self, process, Errno, Fd};
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

fn in_lineage(pid: i32) -> bool {
    pid != 0 && LINEAGE.iter().any(|p| p.load(Ordering::Relaxed) == pid)
}

/// How a process whose table cannot be read relates to this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    /// This process was forked from it, or it from this process or one of those.
    Kin,
    /// It started this program in a process of its own, and may go on to use what it gave it; an inetd sets its services apart.
    Starter,
    /// Of the same process group or session, started since this program was, and not known to be another user's: perhaps a
    /// grandchild whose parent has ended.
    Companion,
    /// Neither.
    Stranger,
}

impl Relation {
    /// What came from another process was in that one's table, not in those of our companions: inetd and its other
    /// services are no holders.
    pub(super) fn may_hold(self, origin: Origin) -> bool {
        match self {
            Relation::Kin => true,
            Relation::Starter => origin == Origin::Received,
            Relation::Companion => origin == Origin::Accepted,
            Relation::Stranger => false,
        }
    }
}

/// A process whose table cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unreadable {
    pub(super) relation: Relation,
    /// It is ending, and about to let go of what it holds. From then on root alone may read its table.
    pub(super) ends: bool,
}

/// ESRCH or ENOENT for one that has ended, and holds nothing.
pub(super) fn unreadable(proc: Fd, pid: i32, own: i32) -> sys::Result<Unreadable> {
    let theirs = relations(proc, pid)?;
    let of = |relation| Ok(Unreadable { relation, ends: theirs.life == Life::Ends });
    if theirs.life == Life::Ended {
        return Err(Errno(libc::ESRCH));
    }
    let Ok(ours) = relations(proc, own) else { return of(Relation::Kin) };
    if in_lineage(pid) || theirs.parent == own || in_lineage(theirs.parent) {
        return of(Relation::Kin);
    }
    if ours.parent == pid && theirs.session == ours.session {
        return of(Relation::Starter);
    }
    let together = |theirs: i32, ours: i32| ours != 0 && theirs == ours;
    let companion = together(theirs.group, ours.group) || together(theirs.session, ours.session);
    if companion && theirs.started >= program_started(proc, &ours) && !is_another_users(proc, pid)? {
        of(Relation::Companion)
    } else {
        of(Relation::Stranger)
    }
}

/// When the first process of the lineage started, in clock ticks since boot; 0 where that cannot be told. What is older
/// inherited nothing from it.
pub(super) fn program_started(proc: Fd, ours: &Relations) -> u64 {
    let first = LINEAGE.iter().map(|place| place.load(Ordering::Relaxed)).take_while(|pid| *pid != 0).last();
    let Some(first) = first else { return ours.started };
    // A number that was given out anew belongs to a younger process.
    relations(proc, first).ok().map(|r| r.started).filter(|started| *started <= ours.started).unwrap_or(0)
}

pub(super) struct Relations {
    life: Life,
    parent: i32,
    group: i32,
    session: i32,
    started: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Lives,
    /// Its memory is gone already (or it is a thread of the kernel).
    Ends,
    /// Nobody has waited for it yet, or somebody just has.
    Ended,
}

/// Fields 3 to 6, 20, 22 and 23 of /proc/PID/stat; field 2 is a name in parentheses that may hold anything (proc(5)).
pub(super) fn relations(proc: Fd, pid: i32) -> sys::Result<Relations> {
    let mut buffer = [0u8; 512];
    let stat = read(proc, Path::new(format_args!("{pid}/stat")).as_c_str(), &mut buffer)?;
    parse_relations(stat).ok_or(Errno(libc::EBADMSG))
}

/// The beginning of a file.
fn read<'a>(proc: Fd, path: &CStr, buffer: &'a mut [u8]) -> sys::Result<&'a [u8]> {
    let file = sys::open_at(proc, path, libc::O_RDONLY)?;
    let length = sys::read(file, buffer);
    let _ = sys::close(file);
    Ok(buffer.get(..length?).unwrap_or(&[]))
}

pub(super) fn parse_relations(stat: &[u8]) -> Option<Relations> {
    let after_name = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = stat.get(after_name + 1..)?.split(|b| *b == b' ').filter(|f| !f.is_empty());
    let state = fields.next()?;
    let mut next = || match fields.next()? {
        // What there is no more: the kernel gives group and session of one that is being reaped so.
        b"-1" => Some(-1),
        number => decimal(number).and_then(|n| i32::try_from(n).ok()),
    };
    let (parent, group, session) = (next()?, next()?, next()?);
    let threads = fields.nth(13).and_then(decimal)?;
    let started = fields.nth(1).and_then(decimal)?;
    let memory = fields.next().and_then(decimal)?;
    // One whose first thread has ended is like one that has ended while others live.
    let life = match state {
        b"Z" if threads <= 1 => Life::Ended,
        // For as long as they live.
        b"Z" => Life::Lives,
        b"X" => Life::Ended,
        _ if session < 0 => Life::Ended,
        _ if memory == 0 => Life::Ends,
        _ => Life::Lives,
    };
    Some(Relations { life, parent, group, session, started })
}

/// Whether an ordinary user started this program, and the process is not his. A child of the program becomes somebody else only
/// with a privilege that this program never had, or through one with the set-user-ID bit; and sudo(8), the usual one, closes
/// what it inherits.
fn is_another_users(proc: Fd, pid: i32) -> sys::Result<bool> {
    let Some(user) = process::started_by_ordinary_user() else { return Ok(false) };
    let Ok(ours) = credentials(proc, c"self/status") else { return Ok(false) };
    let powerless = POWERLESS.load(Ordering::Relaxed) && ours.cannot_become_others(user);
    Ok(powerless
        && !credentials(proc, Path::new(format_args!("{pid}/status")).as_c_str())?.users.contains(&user))
}

/// Whether the program had no capability when its family began: what it had before that, no child with a connection got. One that
/// execve(2) kept for an ordinary user (an ambient one, capabilities(7)) shows nowhere else.
static POWERLESS: AtomicBool = AtomicBool::new(false);

/// A family begins: its first fork with connections.
pub(super) fn note_power() {
    let Ok(proc) = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_PATH | libc::O_DIRECTORY) else { return };
    let own = credentials(proc, c"self/status");
    let _ = sys::close(proc);
    POWERLESS.store(own.is_ok_and(|own| own.capabilities == Some(0)), Ordering::Relaxed);
}

struct Credentials {
    /// Real, effective, saved and of the file system, as the reader's namespace has them.
    users: [u32; 4],
    /// The permitted capabilities; `None` where they come too late in the file.
    capabilities: Option<u64>,
}

impl Credentials {
    fn cannot_become_others(&self, user: u32) -> bool {
        self.users == [user; 4] && self.capabilities == Some(0)
    }
}

fn credentials(proc: Fd, path: &CStr) -> sys::Result<Credentials> {
    let mut buffer = [0u8; 4096];
    let status = read(proc, path, &mut buffer)?;
    parse_credentials(status).ok_or(Errno(libc::EBADMSG))
}

/// The lines `Uid` and `CapPrm` of /proc/PID/status (proc(5)); in a name the end of a line is escaped.
fn parse_credentials(status: &[u8]) -> Option<Credentials> {
    // What follows the last end of a line may be cut.
    let whole = status.get(..status.iter().rposition(|b| *b == b'\n')?)?;
    let after = |name: &[u8]| whole.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name));
    let mut users = after(b"Uid:\t")?.split(|b| *b == b'\t');
    let mut next = || users.next().and_then(decimal).and_then(|n| u32::try_from(n).ok());
    let capabilities = after(b"CapPrm:\t").and_then(|text| core::str::from_utf8(text).ok());
    Some(Credentials {
        users: [next()?, next()?, next()?, next()?],
        capabilities: capabilities.and_then(|text| u64::from_str_radix(text, 16).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

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
    fn who_has_ended_is_told_from_who_ends() {
        for (state, group, threads, memory, expected) in [
            ("S", "8 9", 1, 4096, Life::Lives),
            ("Z", "8 9", 2, 4096, Life::Lives),
            ("R", "8 9", 1, 0, Life::Ends),
            ("Z", "8 9", 2, 0, Life::Lives),
            ("Z", "8 9", 1, 0, Life::Ended),
            ("X", "8 9", 1, 0, Life::Ended),
            ("R", "-1 -1", 0, 0, Life::Ended),
        ] {
            let line = format!(
                "42 (a) {state} 7 {group} 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 12345 {memory} 99"
            );
            assert_eq!(parse_relations(line.as_bytes()).unwrap().life, expected, "{line}");
        }
    }

    #[test]
    fn only_who_cannot_become_others_tells_strangers_by_their_user() {
        let of = |users: &str, capabilities: &str| {
            let status = format!("Name:\ta\\nUid:\t9\nPid:\t42\nUid:\t{users}\nCapPrm:\t{capabilities}\n");
            parse_credentials(status.as_bytes()).unwrap()
        };
        let nothing = "0000000000000000";
        assert!(of("7\t7\t7\t7", nothing).cannot_become_others(7));
        for (users, capabilities, user) in [
            ("7\t7\t7\t7", nothing, 8),
            ("7\t0\t7\t7", nothing, 7),
            ("7\t7\t0\t7", nothing, 7),
            ("7\t7\t7\t7", "0000000000000080", 7),
            ("7\t7\t7\t7", "nonsense", 7),
        ] {
            assert!(!of(users, capabilities).cannot_become_others(user), "{users} {capabilities} {user}");
        }
        let cut = b"Uid:\t7\t7\t7\t7\nGroups:\t1 2 3\nCapPrm:\t0";
        assert!(!parse_credentials(cut).unwrap().cannot_become_others(7));
        assert!(parse_credentials(b"Uid:\t7\t7\t7\n").is_none());
        assert!(parse_credentials(b"Uid:\t7\t7\t7\t7").is_none());
        let proc = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_PATH).unwrap();
        let own = credentials(proc, c"self/status").unwrap();
        sys::close(proc).unwrap();
        // SAFETY: getuid takes nothing and cannot fail.
        assert_eq!(own.users[0], unsafe { libc::getuid() });
        assert!(own.capabilities.is_some());
    }

    #[test]
    fn a_process_that_has_ended_is_no_relative() {
        let proc = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_PATH).unwrap();
        let mut child = std::process::Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let number = child.id() as i32;
        let look = || unreadable(proc, number, process::pid());
        let before = look();
        drop(child.stdin.take());
        while relations(proc, number).unwrap().life != Life::Ended {
            std::thread::yield_now();
        }
        let unreaped = look();
        child.wait().unwrap();
        let reaped = look();
        sys::close(proc).unwrap();
        assert_eq!(before, Ok(Unreadable { relation: Relation::Kin, ends: false }));
        assert_eq!(unreaped, Err(Errno(libc::ESRCH)));
        assert_eq!(reaped, Err(Errno(libc::ENOENT)));
    }
}
