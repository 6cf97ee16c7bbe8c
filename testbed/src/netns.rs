//! A private network namespace for the calling thread, so that the kernel's counters count nothing
//! but what a test or a demonstration did.
//!
//! A namespace belongs to a thread (`unshare(2)`); what that thread spawns, threads and processes
//! alike, inherits it. Read `/proc/thread-self/net`, never `/proc/net`, which is the main thread's.
//!
//! Without root the program runs itself again, once, in a user namespace (`unshare(1)`) where it may
//! make network namespaces. It keeps its own user id there, so that servers do not believe they are
//! root and try to become `www-data`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use rustix::net::{socket, AddressFamily, SocketType};
use rustix::thread::{move_into_link_name_space, LinkNameSpaceType, UnshareFlags};

/// Set in a process that was run again in a user namespace, so that it is done only once.
const AGAIN: &str = "LINGER_TESTBED_IN_USER_NAMESPACE";

/// Whose traffic the kernel's counters show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// Only ours.
    Private,
    /// Everybody's on this machine.
    Shared {
        /// Why no private one could be had.
        reason: String,
    },
}

impl Namespace {
    /// One sentence for people, if there is something to say.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        match self {
            Namespace::Private => None,
            Namespace::Shared { reason } => Some(format!(
                "running in the shared namespace: kernel counters include other traffic ({reason})"
            )),
        }
    }
}

/// Moves the calling thread into a new network namespace, with loopback up.
///
/// # Errors
///
/// If the namespace was made but loopback could not be brought up. Not being allowed to make one is
/// no error: the answer is then [`Namespace::Shared`] and nothing has changed.
pub fn enter() -> Result<Namespace> {
    // SAFETY: CLONE_NEWNET changes nothing that Rust or libc keeps per process or per thread; the
    // descriptor table, which the "unsafe" in the name is about, stays shared.
    match unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) } {
        Ok(()) => {
            raise_loopback().context("bring loopback up in the new network namespace")?;
            Ok(Namespace::Private)
        }
        Err(error) => Ok(Namespace::Shared { reason: format!("unshare: {}", io::Error::from(error)) }),
    }
}

/// Like [`enter`], but a process that may not make a network namespace first replaces itself with a
/// copy of itself in a user namespace. Call it at the start of `main`.
///
/// # Errors
///
/// As [`enter`].
pub fn enter_or_start_again() -> Result<Namespace> {
    let namespace = enter()?;
    if namespace == Namespace::Private || started_again() || !user_namespaces_allowed() {
        return Ok(namespace);
    }
    let mut again = in_user_namespace(&std::env::current_exe()?);
    again.args(std::env::args_os().skip(1));
    // Only returns if it failed, and then the shared namespace is what there is.
    let reason = format!("unshare(1): {}", again.exec());
    Ok(Namespace::Shared { reason })
}

/// A namespace that the calling thread is not in, or not always.
#[derive(Debug)]
pub struct Place(OwnedFd);

impl Place {
    /// The calling thread's own.
    ///
    /// # Errors
    ///
    /// If procfs does not show it.
    pub fn here() -> Result<Self> {
        let link = "/proc/thread-self/ns/net";
        Ok(Self(std::fs::File::open(link).with_context(|| format!("open {link}"))?.into()))
    }

    /// A new one, with loopback up; the calling thread stays where it is.
    ///
    /// # Errors
    ///
    /// If that is not allowed.
    pub fn make() -> Result<Self> {
        let make = || match enter()? {
            Namespace::Private => Place::here(),
            Namespace::Shared { reason } => bail!("no network namespace ({reason}): run as root"),
        };
        let made = std::thread::spawn(make).join();
        made.map_err(|_| anyhow::anyhow!("the thread that makes a namespace panicked"))?
    }

    /// Runs `body` there. What it starts, threads and processes alike, stays there.
    ///
    /// # Errors
    ///
    /// If the thread may not move.
    pub fn within<T>(&self, body: impl FnOnce() -> T) -> Result<T> {
        let _back = Return(Place::here()?);
        self.move_into()?;
        Ok(body())
    }

    fn move_into(&self) -> Result<()> {
        let moved = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network));
        moved.context("enter another network namespace")
    }
}

/// Moves the thread back, also when it panics.
struct Return(Place);

impl Drop for Return {
    fn drop(&mut self) {
        if let Err(error) = self.0.move_into() {
            // It would count and connect in the wrong place from here on.
            eprintln!("{error:#}");
            std::process::abort();
        }
    }
}

/// Runs the body of a test in a private namespace, on a thread of its own so that nothing of it
/// leaks into the next test.
///
/// Without root, runs that one test again in a user namespace and passes its verdict on.
///
/// # Panics
///
/// If the test panics, or if no private namespace can be had: a test that counts other people's
/// resets would prove nothing.
pub fn isolated<F: FnOnce() + Send + 'static>(test: F) {
    let name = test_name(std::any::type_name::<F>());
    let thread = std::thread::Builder::new().name(name.clone());
    let body = move || match enter().expect("a network namespace") {
        Namespace::Private => test(),
        Namespace::Shared { reason } => {
            if let Err(error) = run_test_again(&name) {
                panic!("no private network namespace ({reason}): {error:#}; run the tests as root");
            }
        }
    };
    let running = thread.spawn(body).expect("a thread for the test");
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}

/// `crate::module::test_name::{{closure}}` as libtest's `--exact` wants it: `module::test_name`.
fn test_name(type_name: &str) -> String {
    let path = type_name.trim_end_matches("::{{closure}}");
    let (_crate_name, test) = path.split_once("::").unwrap_or(("", path));
    test.to_owned()
}

fn run_test_again(name: &str) -> Result<()> {
    if started_again() {
        bail!("nor in a user namespace");
    }
    if !user_namespaces_allowed() {
        bail!("user namespaces are not allowed either");
    }
    let status = in_user_namespace(&std::env::current_exe()?)
        .args([name, "--exact", "--nocapture"])
        .status()
        .context("run unshare(1)")?;
    if !status.success() {
        bail!("{name} failed in a user namespace, see above ({status})");
    }
    Ok(())
}

fn started_again() -> bool {
    std::env::var_os(AGAIN).is_some()
}

fn user_namespaces_allowed() -> bool {
    in_user_namespace("true")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn in_user_namespace(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-current-user", "--keep-caps", "--"]);
    command.arg(program).env(AGAIN, "1");
    command
}

fn raise_loopback() -> io::Result<()> {
    let any_socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain old data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until the call returns.
    let failed = unsafe { libc::ioctl(any_socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_named_as_libtest_names_it() {
        let name = test_name("founding::a_module::a_test::{{closure}}");
        assert_eq!(name, "a_module::a_test");
    }

    #[test]
    fn loopback_is_up_in_a_private_namespace() {
        isolated(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            std::net::TcpStream::connect(address).expect("connect");
        });
    }

    #[test]
    fn another_place_has_sockets_of_its_own() {
        isolated(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
            let address = listener.local_addr().expect("address");
            let connect = || std::net::TcpStream::connect(address);
            let elsewhere = Place::make().expect("another namespace");
            assert!(elsewhere.within(connect).expect("there").is_err(), "nobody listens there");
            connect().expect("and here again somebody does");
        });
    }
}
