//! How related a process is whose descriptor table cannot be read, and so whether it may hold a connection.

use super::proc::{decimal, Path};
use super::LINEAGE;
use crate::handover::Origin;
use crate::sys::{self, Errno, Fd};
use core::sync::atomic::Ordering;

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
    /// Of the same process group or session, and started since this program was: perhaps a grandchild whose parent has
    /// ended.
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

pub(super) fn relation(proc: Fd, pid: i32, own: i32) -> Relation {
    let theirs = match relations(proc, pid) {
        Ok(theirs) => theirs,
        // It has ended since its table could not be read, and holds nothing.
        Err(e) if e.is(libc::ENOENT) || e.is(libc::ESRCH) => return Relation::Stranger,
        Err(_) => return Relation::Kin,
    };
    let Ok(ours) = relations(proc, own) else { return Relation::Kin };
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
pub(super) fn program_started(proc: Fd, ours: &Relations) -> u64 {
    let first = LINEAGE.iter().map(|place| place.load(Ordering::Relaxed)).take_while(|pid| *pid != 0).last();
    let Some(first) = first else { return ours.started };
    // A number that was given out anew belongs to a younger process.
    relations(proc, first).ok().map(|r| r.started).filter(|started| *started <= ours.started).unwrap_or(0)
}

pub(super) struct Relations {
    parent: i32,
    group: i32,
    session: i32,
    started: u64,
}

/// Fields 4 to 6 and 22 of /proc/PID/stat; field 2 is a name in parentheses that may hold anything (proc(5)).
pub(super) fn relations(proc: Fd, pid: i32) -> sys::Result<Relations> {
    let path = Path::new(format_args!("{pid}/stat"));
    let file = sys::open_at(proc, path.as_c_str(), libc::O_RDONLY)?;
    let mut text = [0u8; 512];
    let length = sys::read(file, &mut text);
    let _ = sys::close(file);
    text.get(..length?).and_then(parse_relations).ok_or(Errno(libc::EBADMSG))
}

pub(super) fn parse_relations(stat: &[u8]) -> Option<Relations> {
    let after_name = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = stat.get(after_name + 1..)?.split(|b| *b == b' ').filter(|f| !f.is_empty()).skip(1);
    let mut next = || fields.next().and_then(decimal).and_then(|n| i32::try_from(n).ok());
    let (parent, group, session) = (next()?, next()?, next()?);
    Some(Relations { parent, group, session, started: fields.nth(15).and_then(decimal)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;

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
    fn a_process_that_has_ended_is_no_relative() {
        let proc = sys::open_at(libc::AT_FDCWD, c"/proc", libc::O_PATH).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let number = child.id() as i32;
        let before = relation(proc, number, process::pid());
        child.wait().unwrap();
        let after = relation(proc, number, process::pid());
        sys::close(proc).unwrap();
        assert_eq!((before, after), (Relation::Kin, Relation::Stranger));
    }
}
