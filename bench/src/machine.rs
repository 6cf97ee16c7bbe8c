//! Where the figures were measured: without that they say nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, its kernel, and the programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Machine {
    pub kernel: String,
    pub processor: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub load_average: String,
    pub descriptors: String,
    pub mitigations: Vec<String>,
    pub programs: Vec<String>,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&text("/proc/meminfo"), "MemTotal");
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Self {
            kernel: format!("Linux {}", text("/proc/sys/kernel/osrelease")),
            processor: field(&text("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            load_average: text("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            descriptors: limit.maximum.map_or("unlimited".to_owned(), |limit| limit.to_string()),
            mitigations: mitigations(),
            programs: ["nginx-light", "apache2", "lighttpd", "redis-server", "libc6"]
                .into_iter()
                .filter_map(installed)
                .collect(),
        }
    }
}

/// Those that make a system call dearer.
fn mitigations() -> Vec<String> {
    let dir = Path::new("/sys/devices/system/cpu/vulnerabilities");
    let mut found: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let what = text.trim().strip_prefix("Mitigation: ")?.to_owned();
            Some(format!("{}: {what}", entry.file_name().to_string_lossy()))
        })
        .collect();
    found.sort();
    found
}

fn installed(package: &str) -> Option<String> {
    let said = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().ok()?;
    let version = String::from_utf8(said.stdout).ok()?;
    (!version.is_empty()).then(|| format!("{package} {version}"))
}
