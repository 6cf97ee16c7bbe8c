//! What the library leaves in the system: no file, no name, no listening socket; it writes nowhere but to its own memory, its
//! channel and stderr. Every system call of a program that lets go of connections in every way is looked at, of all its
//! threads and children, and compared with what the same program does without the library.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use linger_testbed::faults::cases::SETTINGS;
use linger_testbed::faults::launch::Surroundings;
use linger_testbed::faults::session::{self, PRELOADED};
use linger_testbed::netns;
use linger_testbed::server::{find_program, Preload};
use linger_testbed::trace::name;
use linger_testbed::{pause, DEADLINE};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_every-way");

/// What changes names or files, whoever calls it.
const CHANGES: [&str; 26] = [
    "creat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mknod",
    "mknodat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "lchown",
    "truncate",
    "mount",
    "setxattr",
    "fsetxattr",
];

/// What writes to the descriptor that is its first argument.
const WRITES: [&str; 12] = [
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "sendfile",
    "splice",
    "ftruncate",
    "fallocate",
];

/// Memory without a name in any directory (memfd_create(2)), in which the counters are published.
const PUBLISHED: &str = "/memfd:linger";

/// A call with the open files that strace(1) says its descriptors are: `write(5<anon_inode:[eventfd]>, ...`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Call(String);

impl Call {
    fn name(&self) -> &str {
        name(&self.0)
    }

    fn arguments(&self) -> &str {
        self.0.split_once('(').map_or("", |(_, rest)| rest)
    }

    /// What the first argument, a descriptor, refers to.
    fn target(&self) -> &str {
        let rest = self.arguments().split_once('<').map_or("", |(_, rest)| rest);
        rest.split_once('>').map_or("", |(target, _)| target)
    }

    /// The first string among the arguments.
    fn path(&self) -> &str {
        self.arguments().split('"').nth(1).unwrap_or_default()
    }

    fn failed(&self) -> bool {
        self.0.contains(" = -1 ")
    }
}

/// Lets the program go through all its ways, and returns what it and its children called, threads and all.
fn trace(preload: &Preload) -> Vec<Call> {
    let directory = TempDir::new().expect("directory");
    let logs = directory.path().join("logs");
    fs::create_dir(&logs).expect("directory");
    let library = match preload {
        Preload::Shim(path) => format!("-E LD_PRELOAD='{}'", path.display()),
        Preload::None => String::new(),
    };
    let strace = find_program("strace", "strace").expect("strace");
    let text = format!(
        "#!/bin/sh\nexec '{}' -D -ff -y -s 4096 -o '{}/call' {library} -- '{PROGRAM}'\n",
        strace.display(),
        logs.display()
    );
    let script = directory.path().join("traced");
    fs::write(&script, text).expect("write");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("permissions");
    let environment =
        SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let surroundings = Surroundings { environment, ..Surroundings::default() };
    let bare: Vec<_> = PRELOADED.iter().copied().filter(|way| !way.starts_with("linger")).collect();
    let ways = if preload.is_shim() { PRELOADED } else { &bare };
    let script = script.to_str().expect("UTF-8");
    let conclusion = session::play(script, &surroundings, ways, 1).expect("session");
    assert_eq!(conclusion.wrong, Vec::<String>::new(), "{:?}", conclusion.report);
    let lingered = conclusion.report.expect("a report").statistics.lingered;
    assert_eq!(lingered > 0, preload.is_shim(), "{lingered} connections lingered");
    // The tracer is no parent of the program here (-D), and ends after it.
    let started = Instant::now();
    while !all_have_ended(&logs) {
        assert!(started.elapsed() < DEADLINE, "strace does not end its logs");
        pause(Duration::from_millis(10), "nothing tells of the end of a process that is not ours");
    }
    read_logs(&logs)
}

fn all_have_ended(logs: &Path) -> bool {
    let mut files = fs::read_dir(logs).expect("logs").map(|entry| entry.expect("log").path());
    files.all(|path| {
        let text = fs::read(path).expect("log");
        String::from_utf8_lossy(&text).trim_end().lines().last().is_some_and(|line| line.starts_with("+++"))
    })
}

fn read_logs(logs: &Path) -> Vec<Call> {
    let files = fs::read_dir(logs).expect("logs").map(|entry| entry.expect("log").path());
    let texts = files.map(|path| String::from_utf8_lossy(&fs::read(path).expect("log")).into_owned());
    // Of a thread that its process's end surprises in a call strace(1) shows what another thread called.
    let is_call = |line: &&str| {
        !line.starts_with("---") && !line.starts_with("+++") && !line.ends_with("<unfinished ...>")
    };
    texts
        .flat_map(|text| text.lines().filter(is_call).map(|l| Call(l.to_owned())).collect::<Vec<_>>())
        .collect()
}

/// The calls of these names without the library, without numbers.
fn known<'a>(bare: &'a [Call], what: impl Fn(&'a Call) -> &'a str) -> BTreeSet<(&'a str, &'a str)> {
    bare.iter().map(|call| (call.name(), what(call))).collect()
}

fn is_open(call: &&Call) -> bool {
    matches!(call.name(), "open" | "openat" | "openat2") && !call.failed()
}

#[test]
fn the_library_leaves_no_file_and_no_name_and_writes_to_nobody() {
    netns::isolated(|| {
        let shim = Preload::shim().expect("shim");
        let (bare, with) = (trace(&Preload::None), trace(&shim));
        for call in with.iter().filter(|call| CHANGES.contains(&call.name())) {
            assert!(call.name() == "fchmod" && call.target() == PUBLISHED, "{call:?}");
        }
        opens_only_proc(&bare, &with, &shim);
        writes_only_to_itself(&bare, &with);
        has_no_name(&bare, &with);
    });
}

/// Before the first of the program's own descriptors are there, the loader looks for libraries, and the constructor for its
/// own file and the system's list.
fn opens_only_proc(bare: &[Call], with: &[Call], shim: &Preload) {
    let Preload::Shim(library) = shim else { unreachable!("it is one") };
    let at_start = [library.to_str().expect("UTF-8"), "/etc/ld.so.preload"];
    let known = known(bare, Call::path);
    let mut proc = 0;
    for call in with.iter().filter(is_open) {
        let path = call.path();
        let in_proc = path.starts_with("/proc") || call.target().starts_with("/proc");
        proc += usize::from(in_proc);
        if known.contains(&(call.name(), path)) {
            continue;
        }
        assert!(in_proc || at_start.contains(&path), "{call:?}");
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TMPFILE", "O_TRUNC", "O_APPEND"];
        assert!(!writes.iter().any(|flag| call.0.contains(flag)), "{call:?}");
    }
    assert!(proc > 10, "nobody looked for holders: this proves little");
}

fn writes_only_to_itself(bare: &[Call], with: &[Call]) {
    let kind = |target: &str| target.split(':').next().unwrap_or_default().to_owned();
    let known: BTreeSet<_> = bare.iter().map(|call| (call.name(), kind(call.target()))).collect();
    let mut own = BTreeSet::new();
    for call in with.iter().filter(|call| WRITES.contains(&call.name())) {
        let target = call.target();
        if known.contains(&(call.name(), kind(target))) && !target.starts_with('/') {
            continue;
        }
        let allowed = match call.name() {
            // Its channel, to which sockets are passed.
            "sendmsg" => target.starts_with("socket:") || target.starts_with("UNIX"),
            "ftruncate" | "fallocate" => target == PUBLISHED,
            "write" => target == "anon_inode:[eventfd]",
            _ => false,
        };
        assert!(allowed, "{call:?}");
        own.insert(call.name());
    }
    assert!(
        own.contains("sendmsg") && own.contains("ftruncate"),
        "nothing was handed over or published: {own:?}"
    );
}

fn has_no_name(bare: &[Call], with: &[Call]) {
    let count = |calls: &[Call], name: &str| calls.iter().filter(|call| call.name() == name).count();
    assert_eq!(count(with, "listen"), count(bare, "listen"));
    let binds: Vec<_> = with.iter().filter(|call| call.name() == "bind").collect();
    let (inet, unix): (Vec<_>, Vec<_>) = binds.into_iter().partition(|call| call.0.contains("AF_INET"));
    assert_eq!(inet.len(), count(bare, "bind"), "{inet:#?}");
    assert!(!unix.is_empty(), "there was no channel");
    for call in unix {
        // unix(7), Autobind: the kernel chooses an abstract name.
        assert!(call.0.contains("{sa_family=AF_UNIX}, 2) = 0"), "{call:?}");
    }
    for call in with.iter().filter(|call| call.name() == "memfd_create") {
        assert_eq!(call.path(), "linger", "{call:?}");
    }
    let kinds = |calls: &[Call]| -> BTreeSet<String> {
        let sockets = calls.iter().filter(|call| call.name() == "socket" || call.name() == "socketpair");
        sockets.map(|call| call.arguments().split(')').next().unwrap_or_default().to_owned()).collect()
    };
    for more in kinds(with).difference(&kinds(bare)) {
        assert!(more.starts_with("AF_UNIX, SOCK_DGRAM|"), "{more}");
    }
}
