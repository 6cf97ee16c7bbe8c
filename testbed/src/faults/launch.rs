//! How `every-way` is started: with a library, injected failures, a seccomp(2) filter, limits.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use rustix::process::{set_parent_process_death_signal, Signal};
use tempfile::TempDir;

use crate::within_reach;

/// Calls that are answered with an error by the kernel itself.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Numbers of system calls.
    pub calls: Vec<libc::c_long>,
    /// The answer.
    pub errno: i32,
}

/// What surrounds the program.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// To be preloaded.
    pub library: Option<PathBuf>,
    /// Its settings, and those of the program.
    pub environment: Vec<(String, String)>,
    /// From before its first instruction.
    pub filter: Filter,
    /// `RLIMIT_*`, soft and hard.
    pub limits: Vec<(libc::__rlimit_resource_t, u64)>,
    /// Not root: root has limits of its own.
    pub user: Option<u32>,
}

/// The library that is built with failures, beside the ordinary one.
///
/// # Errors
///
/// If it is not there.
pub fn library() -> Result<PathBuf> {
    built("debug", "faults-library")
}

/// The same, built as what is installed is built.
///
/// # Errors
///
/// If it is not there.
pub fn released_library() -> Result<PathBuf> {
    built("release", "faults-library-release")
}

fn built(profile: &str, target: &str) -> Result<PathBuf> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/faults").join(profile).join("liblinger.so");
    ensure!(path.exists(), "{} is missing: run make {target}", path.display());
    Ok(path.canonicalize()?)
}

/// `every-way`, running; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Of what it was started from, if it is somebody else's process.
    _copies: TempDir,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Running {
    /// Starts `program`.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub fn start(program: &str, surroundings: &Surroundings) -> Result<Self> {
        let copies = within_reach::directory()?;
        let mut command = Command::new(match surroundings.user {
            Some(_) => within_reach::within_reach(Path::new(program), copies.path())?,
            None => PathBuf::from(program),
        });
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LINGER_") {
                command.env_remove(name);
            }
        }
        if let Some(library) = &surroundings.library {
            command.env("LD_PRELOAD", within_reach::within_reach(library, copies.path())?);
        }
        command.envs(surroundings.environment.iter().cloned());
        let Surroundings { filter, limits, user, .. } = surroundings.clone();
        let code = assemble(&filter);
        // SAFETY: system calls only between fork and exec; what they use was allocated before.
        unsafe {
            command.pre_exec(move || {
                if let Some(user) = user {
                    check(libc::setuid(user))?;
                }
                // After setuid(2), which clears it.
                set_parent_process_death_signal(Some(Signal::KILL))?;
                for (resource, value) in &limits {
                    let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
                    check(libc::setrlimit(*resource, &limit))?;
                }
                confine(&code)
            });
        }
        let mut child = command.spawn().context("spawn")?;
        let lines = listen(child.stdout.take().context("no stdout")?);
        let errors = listen(child.stderr.take().context("no stderr")?);
        Ok(Self { child, _copies: copies, lines, errors })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line it says; `None` after this time, or once it has ended.
    #[must_use]
    pub fn line(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// Waits for its end. How it ended, and what it said meanwhile.
    ///
    /// # Errors
    ///
    /// If it does not end in this time, or not well.
    pub fn end(&mut self, within: Duration) -> Result<Vec<String>, String> {
        let mut rest = Vec::new();
        // The pipe closes with the last of its processes.
        loop {
            match self.lines.recv_timeout(within) {
                Ok(line) => rest.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return Err("it does not end".into()),
            }
        }
        let status = self.child.wait().map_err(|e| e.to_string())?;
        match (status.signal(), status.code()) {
            (Some(signal), _) => Err(format!("signal {signal}")),
            (None, Some(0)) => Ok(rest),
            (None, code) => Err(format!("exit status {code:?}")),
        }
    }

    /// What it wrote to its standard error so far.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn check(result: libc::c_int) -> std::io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Loads the number of the call; answers those of the filter with its error, and allows the rest.
fn assemble(filter: &Filter) -> Vec<libc::sock_filter> {
    if filter.calls.is_empty() {
        return Vec::new();
    }
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let mut code = vec![statement(0x20, 0)];
    for call in &filter.calls {
        code.push(libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: *call as u32 });
        code.push(statement(0x06, libc::SECCOMP_RET_ERRNO | filter.errno as u32));
    }
    code.push(statement(0x06, libc::SECCOMP_RET_ALLOW));
    code
}

/// Async-signal-safe.
fn confine(code: &[libc::sock_filter]) -> std::io::Result<()> {
    if code.is_empty() {
        return Ok(());
    }
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_ptr().cast_mut() };
    // SAFETY: the program lives until the calls return.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0))
    }
}
