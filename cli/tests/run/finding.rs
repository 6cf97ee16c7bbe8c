//! Where the library is looked for, and in which order.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::stage::{library, linger_at, printed, Stage};

/// A copy of the command with libraries around it; each is a copy, too.
struct Installation {
    stage: Stage,
    linger: PathBuf,
}

impl Installation {
    fn with(libraries: &[&str]) -> Installation {
        let stage = Stage::new();
        let linger =
            stage.executable("opt/bin/linger", fs::read(env!("CARGO_BIN_EXE_linger")).expect("linger"));
        for name in libraries {
            stage.executable(name, fs::read(library()).expect("library"));
        }
        Installation { stage, linger }
    }

    /// What it would preload, as seen from the stage.
    fn finds(&self, prepare: impl FnOnce(&mut Command)) -> String {
        let found = self.preloads(prepare);
        let root = format!("{}/", self.stage.root().display());
        found.strip_prefix(&root).map(str::to_owned).unwrap_or(found)
    }

    fn preloads(&self, prepare: impl FnOnce(&mut Command)) -> String {
        let mut command = linger_at(&self.linger);
        command.args(["run", "--dry-run"]);
        prepare(&mut command);
        let text = printed(command.arg("true"));
        let preload = text.lines().find_map(|line| line.strip_prefix("LD_PRELOAD="));
        preload.expect("LD_PRELOAD").to_owned()
    }
}

#[test]
fn the_option_comes_before_the_variable_and_both_before_everything_else() {
    let all =
        Installation::with(&["option.so", "variable.so", "opt/bin/liblinger.so", "opt/lib/liblinger.so.0"]);
    let (option, variable) = (all.stage.path("option.so"), all.stage.path("variable.so"));
    let both = all.finds(|command| {
        command.env("LINGER_LIBRARY", &variable).arg("--library").arg(&option);
    });
    assert_eq!(both, "option.so");
    let one = all.finds(|command| {
        command.env("LINGER_LIBRARY", &variable);
    });
    assert_eq!(one, "variable.so");
    assert_eq!(all.finds(|_| {}), "opt/bin/liblinger.so");
}

#[test]
fn a_relative_path_becomes_an_absolute_one() {
    let installation = Installation::with(&["here.so"]);
    let found = installation.preloads(|command| {
        command.current_dir(installation.stage.root()).args(["--library", "here.so"]);
    });
    assert_eq!(found, installation.stage.path("here.so").display().to_string());
}

#[test]
fn an_installed_command_finds_the_library_installed_with_it() {
    let triplet = printed(Command::new("gcc").arg("-print-multiarch"));
    let multiarch = format!("opt/lib/{}/liblinger.so.0", triplet.trim());
    for place in ["opt/lib/liblinger.so.0", "opt/lib/liblinger.so", &multiarch, "opt/lib64/liblinger.so.0"] {
        assert_eq!(Installation::with(&[place]).finds(|_| {}), place);
    }
    let both = Installation::with(&["opt/lib/liblinger.so", "opt/lib/liblinger.so.0"]);
    assert_eq!(both.finds(|_| {}), "opt/lib/liblinger.so.0", "the one of this interface");
}

#[test]
fn a_file_that_is_not_the_library_is_passed_over() {
    let installation = Installation::with(&["opt/lib64/liblinger.so.0"]);
    installation.stage.executable("opt/lib/liblinger.so.0", "no library");
    assert_eq!(installation.finds(|_| {}), "opt/lib64/liblinger.so.0");
}

#[test]
fn a_symbolic_link_is_left_one() {
    let installation = Installation::with(&["opt/lib/liblinger.so.0.1.0"]);
    let link = installation.stage.path("opt/lib/liblinger.so.0");
    std::os::unix::fs::symlink("liblinger.so.0.1.0", link).expect("link");
    assert_eq!(installation.finds(|_| {}), "opt/lib/liblinger.so.0");
}

#[test]
fn at_last_the_loader_is_asked() {
    let installation = Installation::with(&["elsewhere/liblinger.so.0"]);
    let found = installation.finds(|command| {
        command.env("LD_LIBRARY_PATH", installation.stage.path("elsewhere"));
    });
    assert_eq!(found, "elsewhere/liblinger.so.0");
}

#[test]
fn in_the_build_tree_the_release_build_is_found() {
    let installation = Installation::with(&["target/release/liblinger.so"]);
    fs::create_dir(installation.stage.path("target/release/deps")).expect("directory");
    let linger =
        installation.stage.executable("target/debug/linger", fs::read(&installation.linger).expect("linger"));
    let built = Installation { linger, ..installation };
    assert_eq!(built.finds(|_| {}), "target/release/liblinger.so");
}
