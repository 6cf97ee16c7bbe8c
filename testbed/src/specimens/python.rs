//! Python's servers: PyPI's from the environment that the installer makes, the others with Debian's Python.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{source, INSTALLER};

const APPLICATION: &str = "bodies:application";

/// A program of a PyPI package.
pub(super) fn from_pypi(name: &str) -> Result<PathBuf> {
    let this_program = std::env::current_exe()?;
    this_program
        .ancestors()
        .map(|target| target.join("test-servers/bin").join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not installed: run {INSTALLER}"))
}

/// Debian's Python, whatever else PATH has: the packages python3-twisted and libpython3.11-testsuite belong to it.
pub(super) fn debian() -> Result<PathBuf> {
    let python = PathBuf::from("/usr/bin/python3");
    python.is_file().then_some(python).context("/usr/bin/python3 is not installed: apt-get install python3")
}

/// Runs suites of CPython's own tests, or only those of their tests that are named, writes what became of each test to
/// `report`, in JUnit's format, and whether liblinger was there to `presence` (`programs/regrtest.py`).
///
/// Those for AF_VSOCK are left out: in a virtual machine without that loopback they wait for ever.
///
/// # Errors
///
/// If Python or its tests are not installed.
pub fn suite_command(suites: &[&str], only: &[&str], report: &Path, presence: &Path) -> Result<Command> {
    const TESTS: &str = "libpython3.11-testsuite";
    let python = debian()?;
    let has_tests = Command::new(&python).args(["-c", "import test.test_socket"]).output()?;
    if !has_tests.status.success() {
        anyhow::bail!("CPython's tests are not installed: apt-get install {TESTS}");
    }
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/regrtest.py")).arg(presence);
    // Without the first option all of test_socketserver is left out, though loopback is network enough for it.
    command.args(["-u", "network", "--timeout", "900", "--ignore", "ThreadedVSOCKSocketStreamTest"]);
    command.arg("--junit-xml").arg(report);
    for test in only {
        command.args(["-m", test]);
    }
    command.args(suites);
    Ok(command)
}

pub(super) fn cheroot(command: &mut Command, address: SocketAddr) {
    command.args(["--bind", &address.to_string(), APPLICATION]);
    find_application(command);
}

pub(super) fn gunicorn(command: &mut Command, dir: &Path, address: SocketAddr, worker: &[&str]) {
    command.args(["--bind", &address.to_string(), "--worker-tmp-dir"]).arg(dir).args(worker).arg(APPLICATION);
    find_application(command);
}

pub(super) fn waitress(command: &mut Command, address: SocketAddr) {
    command.arg(format!("--listen={address}")).arg(APPLICATION);
    find_application(command);
}

pub(super) fn uwsgi(command: &mut Command, address: SocketAddr) {
    command
        .args(["--plugin", "python3", "--master", "--processes", "2", "--die-on-term", "--http-socket"])
        .arg(address.to_string())
        .arg("--pythonpath")
        .arg(source(""))
        .args(["--module", APPLICATION])
        .env("PYTHONDONTWRITEBYTECODE", "1");
}

pub(super) fn twisted(command: &mut Command, dir: &Path, address: SocketAddr) {
    let endpoint = format!("tcp:{}:interface={}", address.port(), address.ip());
    command.args(["web", "--listen", &endpoint, "--path"]).arg(dir.join("htdocs"));
}

fn find_application(command: &mut Command) {
    command.env("PYTHONPATH", source("")).env("PYTHONDONTWRITEBYTECODE", "1");
}
