//! From the command to the program that really runs: through `#!` lines, as the kernel follows them, and through env(1).

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::env_words::Env;
use super::environment::Environment;
use super::lookup;
use super::refusal::Refusal;
use super::script::{Script, HEAD};
use crate::elf::{Elf, MAGIC};

/// How many interpreters the kernel follows in one execve(2) (`exec_binprm` in `fs/exec.c`).
const INTERPRETERS: usize = 5;

/// How many times an env(1) may run another one before this is taken for a circle.
const ENVS: usize = 40;

/// What runs a file that is neither a program nor has a `#!` line (execvp(3)).
const SHELL: &str = "/bin/sh";

/// The way to the program.
#[derive(Debug)]
pub struct Route {
    /// Every file on it: the command first, the program last.
    pub files: Vec<PathBuf>,
    /// The program, open; `None` where this user may run but not read it.
    pub program: Option<(File, Elf)>,
    /// The words that the program gets, its own name first.
    pub words: Vec<OsString>,
    /// Whether an env(1) on the way takes LD_PRELOAD away.
    pub drops_preloads: bool,
}

impl Route {
    /// Follows `command`, which was found to be `file`.
    pub fn follow(file: PathBuf, command: &[OsString], environment: &Environment) -> Result<Route, Refusal> {
        let mut route =
            Route { files: vec![file], program: None, words: command.to_vec(), drops_preloads: false };
        for _ in 0..ENVS {
            route.follow_interpreters()?;
            if !route.follow_env(environment)? {
                return Ok(route);
            }
        }
        Err(Refusal::TooManyInterpreters(route.last().to_owned()))
    }

    /// The program.
    pub fn last(&self) -> &Path {
        self.files.last().map(PathBuf::as_path).unwrap_or(Path::new(""))
    }

    fn follow_interpreters(&mut self) -> Result<(), Refusal> {
        let first = self.last().to_owned();
        for _ in 0..=INTERPRETERS {
            let (next, added) = match identify(self.last())? {
                Kind::Program(file, elf) => {
                    self.program = Some((file, elf));
                    return Ok(());
                }
                Kind::Unreadable => {
                    self.program = None;
                    return Ok(());
                }
                Kind::Script(Script { interpreter, argument }) => {
                    let mut added = vec![interpreter.clone().into_os_string()];
                    added.extend(argument);
                    (interpreter, added)
                }
                Kind::Text => (PathBuf::from(SHELL), vec![OsString::from(SHELL)]),
            };
            let script = self.last().to_owned();
            lookup::check_path(&next).map_err(|why| match why {
                Refusal::NotFound(wants) => Refusal::NothingToRunIt { file: script.clone(), wants },
                why => Refusal::Interpreter { script: script.clone(), why: Box::new(why) },
            })?;
            let arguments = self.words.split_off(1.min(self.words.len()));
            self.words = added;
            self.words.push(script.into_os_string());
            self.words.extend(arguments);
            self.files.push(next);
        }
        Err(Refusal::TooManyInterpreters(first))
    }

    /// Whether the program is env(1) and runs another one, which then is where the route ends.
    fn follow_env(&mut self, environment: &Environment) -> Result<bool, Refusal> {
        if self.last().file_name() != Some("env".as_ref()) {
            return Ok(false);
        }
        let variable = |name: &str| environment.get(name).map(OsString::from);
        let env = Env::parse(self.words.get(1..).unwrap_or_default(), &variable);
        self.drops_preloads |= env.drops_preloads;
        let Some(name) = env.command.first() else { return Ok(false) };
        let path = env.path.as_deref().or_else(|| environment.get("PATH"));
        let directory = env.directory.unwrap_or_default();
        let script = self.files.first().cloned().unwrap_or_default();
        let file = lookup::find(name, path, &directory)
            .map_err(|why| Refusal::Interpreter { script, why: Box::new(why) })?;
        self.files.push(file);
        self.words = env.command;
        Ok(true)
    }
}

enum Kind {
    Program(File, Elf),
    Script(Script),
    /// execve(2) says ENOEXEC, and execvp(3) then has the shell read it.
    Text,
    Unreadable,
}

fn identify(path: &Path) -> Result<Kind, Refusal> {
    let Ok(mut file) = File::open(path) else { return Ok(Kind::Unreadable) };
    let mut head = Vec::with_capacity(HEAD);
    if Read::by_ref(&mut file).take(HEAD as u64).read_to_end(&mut head).is_err() {
        return Ok(Kind::Unreadable);
    }
    if head.starts_with(&MAGIC) {
        let elf = Elf::read(&file).map_err(|_| Refusal::Damaged(path.to_owned()))?;
        return Ok(Kind::Program(file, elf));
    }
    Ok(Script::parse(&head).map_or(Kind::Text, Kind::Script))
}
