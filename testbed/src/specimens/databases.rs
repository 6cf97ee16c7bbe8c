//! MariaDB and PostgreSQL with a new, empty data directory and room for few clients.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::server::find_program;

/// How many connections MariaDB takes: the least that `max_connections` can be, and one for an administrator.
pub const HELD_BY_MARIADB: usize = 11;

/// What MariaDB says to one more.
pub const MARIADB_REFUSAL: &[u8] = b"Too many connections";

/// What PostgreSQL says to a second one.
pub const POSTGRES_REFUSAL: &[u8] = b"sorry, too many clients already";

pub(super) fn prepare_mariadb(command: &mut Command, dir: &Path, address: SocketAddr) -> Result<()> {
    let data = dir.join("data");
    let mut install = Command::new(find_program("mariadb-install-db", "mariadb-server")?);
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.arg(format!("--datadir={}", data.display()));
    if rustix::process::geteuid().is_root() {
        install.arg("--user=root");
        command.args(["--no-defaults", "--user=root"]);
    } else {
        command.arg("--no-defaults");
    }
    run(&mut install)?;
    command
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", dir.join("mariadb.socket").display()))
        .arg(format!("--pid-file={}", dir.join("mariadb.pid").display()))
        .arg(format!("--bind-address={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .args(["--max-connections=10", "--skip-name-resolve", "--innodb-buffer-pool-size=8M"]);
    Ok(())
}

/// PostgreSQL with room for so many connections.
///
/// # Errors
///
/// If it is not installed, or its data directory cannot be made.
pub fn postgres_with_room_for(connections: usize, dir: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new(postgres("postgres")?);
    prepare_postgres(&mut command, dir, address, connections)?;
    Ok(command)
}

pub(super) fn prepare_postgres(
    command: &mut Command,
    dir: &Path,
    address: SocketAddr,
    connections: usize,
) -> Result<()> {
    let data = dir.join("data");
    fs::create_dir(&data)?;
    let mut initialise = Command::new(postgres("initdb")?);
    initialise.args(["--auth=trust", "--no-sync", "--username=postgres", "--locale=C", "-D"]).arg(&data);
    // It refuses to run as root.
    if rustix::process::geteuid().is_root() {
        let (user, group) = account("postgres")?;
        chown(&data, Some(user), Some(group))?;
        initialise.uid(user).gid(group);
        command.uid(user).gid(group);
    }
    run(initialise.current_dir(&data))?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.current_dir(&data).arg("-D").arg(&data).args(["-h", &host, "-p", &port, "-k", ""]).args([
        "-c",
        &format!("max_connections={connections}"),
        "-c",
        "superuser_reserved_connections=0",
        "-c",
        "max_wal_senders=0",
        "-c",
        "autovacuum=off",
        "-c",
        "fsync=off",
    ]);
    Ok(())
}

/// A program of the newest PostgreSQL: Debian keeps them out of everybody's PATH.
pub(super) fn postgres(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(name)).collect();
    programs.retain(|program| program.is_file());
    programs.sort();
    programs.pop().with_context(|| format!("{name} is not installed: apt-get install postgresql"))
}

fn account(name: &str) -> Result<(u32, u32)> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    let ids = accounts.lines().find_map(|line| {
        let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    ids.with_context(|| format!("there is no account {name}: apt-get install postgresql"))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{command:?} ended with {}:\n{out}{err}", output.status);
    }
    Ok(())
}
