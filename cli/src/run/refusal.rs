//! Why a command is not run, each reason with what to do instead.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::privilege::Raised;
use crate::failure::Failure;

/// As env(1), nice(1), timeout(1) and others of that kind have it.
pub const OWN_FAILURE: u8 = 125;
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Why a command cannot be run, or not with the library.
#[derive(Debug)]
pub enum Refusal {
    NotInPath(OsString),
    NotFound(PathBuf),
    Directory(PathBuf),
    NotExecutable(PathBuf),
    Unreachable(PathBuf, io::Error),
    /// A script's interpreter, or a program's loader, is not there.
    NothingToRunIt {
        file: PathBuf,
        wants: PathBuf,
    },
    /// A script's interpreter cannot be run, for the reason given.
    Interpreter {
        script: PathBuf,
        why: Box<Refusal>,
    },
    /// execve(2) would say ELOOP.
    TooManyInterpreters(PathBuf),
    Damaged(PathBuf),
    NotAProgram(PathBuf),
    ThirtyTwoBit(PathBuf),
    OtherMachine {
        file: PathBuf,
        machine: String,
        library: PathBuf,
        library_machine: String,
    },
    Static(PathBuf),
    StaticGo(PathBuf),
    Musl(PathBuf),
    OtherLoader {
        file: PathBuf,
        loader: PathBuf,
    },
    Privileged {
        file: PathBuf,
        raised: Raised,
        library: PathBuf,
    },
    /// execve(2) failed after all.
    Failed(PathBuf, io::Error),
}

impl Refusal {
    fn exit_code(&self) -> u8 {
        match self {
            Refusal::NotInPath(_) | Refusal::NotFound(_) | Refusal::NothingToRunIt { .. } => NOT_FOUND,
            Refusal::Interpreter { why, .. } => why.exit_code(),
            Refusal::Failed(_, error) if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            _ => CANNOT_RUN,
        }
    }

    /// The programs through which people become another user are better run the other way round.
    fn remedy_for_privileges(file: &Path, raised: Raised, library: &Path) -> String {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let library = library.display();
        match raised {
            _ if ["sudo", "doas", "pkexec"].contains(&name.as_ref()) => {
                format!("write {name} linger run COMMAND")
            }
            _ if ["su", "runuser"].contains(&name.as_ref()) => {
                format!("put linger run into the command that {name} runs")
            }
            Raised::SetUserId { owner: 0 } => {
                format!("run it as root, or name {library} in /etc/ld.so.preload")
            }
            Raised::SetUserId { .. } => {
                format!("run it as that user, or name {library} in /etc/ld.so.preload")
            }
            Raised::SetGroupId { .. } => {
                format!("run it with that group (setpriv --rgid), or name {library} in /etc/ld.so.preload")
            }
            Raised::Capabilities => format!(
                "remove them (setcap -r) and give it ambient ones (setpriv --ambient-caps, systemd's \
                 AmbientCapabilities=), or name {library} in /etc/ld.so.preload"
            ),
            Raised::Inherited => "run linger with equal real and effective ids".to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotInPath(name) => {
                write!(f, "{:?}: not found in PATH; install it, or write its path", name.to_string_lossy())
            }
            Refusal::NotFound(file) => write!(f, "{}: no such file; check the path", file.display()),
            Refusal::Directory(file) => {
                write!(f, "{} is a directory; name the program in it", file.display())
            }
            Refusal::NotExecutable(file) => {
                write!(f, "{0} is not executable by this user; chmod +x {0}, if it is meant to be", file.display())
            }
            Refusal::Unreachable(file, error) => {
                write!(f, "{}: {error}; check who may search its directories", file.display())
            }
            Refusal::NothingToRunIt { file, wants } => {
                let (file, wants) = (file.display(), wants.display());
                write!(f, "{file} wants to be run by {wants}, which is not there; install it, or correct {file}")
            }
            Refusal::Interpreter { script, why } => {
                write!(f, "{} needs an interpreter that cannot be run: {why}", script.display())
            }
            Refusal::TooManyInterpreters(file) => write!(
                f,
                "{}: scripts interpret scripts more often than the kernel allows; name the last interpreter itself",
                file.display()
            ),
            Refusal::Damaged(file) => {
                write!(f, "{} is damaged: its ELF headers make no sense; build or install it anew", file.display())
            }
            Refusal::NotAProgram(file) => {
                write!(f, "{} is an object or core file, not a program; link it first", file.display())
            }
            Refusal::ThirtyTwoBit(file) => write!(
                f,
                "{} is a 32-bit program, and liblinger has 64 bits only; use a 64-bit build of it",
                file.display()
            ),
            Refusal::OtherMachine { file, machine, library, library_machine } => write!(
                f,
                "{} is a program for {machine}, {} a library for {library_machine}; name a liblinger.so for \
                 {machine} with --library",
                file.display(),
                library.display()
            ),
            Refusal::Static(file) => write!(
                f,
                "{} is statically linked, so that nothing can be preloaded; use a dynamically linked build of it, or \
                 link liblinger.a and call linger_close(3)",
                file.display()
            ),
            Refusal::StaticGo(file) => write!(
                f,
                "{} is a Go program, statically linked, and makes its system calls itself; put a proxy that lingers \
                 in front of it",
                file.display()
            ),
            Refusal::Musl(file) => write!(
                f,
                "{} is linked with musl, and liblinger needs glibc; use a glibc build of it, or link liblinger.a and \
                 call linger_close(3)",
                file.display()
            ),
            Refusal::OtherLoader { file, loader } => write!(
                f,
                "{} is loaded by {}, which is not glibc's loader; use a glibc build of it",
                file.display(),
                loader.display()
            ),
            Refusal::Privileged { file, raised, library } => write!(
                f,
                "{} {raised}, so that the loader would ignore LD_PRELOAD; {}",
                file.display(),
                Refusal::remedy_for_privileges(file, *raised, library)
            ),
            Refusal::Failed(file, error) => write!(f, "cannot run {}: {error}", file.display()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::new(refusal.exit_code(), refusal.to_string())
    }
}
