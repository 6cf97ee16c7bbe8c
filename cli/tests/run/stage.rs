//! A directory with programs to run, and the command to run them with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use linger_testbed::server::Preload;
use linger_testbed::within_reach::copy_program;
use tempfile::TempDir;

/// Prints what a program gets from whoever starts it.
pub const WITNESS: &str = include_str!("witness.c");

pub struct Stage {
    directory: TempDir,
}

impl Stage {
    /// Readable by everybody: some tests run as nobody.
    pub fn new() -> Stage {
        let directory = tempfile::Builder::new().prefix("linger-run-").tempdir().expect("directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("permissions");
        Stage { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Compiles a C program; `name` may have directories that are not there yet.
    pub fn compile(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let program = self.path(name);
        let text = self.path("source.c");
        fs::create_dir_all(program.parent().expect("a directory")).expect("directory");
        fs::write(&text, source).expect("write");
        let done = Command::new("gcc").arg("-o").arg(&program).arg(&text).args(flags).output().expect("gcc");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        program
    }

    pub fn witness(&self) -> PathBuf {
        self.compile("witness", WITNESS, &[])
    }

    /// Writes an executable file.
    pub fn executable(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let (text, file) = (self.path("contents"), self.path(name));
        fs::write(&text, bytes).expect("write");
        copy_program(&text, &file).expect("copy");
        file
    }
}

/// The release build of the library.
pub fn library() -> PathBuf {
    match Preload::shim().expect("the library") {
        Preload::Shim(path) => path,
        Preload::None => unreachable!("that is not a library"),
    }
}

/// The command as built, or a copy of it, with nothing in its environment that changes what it does.
pub fn linger_at(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("LINGER_") || name.starts_with("LD_") {
            command.env_remove(name);
        }
    }
    command
}

/// `linger run`, with the release build of the library.
pub fn linger_run() -> Command {
    let mut command = linger_at(env!("CARGO_BIN_EXE_linger"));
    command.env("LINGER_LIBRARY", library()).arg("run");
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command prints, which must succeed.
pub fn printed(command: &mut Command) -> String {
    let output = command.output().expect("run");
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    stdout(&output)
}
