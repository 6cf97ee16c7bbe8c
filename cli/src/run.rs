//! `linger run`: becomes the program, with liblinger preloaded.
//!
//! There is no fork: the program has the process number, the parent, the signals and the descriptors that this command was
//! given, so that shells, supervisors and systemd see the server and nothing else.
//!
//! | module | answers the question |
//! |---|---|
//! | [`settings`] | which `LINGER_` variables are to be set? |
//! | [`environment`] | what does LD_PRELOAD become? |
//! | [`lookup`] | which file is meant? |
//! | [`route`], [`script`], [`env_words`] | which program runs in the end? |
//! | [`verdict`], [`privilege`] | can the library be preloaded into it? |
//! | [`refusal`] | why not, and what to do instead? |
//! | [`caveats`] | does something keep the library from having an effect? |

mod caveats;
mod env_words;
mod environment;
mod lookup;
mod privilege;
mod refusal;
mod replacement;
mod route;
mod script;
mod settings;
mod verdict;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::{warn, Failure};
use crate::library;
use crate::output::say;
use environment::{with_library, Environment, PRELOAD};
use refusal::Refusal;
use route::Route;
use settings::Settings;

/// The exit code of everything that goes wrong before a command is looked at.
pub use refusal::OWN_FAILURE;

const EXPLANATION: &str = "\
The program replaces this command: same process number, same signals, same
arguments. LD_PRELOAD, and the LINGER_ variables that options ask for, are added
to its environment. What nothing can be preloaded into is refused, in one line
that says what to do instead: static, 32-bit, musl and foreign programs, and
those with raised privileges. Scripts are judged by what runs them.

Examples:
  linger run nginx -g 'daemon off;'
  linger run --timeout 60s --log info -- lighttpd -D -f lighttpd.conf
  linger run --dry-run ./server.py       what would be run, and with what
  sudo linger run apache2 -DFOREGROUND   not: linger run sudo apache2

Under systemd, in a drop-in (systemctl edit), after an empty ExecStart=:
  ExecStart=/usr/local/bin/linger run /usr/sbin/nginx -g 'daemon off;'

Times are written with a unit (500ms, 30s, 2m, 1m30s), sizes as 65536, 64KiB or
10MB.

Exit status: the program's, or
  125  linger itself failed: wrong arguments, no library
  126  the program is there, but cannot be run or not be preloaded into
  127  the program, or what is needed to run it, was not found";

/// Run a program with liblinger preloaded.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXPLANATION, after_help = "More, with examples: linger run --help")]
pub struct Arguments {
    /// The liblinger.so to preload [default: $LINGER_LIBRARY, or the one that came with this command]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    library: Option<PathBuf>,

    /// Do not run the program; say what would be run, and with which variables
    #[arg(long)]
    dry_run: bool,

    /// Say it in JSON
    #[arg(long, requires = "dry_run")]
    json: bool,

    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_name = "COMMAND",
        value_hint = clap::ValueHint::CommandWithArguments
    )]
    command: Vec<OsString>,

    // Last: its heading is that of all that follows.
    #[command(flatten)]
    settings: Settings,
}

/// Does it; returns only if the program was not run.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut environment = Environment::inherited();
    let plan = Plan::make(arguments, &mut environment)?;
    if arguments.dry_run {
        return plan.print(arguments.json);
    }
    for caveat in &plan.warnings {
        warn(caveat);
    }
    let error = replacement::become_program(&plan.file, &arguments.command, &environment);
    Err(Refusal::Failed(plan.file, error).into())
}

/// What is going to be done.
struct Plan {
    file: PathBuf,
    /// From the command's file to the program's.
    route: Vec<PathBuf>,
    library: PathBuf,
    /// What is set in the environment.
    set: Vec<(&'static str, OsString)>,
    warnings: Vec<String>,
}

impl Plan {
    fn make(arguments: &Arguments, environment: &mut Environment) -> Result<Plan, Failure> {
        let library = library::find(arguments.library.as_deref())
            .map_err(|missing| Failure::new(OWN_FAILURE, missing.to_string()))?;
        let name = arguments.command.first().map(OsString::as_os_str).unwrap_or_default();
        let file = lookup::find(name, environment.get("PATH"), Path::new(""))?;
        let route = Route::follow(file.clone(), &arguments.command, environment)?;
        verdict::judge(&route, &library)?;
        let mut warnings = caveats::find(&route, environment);
        let preloads = with_library(environment.get(PRELOAD).unwrap_or_default(), &library.path);
        for other in preloads.replaced {
            let (other, ours) = (other.display(), library.path.display());
            warnings.push(format!("LD_PRELOAD named another liblinger, {other}: it is replaced by {ours}"));
        }
        let mut set = vec![(PRELOAD, OsStr::from_bytes(&preloads.list).to_owned())];
        set.extend(arguments.settings.variables().into_iter().map(|(name, value)| (name, value.into())));
        for (name, value) in &set {
            environment.set(name, value);
        }
        Ok(Plan { file, route: route.files, library: library.path, set, warnings })
    }

    fn print(&self, json: bool) -> Result<ExitCode, Failure> {
        if json {
            let text = |path: &PathBuf| path.to_string_lossy().into_owned();
            let report = Report {
                file: text(&self.file),
                route: self.route.iter().map(text).collect(),
                library: text(&self.library),
                environment: self.set.iter().map(|(n, v)| (*n, v.to_string_lossy().into_owned())).collect(),
                warnings: &self.warnings,
            };
            let report = serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::new(OWN_FAILURE, error.to_string()))?;
            say(&format!("{report}\n"), OWN_FAILURE)?;
            return Ok(ExitCode::SUCCESS);
        }
        let route: Vec<_> = self.route.iter().map(|file| file.display().to_string()).collect();
        let mut text = format!("would run {}\n", route.join(", run by "));
        for (name, value) in &self.set {
            text += &format!("{name}={}\n", value.to_string_lossy());
        }
        say(&text, OWN_FAILURE)?;
        for caveat in &self.warnings {
            warn(caveat);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What `--dry-run --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    file: String,
    route: Vec<String>,
    library: String,
    environment: BTreeMap<&'static str, String>,
    warnings: &'a [String],
}
