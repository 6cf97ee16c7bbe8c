//! Programs with raised privileges: `linger run` must refuse where the kernel would set AT_SECURE, and only there. The
//! kernel itself is asked: the same program is run by the same user without `linger run`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use linger_testbed::within_reach::copy_program;
use rustix::process::{getegid, geteuid, getgroups};

use crate::stage::{library, stderr, stdout, Stage};

const NOBODY: u32 = 65534;

/// Somebody who runs programs: a command that the program and its arguments are put behind. The last of its programs is
/// env(1), because setpriv(1) itself still has root's capabilities when it runs the next one.
type Runner = Vec<String>;

fn runner(words: &[&str]) -> Runner {
    words.iter().chain(&["env"]).map(|word| word.to_string()).collect()
}

/// As root: root, nobody, and in circumstances in which the kernel changes its mind. Otherwise this user alone.
fn runners(stage: &Stage) -> Vec<Runner> {
    let mut runners = vec![runner(&[]), runner(&["setpriv", "--no-new-privs"])];
    if !geteuid().is_root() {
        return runners;
    }
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let here = stage.root().display();
    let nosuid = format!("mount --bind {here} {here} && mount -o remount,bind,nosuid {here} && exec \"$@\"");
    let nosuid = ["unshare", "--mount", "sh", "-c", &nosuid, "sh"];
    runners.extend([
        runner(&nobody),
        runner(&[&nobody[..], &["--no-new-privs"]].concat()),
        runner(&[&nosuid[..], &nobody].concat()),
        runner(&["setpriv", "--reuid=65534"]),
        runner(&["setpriv", "--euid=65534"]),
        runner(&["setpriv", "--rgid=65534", "--clear-groups"]),
        runner(&["setpriv", "--regid=65534", "--clear-groups"]),
        runner(&["setpriv", "--bounding-set=-net_bind_service", "--reuid=65534"]),
        runner(&["setpriv", "--inh-caps=+net_bind_service", "--reuid=65534"]),
        runner(
            &[&nobody[..], &["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]].concat(),
        ),
    ]);
    runners
}

/// Programs with each kind of bits and capabilities that this user may give them.
fn programs(stage: &Stage) -> Vec<PathBuf> {
    let witness = stage.witness();
    let (us, our_group) = (geteuid().as_raw(), getegid().as_raw());
    let root = geteuid().is_root();
    let mut owners = vec![(us, our_group)];
    if root {
        owners.extend([(NOBODY, 0), (0, NOBODY)]);
    } else {
        owners.extend(getgroups().unwrap_or_default().into_iter().map(|group| (us, group.as_raw())));
    }
    let mut programs = Vec::new();
    for (user, group) in owners {
        for mode in [0o755, 0o4755, 0o2755, 0o2745, 0o6755] {
            let program = stage.path(&format!("{mode:o}-{user}-{group}"));
            copy_program(&witness, &program).expect("copy");
            chown(&program, Some(user), Some(group)).expect("chown");
            fs::set_permissions(&program, Permissions::from_mode(mode)).expect("chmod");
            programs.push(program);
        }
    }
    for capabilities in ["ep", "p", "i", "ei"].iter().filter(|_| root) {
        let program = stage.path(&format!("capabilities-{capabilities}"));
        copy_program(&witness, &program).expect("copy");
        let text = format!("cap_net_bind_service={capabilities}");
        let done = Command::new("setcap").arg(text).arg(&program).status().expect("setcap");
        assert!(done.success());
        programs.push(program);
    }
    programs
}

fn command(runner: &Runner) -> Command {
    let mut command = Command::new(&runner[0]);
    command.args(&runner[1..]).env_remove("LD_PRELOAD").env_remove("LD_LIBRARY_PATH");
    command
}

/// What the kernel says: `None` where this user cannot run it at all.
fn is_secure(runner: &Runner, program: &Path) -> Option<bool> {
    let output = command(runner).arg(program).output().expect("run");
    let text = stdout(&output);
    let said = text.lines().find_map(|line| line.strip_prefix("secure: "));
    assert!(said.is_some() || !output.status.success(), "{text}");
    said.map(|value| value != "0")
}

/// A set-user-ID program that makes such ids equal again has AT_SECURE set since Linux 6.16 only; it is refused before, too.
fn has_differing_ids(runner: &Runner) -> bool {
    runner.iter().any(|word| word.starts_with("--euid") || word.starts_with("--rgid"))
}

#[test]
fn what_is_refused_is_what_the_kernel_sets_at_secure_for() {
    let stage = Stage::new();
    // Where everybody can reach them.
    let linger = stage.executable("linger", fs::read(env!("CARGO_BIN_EXE_linger")).expect("linger"));
    let library = stage.executable("liblinger.so", fs::read(library()).expect("library"));
    let programs = programs(&stage);
    let mut seen = [false, false];
    for runner in runners(&stage) {
        for program in &programs {
            let Some(secure) = is_secure(&runner, program) else { continue };
            seen[usize::from(secure)] = true;
            let mut through = command(&runner);
            through.arg(&linger).args(["run", "--library"]).arg(&library).arg(program);
            let output = through.output().expect("run");
            let (text, message) = (stdout(&output), stderr(&output));
            let case = format!("{runner:?} {}: {text}{message}", program.display());
            if secure {
                assert_eq!(output.status.code(), Some(126), "the kernel sets AT_SECURE: {case}");
                assert!(message.contains("the loader would ignore LD_PRELOAD"), "{case}");
            } else if !has_differing_ids(&runner) {
                assert!(text.contains("secure: 0"), "the kernel does not set AT_SECURE: {case}");
            }
        }
    }
    assert!(seen[0], "no program that can be preloaded into");
    assert!(seen[1] || !geteuid().is_root(), "no program that cannot");
}

#[test]
fn each_kind_of_privilege_is_told_with_its_remedy() {
    if !geteuid().is_root() {
        // Only root can make all three kinds; a set-user-ID program is on every system.
        let output = crate::stage::linger_run().arg("/usr/bin/mount").output().expect("run");
        assert!(stderr(&output).contains("is set-user-ID root"), "{}", stderr(&output));
        return;
    }
    let stage = Stage::new();
    let linger = stage.executable("linger", fs::read(env!("CARGO_BIN_EXE_linger")).expect("linger"));
    let library = stage.executable("liblinger.so", fs::read(library()).expect("library"));
    programs(&stage);
    copy_program(&stage.path("4755-0-0"), &stage.path("sudo")).expect("copy");
    fs::set_permissions(stage.path("sudo"), Permissions::from_mode(0o4755)).expect("chmod");
    let nobody = runner(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    for (name, words) in [
        ("4755-0-0", ["is set-user-ID root", "run it as root"]),
        ("2755-0-0", ["is set-group-ID (group 0)", "that group"]),
        ("capabilities-ep", ["has file capabilities", "ambient"]),
        ("sudo", ["is set-user-ID root", "sudo linger run COMMAND"]),
    ] {
        let mut through = command(&nobody);
        through.arg(&linger).args(["run", "--library"]).arg(&library).arg(stage.path(name));
        let output = through.output().expect("run");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(126), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
    }
}
