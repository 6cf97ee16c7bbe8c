//! The client this all began with: WvStreams' `WvHttpPool`, which pipelines its requests and, told of
//! a reset, gives the page up; after a clean end it simply asks again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::server::find_program;

/// How many pages it asks for.
pub const PAGES: usize = 60;

/// How long each page is.
pub const PAGE_LENGTH: usize = 100_000;

const PACKAGES: &str = "g++ make pkg-config libwvstreams-dev";

/// The built program, `c-tests/wvhttp/fetch.cc`.
#[derive(Debug, Clone)]
pub struct Fetcher(PathBuf);

impl Fetcher {
    /// Builds it into the target directory that this program runs from.
    ///
    /// # Errors
    ///
    /// If it does not compile: says what to install if something is missing.
    pub fn build() -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../c-tests/wvhttp");
        let this_program = std::env::current_exe()?;
        // target/debug/deps/test-0123 -> target
        let target = this_program.ancestors().nth(3).context("no target directory")?;
        let out = target.join("c-tests");
        find_program("pkg-config", PACKAGES)?;
        let make = Command::new(find_program("make", PACKAGES)?)
            .arg("-C")
            .arg(&source)
            .arg(format!("OUT={}", out.display()))
            .output()?;
        if !make.status.success() {
            let why = String::from_utf8_lossy(&make.stderr);
            bail!("c-tests/wvhttp does not build (apt-get install {PACKAGES}):\n{why}");
        }
        Ok(Self(out.join("wvhttp-fetch")))
    }

    /// Fetches [`PAGES`] pages of [`PAGE_LENGTH`] bytes and says how many arrived whole.
    ///
    /// # Errors
    ///
    /// If the program fails. Pages that do not arrive are a result.
    pub fn fetch(&self, server: SocketAddr) -> Result<usize> {
        let output = Command::new(&self.0)
            .args([server.to_string(), PAGES.to_string(), PAGE_LENGTH.to_string()])
            .output()
            .with_context(|| format!("run {}", self.0.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let complete =
            text.lines().find_map(|line| line.strip_prefix("complete ")?.split(' ').next()?.parse().ok());
        complete.with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("wvhttp-fetch ended with {}: {text}{errors}", output.status)
        })
    }
}
