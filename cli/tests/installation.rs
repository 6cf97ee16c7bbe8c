//! What `make install` puts somewhere works there, and `make uninstall` takes all of it away. Needs `make all`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn make(target: &str, root: &Path) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut make = Command::new("make");
    make.arg("-C").arg(sources).arg(target).arg(format!("DESTDIR={}", root.display())).arg("PREFIX=/usr");
    // Those of a make that runs the tests are none of its business.
    let output =
        make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env_remove("MAKEOVERRIDES").output().expect("make");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// All files, relative to `root`.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("directory").flatten() {
            match entry.file_type().expect("type").is_dir() {
                true => directories.push(entry.path()),
                false => found.push(entry.path().strip_prefix(root).expect("below").to_owned()),
            }
        }
    }
    found.sort();
    found
}

fn installed(root: &Path) -> Command {
    let mut command = Command::new(root.join("usr/bin/linger"));
    command.env_remove("LINGER_LIBRARY").env_remove("LD_PRELOAD").env_remove("LD_LIBRARY_PATH");
    command
}

#[test]
fn an_installation_works_and_can_be_removed() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    make("install", root);
    let have = files(root);
    for file in [
        "usr/bin/linger",
        "usr/lib/liblinger.so.0",
        "usr/share/man/man1/linger.1",
        "usr/share/man/man7/liblinger.7",
        "usr/share/bash-completion/completions/linger",
        "usr/share/zsh/site-functions/_linger",
        "usr/share/fish/vendor_completions.d/linger.fish",
    ] {
        assert!(have.iter().any(|have| have == Path::new(file)), "no {file} in {have:?}");
    }

    let output = installed(root).args(["run", "--log", "info", "true"]).output().expect("linger run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("is on (Preloaded)"), "{said}");

    let demo = ["demo", "--scenario", "late", "--repeat", "1", "--json"];
    let output = installed(root).args(demo).current_dir("/").output().expect("linger demo");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["ok"], true, "{report}");

    make("uninstall", root);
    assert_eq!(files(root), Vec::<PathBuf>::new());
}
