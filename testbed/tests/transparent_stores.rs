//! `redis-benchmark` against redis, `pgbench` against PostgreSQL: every command and transaction is done, and what they
//! leave behind adds up.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use linger_testbed::netns::isolated;
use linger_testbed::server::{find_program, Program, Recipe};
use linger_testbed::specimens::postgres_with_room_for;
use linger_testbed::transparency::{after, finds_the_same_with_the_shim, succeed, Findings, Sign, Stage};

const REDIS: Recipe = Recipe { name: "redis for many", prepare: redis };
const POSTGRES: Recipe = Recipe { name: "postgresql for many", prepare: postgres };

fn redis(dir: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new(find_program("redis-server", "redis-server")?);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["--bind", &host, "--port", &port, "--save", "", "--dir"]).arg(dir);
    Ok(command)
}

fn postgres(dir: &Path, address: SocketAddr) -> Result<Command> {
    postgres_with_room_for(20, dir, address)
}

fn redis_client(stage: &Stage<'_>, name: &str) -> Result<Command> {
    let mut command = stage.client(name, "redis-tools")?;
    let address = stage.server.address();
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    Ok(command)
}

/// Connections that are kept, connections for one command each, and commands that are pipelined.
fn benchmark_redis(stage: &Stage<'_>) -> Result<Findings> {
    const COMMANDS: &str = "2000";
    let mut findings = Findings::new();
    for how in [&["-k", "1"][..], &["-k", "0"], &["-P", "16"]] {
        let mut benchmark = redis_client(stage, "redis-benchmark")?;
        benchmark.args([
            "--csv",
            "-n",
            COMMANDS,
            "-c",
            "20",
            "-d",
            "1000",
            "-t",
            "set,get,incr,lpush,lrange_100",
        ]);
        let report = succeed(benchmark.args(how))?;
        let rows = report.lines().skip(1).filter_map(|row| row.split(',').next());
        let rows: Vec<_> = rows.collect();
        ensure!(rows.len() >= 5, "redis-benchmark {how:?} says {report}");
        findings.insert(format!("redis-benchmark {how:?}"), rows.join(" "));
    }
    let statistics = succeed(redis_client(stage, "redis-cli")?.args(["info", "everything"]))?;
    for label in ["rejected_connections:", "total_error_replies:", "unexpected_error_replies:"] {
        let found = after(&statistics, label).with_context(|| format!("no {label} in {statistics}"))?;
        ensure!(found == "0", "{label}{found}");
        findings.insert(label.to_owned(), found.to_owned());
    }
    let length = succeed(redis_client(stage, "redis-cli")?.args(["strlen", "key:__rand_int__"]))?;
    findings.insert("length of the value".to_owned(), length.trim().to_owned());
    Ok(findings)
}

fn postgres_client(stage: &Stage<'_>, name: &str) -> Result<Command> {
    let mut command = stage.client(name, "postgresql-client")?;
    let address = stage.server.address();
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-U", "postgres"]);
    Ok(command)
}

/// `pgbench` moves money between accounts; whatever happens, all of its tables have the same sum.
const SUMS: &str =
    "select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)
    and (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), \
    (select count(*) from pgbench_history)";

fn benchmark_postgres(stage: &Stage<'_>) -> Result<Findings> {
    let mut findings = Findings::new();
    succeed(postgres_client(stage, "pgbench")?.args(["-i", "-q", "postgres"]))?;
    for how in [&[][..], &["-C"], &["-M", "prepared"]] {
        let mut benchmark = postgres_client(stage, "pgbench")?;
        let report = succeed(benchmark.args(["-n", "-c", "4", "-t", "25", "postgres"]).args(how))?;
        let done = after(&report, "number of transactions actually processed:").unwrap_or_default();
        ensure!(done == "100/100", "{report}");
        let failed = after(&report, "number of failed transactions:").unwrap_or_default();
        ensure!(failed.starts_with("0 "), "{report}");
        findings.insert(format!("pgbench {how:?}"), format!("{done} done, {failed} failed"));
    }
    let sums = succeed(postgres_client(stage, "psql")?.args(["-At", "-c", SUMS, "postgres"]))?;
    ensure!(sums.trim() == "t|300", "the accounts do not add up: {sums}");
    findings.insert("sums are equal, transactions".to_owned(), sums.trim().to_owned());
    Ok(findings)
}

#[test]
fn redis_does_every_command() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Recipe(REDIS), Sign::On, benchmark_redis);
    });
}

#[test]
fn postgres_does_every_transaction() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Recipe(POSTGRES), Sign::On, benchmark_postgres);
    });
}
