//! `programs/active.c`, which says whether `close()` lingers in its process, built with the library linked and without, and
//! `programs/lets_go.c`, which says whether a connection does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{bail, ensure, Context, Result};
use tempfile::TempDir;

use crate::server::{find_program, Preload};
use crate::{secure_mode, settings};

/// What the program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// `close()` lingers.
    On,
    /// liblinger is there, and `close()` is libc's.
    Off,
    /// liblinger is not there.
    Absent,
}

/// The programs, and the library under test by several names, all in a directory of their own.
#[derive(Debug)]
pub struct Programs {
    directory: TempDir,
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    ///
    /// If there is no library or no compiler.
    pub fn build() -> Result<Self> {
        let directory = TempDir::new()?;
        let path = directory.path();
        let Preload::Shim(library) = Preload::shim()? else { bail!("that is no library") };
        // What is linked with it asks for it by its SONAME.
        for name in ["liblinger.so.0", "liblinger.so"] {
            std::os::unix::fs::symlink(&library, path.join(name))?;
        }
        std::os::unix::fs::symlink(&library, path.join("another-name.so"))?;
        fs::create_dir(path.join("copy"))?;
        fs::copy(&library, path.join("copy/liblinger.so.0"))?;
        let source = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name);
        let linked = ["-Wl,--no-as-needed", "-L.", "-llinger", "-Wl,-rpath-link,."];
        // It finds the library by itself, whatever the environment says.
        let run_path = format!("-Wl,-rpath,{}", path.display());
        let found = [&linked[..], &[&run_path]].concat();
        let other = ["-shared", "-fPIC", "-Dmain=unused"];
        let builds: [(&str, &str, &[&str]); 5] = [
            ("bare", "active.c", &[]),
            ("linked", "active.c", &linked),
            ("found", "active.c", &found),
            ("other.so", "active.c", &other),
            ("lets_go", "lets_go.c", &[]),
        ];
        for (name, program, arguments) in builds {
            let mut compiler = Command::new(find_program("gcc", "gcc libc6-dev")?);
            compiler.arg(source(program)).args(["-o", name]).args(arguments).current_dir(path);
            let output = compiler.output().context("run gcc")?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{name} does not build: {errors}");
        }
        Ok(Self { directory })
    }

    /// Where they are, and where they run.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The full path of one of the files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command line in their directory, with nothing of liblinger's in its environment but these variables.
    ///
    /// # Errors
    ///
    /// If it fails, or says neither.
    pub fn run(&self, line: &[&str], environment: &[(&str, &str)]) -> Result<Says> {
        let output = self.command(line, environment)?.output().with_context(|| format!("run {line:?}"))?;
        says(line, &output)
    }

    /// The same, and what it writes to its standard error in place of what it says.
    ///
    /// # Errors
    ///
    /// If it cannot be run.
    pub fn said(&self, line: &[&str], environment: &[(&str, &str)]) -> Result<String> {
        let output = self.command(line, environment)?.output().with_context(|| format!("run {line:?}"))?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The same as [`Programs::run`], but the program of this name, which the command line becomes, has AT_SECURE; and what
    /// is written to its standard error.
    ///
    /// # Errors
    ///
    /// As [`Programs::run`], or if it cannot be traced.
    pub fn run_securely(
        &self,
        line: &[&str],
        name: &str,
        environment: &[(&str, &str)],
    ) -> Result<(Says, String)> {
        let output = secure_mode::output(&mut self.command(line, environment)?, &self.path(name))?;
        Ok((says(line, &output)?, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// What the program says on its standard output, run as by [`Programs::run`], or as by [`Programs::run_securely`] with the
    /// name of the program that has AT_SECURE.
    ///
    /// # Errors
    ///
    /// As these.
    pub fn answer(
        &self,
        line: &[&str],
        secure: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Result<String> {
        let mut command = self.command(line, environment)?;
        let output = match secure {
            Some(name) => secure_mode::output(&mut command, &self.path(name))?,
            None => command.output().with_context(|| format!("run {line:?}"))?,
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line:?} ended with {}: {errors}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn command(&self, line: &[&str], environment: &[(&str, &str)]) -> Result<Command> {
        let (program, arguments) = line.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory()).stdin(Stdio::null());
        settings::apply(&mut command, &Preload::None, environment);
        Ok(command)
    }

    /// The loader that the programs name as theirs.
    ///
    /// # Errors
    ///
    /// If it cannot be found out.
    pub fn loader(&self) -> Result<String> {
        let readelf = Command::new(find_program("readelf", "binutils")?)
            .args(["--program-headers", "--wide", "bare"])
            .current_dir(self.directory())
            .output()
            .context("run readelf")?;
        let text = String::from_utf8_lossy(&readelf.stdout).into_owned();
        let (_, rest) = text.split_once("interpreter: ").context("readelf names no loader")?;
        Ok(rest.split(']').next().unwrap_or_default().to_owned())
    }
}

fn says(line: &[&str], output: &Output) -> Result<Says> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line:?} ended with {}: {errors}", output.status);
    match String::from_utf8_lossy(&output.stdout).trim_end() {
        "1" => Ok(Says::On),
        "0" => Ok(Says::Off),
        "absent" => Ok(Says::Absent),
        other => bail!("{line:?} says {other:?}; {errors}"),
    }
}
