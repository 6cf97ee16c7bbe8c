//! The servers: how each is configured.
//!
//! As an operator would write it, apart from what would blur the figure: no access log, no limit on requests a
//! connection, one worker process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use linger_testbed::server::find_program;

use crate::process::ours;

/// The document that is asked for, and its length.
pub const DOCUMENT: (&str, usize) = ("1k", 1024);

/// The document was last changed in 2001.
const YEARS: Duration = Duration::from_secs(1_000_000_000);

/// A server program and its way of closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// nginx with `lingering_close off`.
    Nginx,
    /// nginx with `lingering_close always`.
    NginxAlways,
    /// Apache with the event MPM, which always lingers.
    Apache,
    /// lighttpd, which always lingers since 1.4.24.
    Lighttpd,
    /// redis, which never does.
    Redis,
    /// The bare epoll server of `bench-subject`: one read, one answer, one `close(2)`.
    Echo(Closing),
}

/// How the bare server lets go of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Closing {
    /// `close(2)`.
    Close,
    /// `linger_close()` of the library that `$LINGER_LIB` names.
    LingerClose,
    /// A thread for each that half-closes and reads 512 bytes at a time, as Apache's prefork MPM does it in its process.
    Prefork,
}

/// What the bare server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Answer {
    /// What it has read.
    Echo,
    /// A refusal, whatever it has read, of [`REFUSAL`].
    Refusal,
}

/// To an upload that is not wanted.
pub const REFUSAL: &str =
    "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\nToo big\n";

impl Peer {
    /// For tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Peer::Nginx => "nginx",
            Peer::NginxAlways => "nginx, lingering_close always",
            Peer::Apache => "Apache event",
            Peer::Lighttpd => "lighttpd",
            Peer::Redis => "redis",
            Peer::Echo(Closing::Close) => "bare epoll server",
            Peer::Echo(Closing::LingerClose) => "bare epoll server, linger_close()",
            Peer::Echo(Closing::Prefork) => "bare epoll server, thread per close",
        }
    }

    /// The command that serves [`DOCUMENT`] at `address` and keeps its files in `dir`.
    ///
    /// # Errors
    ///
    /// If it is not installed: says how to install it.
    pub fn prepare(self, dir: &Path, address: SocketAddr) -> Result<Command> {
        self.prepare_to(Answer::Echo, dir, address)
    }

    /// The same; the bare server gives this answer. The others refuse every upload of more than a megabyte.
    ///
    /// # Errors
    ///
    /// As [`Peer::prepare`].
    pub fn prepare_to(self, answer: Answer, dir: &Path, address: SocketAddr) -> Result<Command> {
        let documents = dir.join("htdocs");
        fs::create_dir(&documents)?;
        let document = documents.join(DOCUMENT.0);
        fs::write(&document, vec![b'x'; DOCUMENT.1])?;
        // Apache's answer is two bytes longer while a document is younger than a second (a weak ETag).
        File::options().write(true).open(&document)?.set_modified(SystemTime::UNIX_EPOCH + YEARS)?;
        match self {
            Peer::Nginx => nginx(dir, address, "off"),
            Peer::NginxAlways => nginx(dir, address, "always"),
            Peer::Apache => apache(dir, address),
            Peer::Lighttpd => lighttpd(dir, address),
            Peer::Redis => redis(dir, address),
            Peer::Echo(closing) => bare(address, answer, closing),
        }
    }
}

fn configured(
    program: &str,
    packages: &str,
    dir: &Path,
    text: &str,
) -> Result<(Command, std::path::PathBuf)> {
    let file = dir.join("server.conf");
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok((Command::new(find_program(program, packages)?), file))
}

/// `sendfile` and `tcp_nopush` as Debian ships it.
fn nginx(dir: &Path, address: SocketAddr, lingering: &str) -> Result<Command> {
    let at = dir.display();
    let text = format!(
        "user www-data;
daemon off;
worker_processes 1;
pid {at}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    sendfile on;
    tcp_nopush on;
    access_log off;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    lingering_close {lingering};
    server {{
        listen {address} backlog=4096;
        root {at}/htdocs;
        keepalive_requests 1000000000;
        client_max_body_size 1m;
    }}
}}
"
    );
    let (mut command, file) = configured("nginx", "nginx-light", dir, &text)?;
    // Its compiled-in error log is opened before the configuration is read.
    command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(file);
    Ok(command)
}

fn lighttpd(dir: &Path, address: SocketAddr) -> Result<Command> {
    let (at, port, host) = (dir.display(), address.port(), address.ip());
    let text = format!(
        "server.document-root = \"{at}/htdocs\"
server.bind = \"{host}\"
server.port = {port}
server.max-keep-alive-requests = 1000000
server.max-request-size = 1000
server.username = \"www-data\"
server.groupname = \"www-data\"
mimetype.assign = ( \"\" => \"application/octet-stream\" )
"
    );
    let (mut command, file) = configured("lighttpd", "lighttpd", dir, &text)?;
    command.arg("-D").arg("-f").arg(file);
    Ok(command)
}

fn apache(dir: &Path, address: SocketAddr) -> Result<Command> {
    let at = dir.display();
    let text = format!(
        "ServerRoot {at}
ServerName localhost
Listen {address}
ListenBackLog 4096
PidFile {at}/apache.pid
Mutex file:{at}
ErrorLog {at}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
KeepAlive On
MaxKeepAliveRequests 0
LimitRequestBody 1000000
DocumentRoot {at}/htdocs
<Directory {at}/htdocs>
    Require all granted
</Directory>
"
    );
    let (mut command, file) = configured("apache2", "apache2", dir, &text)?;
    command.arg("-DFOREGROUND").arg("-f").arg(file);
    Ok(command)
}

fn redis(dir: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new(find_program("redis-server", "redis-server")?);
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(dir);
    Ok(command)
}

fn bare(address: SocketAddr, answer: Answer, closing: Closing) -> Result<Command> {
    let mut command = ours("bench-subject")?;
    command.args(["serve", "--address", &address.to_string()]);
    command.args(["--answer", word(&answer).as_str(), "--closing", word(&closing).as_str()]);
    Ok(command)
}

fn word(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|word| word.get_name().to_owned()).unwrap_or_default()
}
