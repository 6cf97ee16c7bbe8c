//! Whether the kernel would set AT_SECURE for a program (getauxval(3)): the loader then ignores LD_PRELOAD, and the library
//! its settings.
//!
//! The rule is the kernel's (`bprm_fill_uid` in `fs/exec.c`, `cap_bprm_creds_from_file` in `security/commoncap.c`): not
//! whether the file has a set-user-ID bit, but whether the program's effective ids will differ from the real ones, or
//! whether file capabilities give it any. So root runs a set-user-ID-root program without it, and a file system
//! mounted nosuid, and no_new_privs, prevent it. A security module's own transitions cannot be known beforehand.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{fgetxattr, fstatvfs, StatVfsMountFlags};
use rustix::process::{getegid, geteuid, getgid, getuid};

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
/// Without it the set-group-ID bit meant mandatory locking.
const GROUP_EXECUTE: u32 = 0o0010;

/// Why the program would run with raised privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    SetUserId {
        owner: u32,
    },
    SetGroupId {
        group: u32,
    },
    Capabilities,
    /// Our own real and effective ids differ, and it would inherit them.
    Inherited,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raised::SetUserId { owner: 0 } => f.write_str("is set-user-ID root"),
            Raised::SetUserId { owner } => write!(f, "is set-user-ID (user {owner})"),
            Raised::SetGroupId { group } => write!(f, "is set-group-ID (group {group})"),
            Raised::Capabilities => f.write_str("has file capabilities"),
            Raised::Inherited => f.write_str("would run with raised privileges, as this command does"),
        }
    }
}

/// Says why AT_SECURE would be set if this process ran the file.
pub fn raised(file: &File) -> Option<Raised> {
    let us = Process::current();
    let about = file.metadata().ok()?;
    let bits_count = !us.no_new_privileges && !is_mounted_nosuid(file);
    let mode = about.mode();
    let set_user = bits_count && mode & SET_USER_ID != 0;
    let set_group = bits_count && mode & (SET_GROUP_ID | GROUP_EXECUTE) == SET_GROUP_ID | GROUP_EXECUTE;
    let user = if set_user { about.uid() } else { us.effective_user };
    let group = if set_group { about.gid() } else { us.effective_group };
    // The effective id that was there before counts since Linux 6.16 only; ids that differ are refused before, too.
    if user != us.user || user != us.effective_user {
        return Some(if set_user { Raised::SetUserId { owner: user } } else { Raised::Inherited });
    }
    if group != us.group || group != us.effective_group {
        return Some(if set_group { Raised::SetGroupId { group } } else { Raised::Inherited });
    }
    let capabilities = FileCapabilities::of(file).filter(|_| us.user != 0 && !is_mounted_nosuid(file))?;
    us.gains(&capabilities).then_some(Raised::Capabilities)
}

fn is_mounted_nosuid(file: &File) -> bool {
    fstatvfs(file).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::NOSUID))
}

/// What of this process decides.
struct Process {
    user: u32,
    effective_user: u32,
    group: u32,
    effective_group: u32,
    no_new_privileges: bool,
    inheritable: u64,
    permitted: u64,
    bounding: u64,
}

impl Process {
    fn current() -> Process {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        // Where /proc is missing the bounding set counts as full: a refusal then tells more than silence.
        let set = |name: &str, unknown| {
            field(name).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(unknown)
        };
        Process {
            user: getuid().as_raw(),
            effective_user: geteuid().as_raw(),
            group: getgid().as_raw(),
            effective_group: getegid().as_raw(),
            no_new_privileges: field("NoNewPrivs") == Some("1"),
            inheritable: set("CapInh", 0),
            permitted: set("CapPrm", 0),
            bounding: set("CapBnd", u64::MAX),
        }
    }

    /// Ambient capabilities do not count: a file with capabilities of its own clears them.
    fn gains(&self, file: &FileCapabilities) -> bool {
        let mut gained = (self.bounding & file.permitted) | (self.inheritable & file.inheritable);
        if self.no_new_privileges {
            gained &= self.permitted;
        }
        file.effective || gained != 0
    }
}

/// The extended attribute `security.capability` (`struct vfs_cap_data`, capabilities(7)).
struct FileCapabilities {
    effective: bool,
    permitted: u64,
    inheritable: u64,
}

impl FileCapabilities {
    fn of(file: &File) -> Option<FileCapabilities> {
        let mut bytes = [0; 24];
        let length = fgetxattr(file, c"security.capability", &mut bytes).ok()?;
        FileCapabilities::parse(bytes.get(..length)?)
    }

    fn parse(bytes: &[u8]) -> Option<FileCapabilities> {
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|word| word.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)))
            .collect();
        let word = |at: usize| words.get(at).copied().map(u64::from);
        // Revision 1 has one word of each set, the later ones have two.
        let high = |at: usize| word(at).unwrap_or(0) << 32;
        Some(FileCapabilities {
            effective: word(0)? & 1 != 0,
            permitted: word(1)? | high(3),
            inheritable: word(2)? | high(4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        Process {
            user: 1000,
            effective_user: 1000,
            group: 1000,
            effective_group: 1000,
            no_new_privileges: false,
            inheritable: 0,
            permitted: 0,
            bounding: 0xff,
        }
    }

    #[test]
    fn the_attribute_is_little_endian_and_has_two_halves() {
        // setcap cap_net_bind_service,cap_checkpoint_restore=ep
        let bytes = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let file = FileCapabilities::parse(&bytes).expect("capabilities");
        assert!(file.effective);
        assert_eq!(file.permitted, 1 << 10 | 1 << 40);
        assert_eq!(file.inheritable, 0);
        assert!(FileCapabilities::parse(&bytes[..7]).is_none());
    }

    #[test]
    fn what_is_not_in_the_bounding_set_is_not_gained() {
        let file = |permitted| FileCapabilities { effective: false, permitted, inheritable: 0 };
        assert!(process().gains(&file(1)));
        assert!(!process().gains(&file(0x100)));
        assert!(!process().gains(&file(0)));
    }

    #[test]
    fn what_is_inheritable_is_gained_by_those_who_have_it() {
        let file = FileCapabilities { effective: false, permitted: 0, inheritable: 2 };
        assert!(!process().gains(&file));
        assert!(Process { inheritable: 2, ..process() }.gains(&file));
        let bound = Process { inheritable: 2, no_new_privileges: true, ..process() };
        assert!(!bound.gains(&file));
    }

    #[test]
    fn the_effective_flag_alone_is_enough() {
        let file = FileCapabilities { effective: true, permitted: 0, inheritable: 0 };
        assert!(process().gains(&file));
    }
}
