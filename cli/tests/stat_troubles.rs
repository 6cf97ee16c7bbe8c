//! What `linger stat` cannot tell it says in one line, with its own exit code; and who may look.

mod stat_subjects;

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use linger_testbed::netns::isolated;
use linger_testbed::server::Preload;
use linger_testbed::{pause, DEADLINE};
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, SealFlags};
use rustix::process::{prlimit, Pid, Resource, Rlimit};
use stat_subjects::{
    as_nobody, closer, look, look_until_lingering, patient_closer, stat, stat_as_nobody,
    stat_command_as_nobody, Subject, Told, Way,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn stat_json(pid: u32) -> Told {
    stat(&[&pid.to_string(), "--json"])
}

/// The number of a process that has ended.
fn gone() -> u32 {
    let mut process = Command::new("true").spawn().expect("true");
    process.wait().expect("wait");
    process.id()
}

#[test]
fn a_process_that_is_gone() {
    stat_json(gone()).assert_trouble(3, "gone");
}

#[test]
fn a_process_without_the_library() {
    isolated(|| {
        let (_closer, pid) = closer(Preload::None, &[]);
        stat_json(pid).assert_trouble(5, "not_liblinger");
    });
}

#[test]
fn one_that_is_gone_does_not_hide_the_other() {
    isolated(|| {
        let (_closer, pid) = patient_closer();
        let told = stat(&[&gone().to_string(), &pid.to_string(), "--json"]);
        told.assert_trouble(3, "gone");
        assert_eq!(told.json()["processes"][0]["pid"], pid);
    });
}

#[test]
fn mistakes_in_the_command_line() {
    for wrong in [&["x"][..], &["0"], &["-1"], &["--watch=0"], &["--prometheus", "--json"], &["--no"]] {
        let told = stat(wrong);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
    }
}

/// Nothing is left but what the process does itself: RLIMIT_FSIZE forbids the drain thread its file of memory.
#[test]
fn a_process_that_cannot_publish() {
    isolated(|| {
        let mut subject = Subject::start(Way::Preloaded);
        let pid = Pid::from_raw(subject.pid() as i32);
        prlimit(pid, Resource::Fsize, Rlimit { current: Some(0), maximum: None }).expect("prlimit");
        let _clients = subject.let_go_of(1, V4);
        // The thread may not have its name yet.
        let started = Instant::now();
        while stat_json(subject.pid()).code == 0 && started.elapsed() < DEADLINE {
            pause(Duration::from_millis(5), "a thread that starts tells nobody");
        }
        stat_json(subject.pid()).assert_trouble(7, "unpublished");
    });
}

#[test]
fn root_can_look_into_a_process_that_became_somebody_else_and_others_cannot() {
    isolated(|| {
        let mut subject = Subject::start(Way::Preloaded);
        let pid = subject.pid();
        let _before = subject.let_go_of(2, V4);
        look_until_lingering(pid, 2);
        let arguments = [&pid.to_string(), "--json"];
        stat_as_nobody(&arguments).assert_trouble(4, "not_permitted");
        subject.tell("setuid 65534");
        let _after = subject.let_go_of(1, V4);
        let seen = look_until_lingering(pid, 3);
        assert_eq!(seen["connections"].as_array().map(Vec::len), Some(3));
        // Who drops privileges may hold secrets still (PR_SET_DUMPABLE).
        stat_as_nobody(&arguments).assert_trouble(4, "not_permitted");
    });
}

#[test]
fn those_that_may_not_be_looked_into_are_counted() {
    isolated(|| {
        let (_closer, pid) = patient_closer();
        let told = stat_as_nobody(&["--json"]);
        let document = told.json();
        assert!(document["unreadable_processes"].as_u64() > Some(0), "{told:?}");
        let told_of =
            document["processes"].as_array().expect("processes").iter().any(|one| one["pid"] == pid);
        assert!(!told_of, "{told:?}");
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.stderr.ends_with(" could not be read: run as root\n"), "{told:?}");
        assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
    });
}

/// /proc may be mounted so that one sees one's own processes only (hidepid, proc(5)): then they are not gone.
#[test]
fn a_process_that_proc_hides() {
    isolated(|| {
        let (_closer, pid) = patient_closer();
        let looked = |mount: &str| {
            let nobody = stat_command_as_nobody(&[&pid.to_string(), "--json"]);
            let mut command = Command::new("unshare");
            command.args(["--mount", "--", "sh", "-c", &format!("{mount} && exec \"$@\""), "sh"]);
            Told::by(command.arg(nobody.command.get_program()).args(nobody.command.get_args()))
        };
        looked("mount -t proc -o hidepid=2 proc /proc").assert_trouble(4, "not_permitted");
        looked("mount -t proc -o hidepid=0 proc /proc").assert_trouble(4, "not_permitted");
    });
}

/// The link to what the drain thread of the process publishes.
fn published(pid: u32) -> PathBuf {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("tasks").flatten();
    let fds = tasks.flat_map(|task| fs::read_dir(task.path().join("fd")).expect("table").flatten());
    let link = OsStr::new("/memfd:linger (deleted)");
    let mut links = fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == link));
    links.next().expect("a published file").path()
}

#[test]
fn nobody_else_can_write_to_what_is_published() {
    isolated(|| {
        let mut subject = Subject::start(Way::Preloaded);
        let _clients = subject.let_go_of(1, V4);
        let before = look_until_lingering(subject.pid(), 1);
        let path = published(subject.pid());
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("root may open it");
        assert_eq!(file.metadata().expect("metadata").mode() & 0o777, 0o600);
        assert!(file.write_at(b"x", 0).is_err(), "written to");
        assert!(file.set_len(0).is_err() && file.set_len(1 << 30).is_err(), "its length was changed");
        let mut command = as_nobody(OsStr::new("cat"));
        let told = Told::by(command.arg(&path));
        assert!(told.code != 0 && told.stdout.is_empty() && told.stderr.contains("denied"), "{told:?}");
        assert_eq!(look(subject.pid())["lingered"], before["lingered"]);
    });
}

/// Runs `test` in a process of its own that has a thread named `linger`, in whose table is a file with this content.
fn with_published(content: &[u8], seals: SealFlags, test: impl Fn(u32) + Send + 'static) {
    let file = fs::File::from(
        memfd_create("linger", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).expect("memfd"),
    );
    (&file).write_all(content).expect("write");
    fcntl_add_seals(file.as_fd(), seals).expect("seal");
    let thread = std::thread::Builder::new().name("linger".to_owned());
    thread.spawn(move || test(std::process::id())).expect("thread").join().expect("the test");
    drop(file);
}

/// One test: all of them share the table of this process.
#[test]
fn what_looks_like_a_published_file_is_not_believed() {
    let seals = SealFlags::SHRINK | SealFlags::GROW;
    let mut header = vec![0; linger::publication::READ_BYTES];
    header[..8].copy_from_slice(&linger::publication::MAGIC.to_ne_bytes());
    with_published(&header, SealFlags::empty(), |pid| stat_json(pid).assert_trouble(5, "not_liblinger"));
    with_published(b"something else", seals, |pid| stat_json(pid).assert_trouble(6, "other_layout"));
    with_published(b"", seals, |pid| stat_json(pid).assert_trouble(6, "other_layout"));
    with_published(&header, seals, |pid| {
        let told = stat_json(pid);
        told.assert_trouble(6, "other_layout");
        assert!(told.stderr.contains("liblinger 0.0.0"), "{told:?}");
    });
    // Places without end, records that begin at the end of the world, and more of everything than there can be.
    let record_bytes = (size_of::<linger::drain::Drain>() as u64).to_ne_bytes();
    header[8..].fill(0xff);
    header[24..32].copy_from_slice(&record_bytes);
    with_published(&header, seals, |pid| {
        let told = stat(&[&pid.to_string(), "--json", "--connections"]);
        told.assert_well();
        let seen = &told.json()["processes"][0];
        assert_eq!((&seen["lingering"], &seen["connections"]), (&u64::MAX.into(), &serde_json::json!([])));
        assert_eq!(stat(&[&pid.to_string()]).code, 0);
    });
}
