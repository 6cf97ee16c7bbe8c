//! How each server program is configured and started.
//!
//! The configurations are what an operator would write: nothing in them works around anything. What
//! they share is what [`crate::scenario`] says: bodies by size, 10 requests a connection, no uploads.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::installed::find_program;
use crate::buggy::SoLinger;
use crate::scenario::REQUESTS_SERVED;
use crate::specimens::Specimen;

/// A server program to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// [`crate::buggy`], in a program that is told so by its arguments.
    Buggy {
        /// The program and the arguments before those that [`crate::buggy`] has.
        command: Vec<OsString>,
        /// What it sets before it closes.
        so_linger: SoLinger,
    },
    /// Debian's nginx with its default `lingering_close on`.
    Nginx,
    /// Debian's lighttpd.
    Lighttpd,
    /// Debian's Apache with the event MPM.
    Apache,
    /// `servers/random-close.pl`: closes at random after 1 to 5 requests. On loopback only.
    Perl {
        /// Of its random numbers.
        seed: u32,
    },
    /// One of [`crate::specimens`].
    Specimen {
        /// Which one.
        specimen: Specimen,
        /// Settings of the shim: `LINGER_*` and their values.
        settings: Vec<(&'static str, &'static str)>,
    },
    /// One that a single test starts.
    Recipe(Recipe),
}

/// How to start a program that no other test needs.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// For messages; two with the same name are the same.
    pub name: &'static str,
    /// The command that listens at the address, with its files in the directory.
    pub prepare: fn(&Path, SocketAddr) -> Result<Command>,
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Recipe {}

/// How a caller learns that the server listens.
#[derive(Debug)]
pub(super) enum Listening {
    /// It was told where.
    At(SocketAddr),
    /// It prints `listening ADDRESS`.
    Reported,
}

impl Program {
    /// The embedded server that just closes.
    #[must_use]
    pub fn buggy(executable: impl Into<OsString>) -> Self {
        Program::Buggy { command: vec![executable.into()], so_linger: SoLinger::Unset }
    }

    /// For tables and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Program::Buggy { .. } => "embedded",
            Program::Nginx => "nginx",
            Program::Lighttpd => "lighttpd",
            Program::Apache => "apache",
            Program::Perl { .. } => "perl",
            Program::Specimen { specimen, .. } => specimen.name(),
            Program::Recipe(recipe) => recipe.name,
        }
    }

    /// Finds the program, or says how to install it.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn find(&self) -> Result<PathBuf> {
        match self {
            Program::Buggy { command, .. } => command.first().map(PathBuf::from).context("no program"),
            Program::Nginx => find_program("nginx", "nginx-light"),
            Program::Lighttpd => find_program("lighttpd", "lighttpd"),
            Program::Apache => find_program("apache2", "apache2"),
            Program::Perl { .. } => find_program("perl", "perl"),
            Program::Specimen { specimen, .. } => specimen.find(),
            // It looks for itself when it is prepared, and says what to install.
            Program::Recipe(recipe) => Ok(PathBuf::from(recipe.name)),
        }
    }

    /// The command to run in `dir`, which holds `htdocs`; writes the configuration there.
    pub(super) fn prepare(&self, dir: &Path, host: Ipv4Addr) -> Result<(Command, Listening)> {
        let mut command = Command::new(self.find()?);
        let listening = match self {
            Program::Recipe(recipe) => {
                let address = free_address(host)?;
                command = (recipe.prepare)(dir, address)?;
                Listening::At(address)
            }
            Program::Buggy { command: words, so_linger } => {
                let so_linger = clap::ValueEnum::to_possible_value(so_linger);
                let so_linger = so_linger.context("every variant has a name")?;
                command.args(words.iter().skip(1)).args(["--so-linger", so_linger.get_name()]);
                command.args(["--host", &host.to_string()]);
                Listening::Reported
            }
            Program::Perl { seed } => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/random-close.pl");
                command.arg(script).arg(seed.to_string());
                Listening::Reported
            }
            Program::Nginx => {
                let address = free_address(host)?;
                let file = write_configuration(dir, &nginx(dir, address))?;
                // Its compiled-in error log is opened before the configuration is read.
                command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(file);
                Listening::At(address)
            }
            Program::Lighttpd => {
                let address = free_address(host)?;
                let file = write_configuration(dir, &lighttpd(dir, address))?;
                command.arg("-D").arg("-f").arg(file);
                Listening::At(address)
            }
            Program::Apache => {
                let address = free_address(host)?;
                let file = write_configuration(dir, &apache(dir, address))?;
                command.arg("-DFOREGROUND").arg("-f").arg(file);
                Listening::At(address)
            }
            Program::Specimen { specimen, settings } => {
                let address = free_address(host)?;
                command = specimen.prepare(dir, address)?;
                command.envs(settings.iter().copied());
                Listening::At(address)
            }
        };
        Ok((command, listening))
    }
}

/// Root's servers become this user, as Debian has them do; anybody else's stay who they are.
fn as_root(text: &str) -> &str {
    if rustix::process::geteuid().is_root() {
        text
    } else {
        ""
    }
}

/// In a private namespace nobody else can take the port before the server does.
fn free_address(host: Ipv4Addr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((host, 0)).with_context(|| format!("find a free port of {host}"))?;
    Ok(listener.local_addr()?)
}

fn write_configuration(dir: &Path, text: &str) -> Result<PathBuf> {
    let file = dir.join("server.conf");
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// `sendfile` and `tcp_nopush` as Debian ships it; `lingering_close` is left at its default.
fn nginx(dir: &Path, address: SocketAddr) -> String {
    let user = as_root("user www-data;");
    let dir = dir.display();
    format!(
        "{user}
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    sendfile on;
    tcp_nopush on;
    access_log {dir}/access.log;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen {address};
        root {dir}/htdocs;
        keepalive_requests {REQUESTS_SERVED};
        client_max_body_size 1m;
    }}
}}
"
    )
}

fn lighttpd(dir: &Path, address: SocketAddr) -> String {
    let user = as_root("server.username = \"www-data\"\nserver.groupname = \"www-data\"");
    // It does not count the first request on a connection.
    let after_the_first = REQUESTS_SERVED - 1;
    let (port, host) = (address.port(), address.ip());
    let dir = dir.display();
    format!(
        "server.document-root = \"{dir}/htdocs\"
server.bind = \"{host}\"
server.port = {port}
server.max-keep-alive-requests = {after_the_first}
server.max-request-size = 1000
mimetype.assign = ( \"\" => \"application/octet-stream\" )
{user}
"
    )
}

fn apache(dir: &Path, address: SocketAddr) -> String {
    let user = as_root("User www-data\nGroup www-data");
    let dir = dir.display();
    format!(
        "ServerRoot {dir}
ServerName localhost
Listen {address}
PidFile {dir}/apache.pid
Mutex file:{dir}
ErrorLog {dir}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
{user}
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
KeepAlive On
MaxKeepAliveRequests {REQUESTS_SERVED}
DocumentRoot {dir}/htdocs
<Directory {dir}/htdocs>
    Require all granted
</Directory>
"
    )
}
