//! nginx, Apache and lighttpd under load, and their files byte for byte: what `ab`, `wrk` and `curl` find is what they
//! find without the shim, and that is that nothing failed.

use anyhow::{ensure, Context, Result};
use linger_testbed::netns::isolated;
use linger_testbed::pattern;
use linger_testbed::scenario::{LARGE, PIPELINED, SMALL};
use linger_testbed::server::Program;
use linger_testbed::transparency::{after, finds_the_same_with_the_shim, succeed, Findings, Sign, Stage};

const REQUESTS: u64 = 1000;

/// With as many as it has threads, Apache ends idle connections early to make room, shim or not.
const CLIENTS: &str = "4";

/// `ab`, which opens a connection for every request, and with `-k` keeps it as long as the server lets it.
fn bench(stage: &Stage<'_>) -> Result<Findings> {
    let mut findings = Findings::new();
    for keep in [&[][..], &["-k"]] {
        let mut ab = stage.client("ab", "apache2-utils")?;
        ab.args(["-q", "-n", &REQUESTS.to_string(), "-c", CLIENTS])
            .args(keep)
            .arg(stage.url(&SMALL.to_string()));
        let report = succeed(&mut ab)?;
        for label in ["Complete requests:", "Failed requests:", "HTML transferred:", "Non-2xx responses:"] {
            let found = after(&report, label).unwrap_or("none");
            findings.insert(format!("ab {keep:?} {label}"), found.to_owned());
        }
        ensure!(after(&report, "Complete requests:") == Some(&*REQUESTS.to_string()), "{report}");
        ensure!(after(&report, "Failed requests:") == Some("0"), "{report}");
        ensure!(!report.contains("Non-2xx"), "{report}");
        let bytes = format!("{} bytes", REQUESTS * SMALL);
        ensure!(after(&report, "HTML transferred:") == Some(&*bytes), "{report}");
    }
    Ok(findings)
}

/// `wrk`, which keeps its connections busy; it mentions errors only where there are any.
fn hammer(stage: &Stage<'_>) -> Result<Findings> {
    let mut wrk = stage.client("wrk", "wrk")?;
    let url = stage.url(&SMALL.to_string());
    let report = succeed(wrk.args(["-t", "1", "-c", CLIENTS, "-d", "2s", &url]))?;
    let requests: u64 = report
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .with_context(|| format!("wrk counts no requests: {report}"))?;
    ensure!(requests > 0, "{report}");
    ensure!(!report.contains("Non-2xx"), "{report}");
    let errors = after(&report, "Socket errors:").unwrap_or("none").to_owned();
    ensure!(errors == "none", "{report}");
    Ok(Findings::from([("wrk, socket errors".to_owned(), errors)]))
}

/// What `curl` is asked to do, by name: the arguments before the URL of [`LARGE`], and the bytes that must come.
fn downloads() -> Vec<(&'static str, Vec<&'static str>, Vec<u8>)> {
    let all = pattern::bytes(LARGE);
    let part = |from: usize, to: usize| all.get(from..=to).unwrap_or_default().to_vec();
    vec![
        ("whole", vec![], all.clone()),
        ("HTTP/1.0", vec!["--http1.0"], all.clone()),
        ("a connection for one request", vec!["-H", "Connection: close"], all.clone()),
        ("a range", vec!["-r", "1000000-1999999"], part(1_000_000, 1_999_999)),
        ("its end", vec!["-r", "-777"], part(all.len() - 777, all.len() - 1)),
        ("slowly", vec!["--limit-rate", "6M"], all.clone()),
    ]
}

fn download(stage: &Stage<'_>) -> Result<Findings> {
    let mut findings = Findings::new();
    for (name, arguments, expected) in downloads() {
        let mut curl = stage.client("curl", "curl")?;
        succeed(curl.args(["-sS", "-f", "-o", "got"]).args(arguments).arg(stage.url(&LARGE.to_string())))?;
        let got = stage.read("got")?;
        ensure!(got == expected, "{name}: {} bytes, not the {} expected", got.len(), expected.len());
        findings.insert(format!("curl, {name}"), format!("{} bytes", got.len()));
    }
    findings.extend(download_many(stage, "one after the other", &[])?);
    findings.extend(download_many(stage, "all at once", &["--parallel", "--parallel-immediate"])?);
    Ok(findings)
}

/// More files than the servers allow requests on a connection.
fn download_many(stage: &Stage<'_>, name: &str, arguments: &[&str]) -> Result<Findings> {
    const FILES: usize = 25;
    let mut curl = stage.client("curl", "curl")?;
    curl.args(["-sS", "-f"]).args(arguments);
    for number in 0..FILES {
        curl.arg("-o").arg(format!("many-{number}")).arg(stage.url(&PIPELINED.to_string()));
    }
    succeed(&mut curl)?;
    for number in 0..FILES {
        ensure!(stage.read(&format!("many-{number}"))? == pattern::bytes(PIPELINED), "{name}: file {number}");
    }
    Ok(Findings::from([(format!("curl, {name}"), format!("{FILES} files"))]))
}

fn everything(stage: &Stage<'_>) -> Result<Findings> {
    Ok(bench(stage)?.into_iter().chain(download(stage)?).collect())
}

#[test]
fn nginx_serves_the_same() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Nginx, Sign::Lingered, everything);
    });
}

#[test]
fn apache_serves_the_same() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Apache, Sign::On, everything);
    });
}

#[test]
fn lighttpd_serves_the_same() {
    isolated(|| {
        finds_the_same_with_the_shim(&Program::Lighttpd, Sign::On, everything);
    });
}

#[test]
#[ignore = "long: make transparency"]
fn wrk_finds_no_error_in_any_of_them() {
    isolated(|| {
        for (program, sign) in
            [(Program::Nginx, Sign::Lingered), (Program::Apache, Sign::On), (Program::Lighttpd, Sign::On)]
        {
            finds_the_same_with_the_shim(&program, sign, hammer);
        }
    });
}
