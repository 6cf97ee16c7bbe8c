//! A git repository cloned, fetched and pushed over HTTP (git-http-backend, and plain files) and over git's own
//! protocol: every object arrives.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use linger_testbed::netns::isolated;
use linger_testbed::server::{find_program, Program, Recipe};
use linger_testbed::transparency::{finds_the_same_with_the_shim, succeed, Findings, Sign, Stage};

const LIGHTTPD: Recipe = Recipe { name: "git over lighttpd", prepare: lighttpd };
const DAEMON: Recipe = Recipe { name: "git daemon", prepare: daemon };

const BACKEND: &str = "/usr/lib/git-core/git-http-backend";

/// More than fits into any queue, in many objects.
const FILES: usize = 300;

/// Nothing of who runs the tests has a say in this, and everybody may read what a server that is not root has.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "safe.directory"),
    ("GIT_CONFIG_VALUE_0", "*"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_AUTHOR_NAME", "A"),
    ("GIT_AUTHOR_EMAIL", "a@example.org"),
    ("GIT_COMMITTER_NAME", "A"),
    ("GIT_COMMITTER_EMAIL", "a@example.org"),
];

fn git(dir: &Path) -> Result<Command> {
    let mut command = Command::new(find_program("git", "git")?);
    command.current_dir(dir).envs(ENVIRONMENT);
    Ok(command)
}

/// `dir/repositories/origin.git`, whose objects do not compress.
fn make_repository(dir: &Path) -> Result<()> {
    let work = dir.join("work");
    fs::create_dir_all(&work)?;
    fs::create_dir(dir.join("repositories"))?;
    succeed(git(&work)?.args(["init", "-q", "-b", "main"]))?;
    let mut random = fastrand::Rng::with_seed(1);
    for part in 0..3 {
        for number in 0..FILES / 3 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(10_000).collect();
            fs::write(work.join(format!("{part}-{number}")), bytes)?;
        }
        succeed(git(&work)?.args(["add", "."]))?;
        succeed(git(&work)?.args(["commit", "-q", "-m", "more"]))?;
    }
    let bare = ["clone", "-q", "--bare", "work", "repositories/origin.git"];
    succeed(git(dir)?.args(bare))?;
    let origin = dir.join("repositories/origin.git");
    succeed(git(&origin)?.args(["config", "http.receivepack", "true"]))?;
    // For clients that only fetch files.
    succeed(git(&origin)?.arg("update-server-info"))?;
    Ok(())
}

fn lighttpd(dir: &Path, address: SocketAddr) -> Result<Command> {
    make_repository(dir)?;
    ensure!(Path::new(BACKEND).is_file(), "{BACKEND} is not installed: apt-get install git");
    let (host, port, dir_name) = (address.ip(), address.port(), dir.display());
    let configuration = format!(
        "server.modules = ( \"mod_alias\", \"mod_setenv\", \"mod_cgi\" )
server.document-root = \"{dir_name}/repositories\"
server.bind = \"{host}\"
server.port = {port}
server.errorlog = \"{dir_name}/error.log\"
alias.url = ( \"/smart\" => \"{BACKEND}\" )
$HTTP[\"url\"] =~ \"^/smart\" {{
    cgi.assign = ( \"\" => \"\" )
    setenv.add-environment = (
        \"GIT_PROJECT_ROOT\" => \"{dir_name}/repositories\", \"GIT_HTTP_EXPORT_ALL\" => \"1\",
        \"GIT_CONFIG_COUNT\" => \"1\", \"GIT_CONFIG_KEY_0\" => \"safe.directory\", \"GIT_CONFIG_VALUE_0\" => \"*\"
    )
}}
"
    );
    let file = dir.join("server.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new(find_program("lighttpd", "lighttpd")?);
    command.arg("-D").arg("-f").arg(file);
    Ok(command)
}

fn daemon(dir: &Path, address: SocketAddr) -> Result<Command> {
    make_repository(dir)?;
    let mut command = git(dir)?;
    command.args([
        "daemon",
        "--export-all",
        "--enable=receive-pack",
        "--reuseaddr",
        "--base-path=repositories",
    ]);
    command.arg(format!("--listen={}", address.ip())).arg(format!("--port={}", address.port()));
    Ok(command)
}

fn client(stage: &Stage<'_>) -> Result<Command> {
    let mut command = stage.client("git", "git")?;
    command.envs(ENVIRONMENT);
    Ok(command)
}

/// Every commit and object, and that they are whole.
fn inventory(dir: &Path) -> Result<String> {
    succeed(git(dir)?.args(["fsck", "--full", "--strict"]))?;
    let objects = succeed(git(dir)?.args(["cat-file", "--batch-all-objects", "--batch-check"]))?;
    Ok(objects)
}

fn clone(stage: &Stage<'_>, url: &str, name: &str) -> Result<Findings> {
    succeed(client(stage)?.args(["clone", "-q", url, name]))?;
    let dir = stage.server.directory();
    let (here, there) = (inventory(&dir.join(name))?, inventory(&dir.join("work"))?);
    ensure!(here == there, "{url} gave {here}\nnot\n{there}");
    ensure!(here.lines().count() > FILES, "{here}");
    Ok(Findings::from([(format!("objects cloned, {name}"), here.lines().count().to_string())]))
}

/// One more commit, sent back.
fn push(stage: &Stage<'_>, name: &str) -> Result<Findings> {
    let clone = stage.server.directory().join(name);
    fs::write(clone.join("more"), vec![b'x'; 3_000_000])?;
    succeed(git(&clone)?.args(["add", "."]))?;
    succeed(git(&clone)?.args(["commit", "-q", "-m", "one more"]))?;
    succeed(client(stage)?.current_dir(&clone).args(["push", "-q", "origin", "main"]))?;
    let head = |dir: &Path| succeed(git(dir)?.args(["rev-parse", "main"]));
    let origin = stage.server.directory().join("repositories/origin.git");
    ensure!(head(&origin)? == head(&clone)?, "the push did not arrive");
    inventory(&origin).context("after the push")?;
    let there = succeed(client(stage)?.current_dir(&clone).args(["ls-remote", "origin", "main"]))?;
    ensure!(there.starts_with(head(&clone)?.trim()), "{there}");
    Ok(Findings::from([(format!("pushed, {name}"), "yes".to_owned())]))
}

fn over_http(stage: &Stage<'_>) -> Result<Findings> {
    let mut findings = clone(stage, &stage.url("origin.git"), "dumb")?;
    findings.extend(clone(stage, &stage.url("smart/origin.git"), "smart")?);
    findings.extend(push(stage, "smart")?);
    Ok(findings)
}

fn over_git(stage: &Stage<'_>) -> Result<Findings> {
    let mut findings = clone(stage, &format!("git://{}/origin.git", stage.server.address()), "git")?;
    findings.extend(push(stage, "git")?);
    Ok(findings)
}

#[test]
fn lighttpd_hands_out_every_object() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Recipe(LIGHTTPD), Sign::On, over_http);
    });
}

#[test]
fn git_daemon_hands_out_every_object() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Recipe(DAEMON), Sign::On, over_git);
    });
}
