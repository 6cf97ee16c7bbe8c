//! What a process is made of, as /proc shows it: its threads, its descriptors, its memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Error, Result};
use linger::publication::{Published, LINK, READ_BYTES};

use crate::{pause, DEADLINE};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The process under the knife.
#[derive(Debug, Clone, Copy)]
pub struct Anatomy {
    pid: u32,
}

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its number.
    pub tid: u32,
    /// As `ps -L` shows it.
    pub name: String,
}

impl Anatomy {
    /// Of the process with this number, which must outlive what is asked here.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Its number.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.pid
    }

    fn path(self, rest: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{rest}", self.pid))
    }

    /// It and the processes that it and they have started, those still there.
    ///
    /// # Errors
    ///
    /// If it is gone, or one that is not cannot be looked at.
    pub fn family(self) -> Result<Vec<Self>> {
        let mut family = vec![self];
        for thread in self.threads()? {
            // It may have ended by now, and so may its children.
            let children = fs::read_to_string(self.path(&format!("task/{}/children", thread.tid)));
            for pid in unless_gone(children.map_err(Error::from))?.split_ascii_whitespace() {
                family.extend(unless_gone(Self::of(pid.parse()?).family())?);
            }
        }
        Ok(family)
    }

    /// Its threads.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn threads(self) -> Result<Vec<Thread>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(self.path("task"))? {
            let tid = entry?.file_name().to_string_lossy().parse()?;
            // A thread may end between the two looks.
            if let Ok(name) = fs::read_to_string(self.path(&format!("task/{tid}/comm"))) {
                threads.push(Thread { tid, name: name.trim_end().to_owned() });
            }
        }
        Ok(threads)
    }

    /// The drain threads of liblinger: several where one table is not enough, none where nothing has lingered.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn drain_threads(self) -> Result<Vec<Thread>> {
        let mut threads = self.threads()?;
        threads.retain(|thread| thread.name == "linger");
        Ok(threads)
    }

    /// What liblinger has counted in it, as `linger stat` reads it; `None` where nothing has lingered yet.
    ///
    /// # Errors
    ///
    /// If it is gone, or publishes something else.
    pub fn counters(self) -> Result<Option<Published>> {
        for thread in self.drain_threads()? {
            let table = self.descriptors_of_thread(&thread)?;
            let Some((number, _)) = table.iter().find(|(_, target)| *target == LINK) else { continue };
            let mut header = [0; READ_BYTES];
            File::open(self.path(&format!("task/{}/fd/{number}", thread.tid)))?.read_exact(&mut header)?;
            let published = Published::read(&header).context("another layout: make all")?;
            // The others have records, and no counters.
            if published.index == 0 {
                return Ok(Some(published));
            }
        }
        Ok(None)
    }

    /// The drain thread of liblinger.
    ///
    /// # Errors
    ///
    /// If there is none, or more than one.
    pub fn drain_thread(self) -> Result<Thread> {
        match &self.drain_threads()?[..] {
            [thread] => Ok(thread.clone()),
            threads => bail!("not one thread is named linger, but {threads:?}"),
        }
    }

    /// What every number in the program's own table refers to.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn descriptors(self) -> Result<BTreeMap<i32, String>> {
        links(self.path("fd"))
    }

    /// The same of one thread, which may have a table of its own.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn descriptors_of_thread(self, thread: &Thread) -> Result<BTreeMap<i32, String>> {
        links(self.path(&format!("task/{}/fd", thread.tid)))
    }

    /// How many numbers are taken in the program's own table. Cheaper than [`Anatomy::descriptors`], for tables that are
    /// looked at often while others need the processors.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn count_descriptors(self) -> Result<usize> {
        count(&self.path("fd"))
    }

    /// How many connections are in the tables of all drain threads. One that is just being started still has the table of
    /// whoever started it, which must not count twice.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn count_lingering(self) -> Result<usize> {
        let mut seen = vec![self.pid];
        let mut count = 0;
        for thread in self.drain_threads()? {
            if !seen.iter().any(|other| share_a_table(*other, thread.tid)) {
                // One that is not needed any more may end between the two looks.
                count += self.count_connections_of_thread(&thread).unwrap_or(0);
            }
            seen.push(thread.tid);
        }
        Ok(count)
    }

    /// How many connections are in the table of a drain thread, as cheaply: what is there besides its own numbers.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn count_connections_of_thread(self, thread: &Thread) -> Result<usize> {
        // Eight that are fixed, among them its epoll set and its channel, and the memory that it publishes.
        const OWN: usize = 9;
        Ok(count(&self.path(&format!("task/{}/fd", thread.tid)))?.saturating_sub(OWN))
    }

    /// The sockets in the table of a drain thread, by inode.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn sockets_of_thread(self, thread: &Thread) -> Result<Vec<u64>> {
        let socket = |target: &String| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        Ok(self.descriptors_of_thread(thread)?.values().filter_map(socket).collect())
    }

    /// Waits until exactly `count` connections are in the drain thread's own table.
    ///
    /// # Errors
    ///
    /// If they are not after [`DEADLINE`], or there is no such thread.
    pub fn wait_until_drain_thread_holds(self, count: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            // Where nothing has lingered yet there is no thread, and where it starts it has the program's table.
            let held = match self.drain_thread() {
                Ok(thread) => connections(&self.descriptors_of_thread(&thread)?),
                Err(_) if count == 0 => 0,
                Err(_) => usize::MAX,
            };
            if held == count {
                return Ok(());
            }
            if started.elapsed() > DEADLINE {
                bail!("the drain thread holds {held} connections, not {count}: {:?}", self.threads()?);
            }
            pause(LOOK_AGAIN, "the kernel announces no change in a table of descriptors");
        }
    }

    /// Bytes of memory that are the process's own (heap, stacks, tables): what no file is behind.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn anonymous_bytes(self) -> Result<u64> {
        let text = fs::read_to_string(self.path("smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.context("smaps_rollup has no Anonymous line")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// Resident memory, in bytes.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn resident_bytes(self) -> Result<u64> {
        let kilobytes = self.status("VmRSS")?;
        let kilobytes = kilobytes.strip_suffix(" kB").context("VmRSS is not in kB")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1024)
    }

    /// Processor time so far, in milliseconds (proc(5), /proc/PID/stat: utime and stime, in ticks of 10 ms).
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn processor_ms(self) -> Result<u64> {
        const TICK_MS: u64 = 10;
        let text = fs::read_to_string(self.path("stat"))?;
        // The name before may have spaces in it.
        let (_, fields) = text.rsplit_once(')').context("stat has no name")?;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).context("stat is short");
        Ok((ticks()? + ticks()?) * TICK_MS)
    }

    /// Whether this library is mapped into it.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn has_loaded(self, library: &Path) -> Result<bool> {
        let maps = fs::read_to_string(self.path("maps"))?;
        let library = library.display().to_string();
        Ok(maps.lines().any(|line| line.ends_with(&library)))
    }

    /// The Unix sockets of its network namespace, a line each (proc(5)).
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn unix_sockets(self) -> Result<String> {
        Ok(fs::read_to_string(self.path("net/unix"))?)
    }

    /// What the process says in /proc/PID/status under this name.
    ///
    /// # Errors
    ///
    /// If it is gone, or says no such thing.
    pub fn status(self, field: &str) -> Result<String> {
        let text = fs::read_to_string(self.path("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {field} in status"))?.trim().to_owned())
    }
}

/// Nothing of a process or a thread that has ended; of others only what was found.
fn unless_gone<T: Default>(found: Result<T>) -> Result<T> {
    match found {
        Err(error) if is_gone(&error) => Ok(T::default()),
        found => found,
    }
}

/// Its directory is not there any more (`ENOENT`), or was opened and has lost what it is about (`ESRCH`).
fn is_gone(error: &Error) -> bool {
    let number = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    matches!(number, Some(libc::ENOENT | libc::ESRCH))
}

/// Whether two threads have one table of descriptors (kcmp(2)). Where that cannot be told, they have not.
fn share_a_table(one: u32, other: u32) -> bool {
    const KCMP_FILES: libc::c_int = 2;
    // SAFETY: the call compares what it is told to, and takes no memory.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) == 0 }
}

/// How many of these are sockets, the drain thread's own channel not counted.
fn connections(descriptors: &BTreeMap<i32, String>) -> usize {
    descriptors.values().filter(|target| target.starts_with("socket:")).count().saturating_sub(1)
}

/// The entries of a table. Since Linux 6.2 its size says so at once; before, it is 0 (proc(5), /proc/PID/fd).
fn count(directory: &Path) -> Result<usize> {
    match fs::metadata(directory)?.len() {
        0 => Ok(fs::read_dir(directory)?.count()),
        size => Ok(usize::try_from(size)?),
    }
}

fn links(directory: PathBuf) -> Result<BTreeMap<i32, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
        let entry = entry?;
        // It may be closed between the two looks.
        if let Ok(target) = fs::read_link(entry.path()) {
            found.insert(entry.file_name().to_string_lossy().parse()?, target.display().to_string());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_with_one_table_are_told_from_processes_that_have_two() {
        let here = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        assert!(share_a_table(std::process::id(), here));
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        assert!(!share_a_table(child.id(), here));
        drop(child.stdin.take());
        child.wait().expect("wait");
    }

    #[test]
    fn only_what_has_ended_is_left_out() {
        let of = |number| unless_gone::<u8>(Err(io::Error::from_raw_os_error(number).into())).ok();
        assert_eq!((of(libc::ENOENT), of(libc::ESRCH)), (Some(0), Some(0)));
        assert_eq!((of(libc::EMFILE), of(libc::EACCES)), (None, None));
        assert_eq!(unless_gone(Ok(7)).ok(), Some(7));
        let mut child = std::process::Command::new("true").spawn().expect("true");
        child.wait().expect("wait");
        assert!(is_gone(&Anatomy::of(child.id()).family().expect_err("it has ended")));
    }

    #[test]
    fn a_family_is_those_that_were_started_and_have_not_ended() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "cat; exit"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("sh");
        let here = Anatomy::of(std::process::id());
        let numbers = |family: Vec<Anatomy>| family.into_iter().map(Anatomy::pid).collect::<Vec<_>>();
        let started = Instant::now();
        let family = loop {
            let family = numbers(Anatomy::of(child.id()).family().expect("family"));
            if family.len() == 2 || started.elapsed() > DEADLINE {
                break family;
            }
            pause(LOOK_AGAIN, "the kernel does not say when a process has children");
        };
        assert!(family.len() == 2 && family[0] == child.id(), "{family:?}");
        let all = numbers(here.family().expect("family"));
        assert!(family.iter().all(|pid| all.contains(pid)), "{family:?} in {all:?}");
        drop(child.stdin.take());
        child.wait().expect("wait");
        assert!(!numbers(here.family().expect("family")).contains(&family[0]));
    }

    #[test]
    fn this_process_has_threads_descriptors_and_memory() {
        let this = Anatomy::of(std::process::id());
        assert!(!this.threads().expect("threads").is_empty());
        let descriptors = this.descriptors().expect("descriptors");
        assert!(descriptors.contains_key(&0));
        // Other tests open and close theirs meanwhile.
        assert!(this.count_descriptors().expect("descriptors") > 0);
        assert!(this.anonymous_bytes().expect("memory") > 0);
        assert_eq!(this.status("Pid").expect("status"), std::process::id().to_string());
        assert!(this.drain_thread().is_err());
    }
}
