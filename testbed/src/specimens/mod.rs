//! Real server programs, one for every way in which servers let go of a connection.
//!
//! Each is configured as an operator would, in a directory of its own, and told the address to listen on. Where it
//! speaks HTTP it answers `GET /N` with N bytes of [`crate::pattern`].
//!
//! A program that is missing is an error that says what to run: nothing is skipped.

mod databases;
mod forking;
mod inetd;
mod java;
mod mail;
mod proxies;
mod python;
mod scripted;
mod stores;

pub use databases::{postgres_with_room_for, HELD_BY_MARIADB, MARIADB_REFUSAL, POSTGRES_REFUSAL};
pub use python::suite_command;
pub use stores::MEMCACHED_CONNECTIONS;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::server::{find_program, Program};

/// What installs every program here.
pub(crate) const INSTALLER: &str = "scripts/install-tools";

/// A program and how it lets go of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specimen {
    /// `http.createServer`: SHUT_WR, then `syscall(SYS_close)`.
    Node,
    /// Its cluster module: connections come to a worker by SCM_RIGHTS.
    NodeCluster,
    /// `php -S` with static files: SHUT_RDWR, then close.
    PhpFiles,
    /// `php -S` with a script.
    PhpScript,
    /// The WSGI server of CherryPy: SHUT_RDWR, then close.
    Cheroot,
    /// Twisted's web server: SHUT_RDWR, then close.
    Twisted,
    /// MariaDB, which takes [`HELD_BY_MARIADB`] connections: closes one more in the thread that accepts, where signals
    /// with handlers are blocked.
    MariaDb,
    /// Under openbsd-inetd: exits with the connection on 0 and 1.
    MicroHttpd,
    /// `busybox httpd -i` under openbsd-inetd: SHUT_WR, then exits.
    BusyboxInetd,
    /// `busybox httpd -f`: forks, moves the connection to 0 and 1, SHUT_WR, then exits.
    Busybox,
    /// HTTP::Daemon: the parent closes, the child answers and closes.
    PerlChildCloses,
    /// HTTP::Daemon: the parent closes, the child answers and exits.
    PerlChildExits,
    /// HTTP::Daemon: a child exits with the connection, the parent answers and closes.
    PerlParentAnswers,
    /// `ForkingMixIn`: the child half-closes and closes.
    PythonChildCloses,
    /// `ForkingMixIn`: the child exits.
    PythonChildExits,
    /// PostgreSQL, which takes one connection; the process of a second one exits with it open.
    PostgreSql,
    /// gunicorn, pre-fork: closes.
    GunicornSync,
    /// gunicorn with threads: closes.
    GunicornThreads,
    /// waitress: closes in the thread of its event loop.
    Waitress,
    /// uWSGI, pre-fork: closes.
    Uwsgi,
    /// redis, which takes one client.
    Redis,
    /// memcached, which takes [`MEMCACHED_CONNECTIONS`] clients.
    Memcached,
    /// HAProxy: SHUT_WR, then close at once; does not remove it from its epoll set.
    HaProxy,
    /// `com.sun.net.httpserver`: closes in a thread of its pool.
    JavaHttpServer,
    /// `java.net.ServerSocket` and a thread for every connection: SHUT_WR, then close.
    JavaServerSocket,
    /// exim, which takes one client: fclose.
    Exim,
}

impl Specimen {
    /// To start with [`crate::server::Server::start`].
    #[must_use]
    pub fn program(self) -> Program {
        self.with(&[])
    }

    /// The same with settings of the shim, `LINGER_*`.
    #[must_use]
    pub fn with(self, settings: &[(&'static str, &'static str)]) -> Program {
        Program::Specimen { specimen: self, settings: settings.to_vec() }
    }

    /// For messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Specimen::Node => "node",
            Specimen::NodeCluster => "node cluster",
            Specimen::PhpFiles => "php -S",
            Specimen::PhpScript => "php -S script",
            Specimen::Cheroot => "cheroot",
            Specimen::Twisted => "twisted",
            Specimen::MariaDb => "mariadb",
            Specimen::MicroHttpd => "micro-httpd",
            Specimen::BusyboxInetd => "busybox httpd -i",
            Specimen::Busybox => "busybox httpd",
            Specimen::PerlChildCloses => "perl, child closes",
            Specimen::PerlChildExits => "perl, child exits",
            Specimen::PerlParentAnswers => "perl, parent answers",
            Specimen::PythonChildCloses => "python, child closes",
            Specimen::PythonChildExits => "python, child exits",
            Specimen::PostgreSql => "postgresql",
            Specimen::GunicornSync => "gunicorn sync",
            Specimen::GunicornThreads => "gunicorn gthread",
            Specimen::Waitress => "waitress",
            Specimen::Uwsgi => "uwsgi",
            Specimen::Redis => "redis",
            Specimen::Memcached => "memcached",
            Specimen::HaProxy => "haproxy",
            Specimen::JavaHttpServer => "java httpserver",
            Specimen::JavaServerSocket => "java serversocket",
            Specimen::Exim => "exim",
        }
    }

    /// The executable.
    pub(crate) fn find(self) -> Result<PathBuf> {
        match self {
            Specimen::Node | Specimen::NodeCluster => find_program("node", "nodejs"),
            Specimen::PhpFiles | Specimen::PhpScript => find_program("php", "php-cli"),
            Specimen::Cheroot => python::from_pypi("cheroot"),
            Specimen::GunicornSync | Specimen::GunicornThreads => python::from_pypi("gunicorn"),
            Specimen::Waitress => python::from_pypi("waitress-serve"),
            Specimen::Twisted => find_program("twist3", "python3-twisted"),
            Specimen::MariaDb => find_program("mariadbd", "mariadb-server"),
            Specimen::MicroHttpd | Specimen::BusyboxInetd => find_program("inetd", "openbsd-inetd"),
            Specimen::Busybox => find_program("busybox", "busybox"),
            Specimen::PerlChildCloses | Specimen::PerlChildExits | Specimen::PerlParentAnswers => {
                find_program("perl", "perl libhttp-daemon-perl")
            }
            Specimen::PythonChildCloses | Specimen::PythonChildExits => python::debian(),
            Specimen::PostgreSql => databases::postgres("postgres"),
            Specimen::Uwsgi => find_program("uwsgi-core", "uwsgi-core uwsgi-plugin-python3"),
            Specimen::Redis => find_program("redis-server", "redis-server"),
            Specimen::Memcached => find_program("memcached", "memcached"),
            Specimen::HaProxy => find_program("haproxy", "haproxy"),
            Specimen::JavaHttpServer | Specimen::JavaServerSocket => {
                find_program("java", "default-jdk-headless")
            }
            Specimen::Exim => find_program("exim4", "exim4-daemon-light"),
        }
    }

    /// The command to run in `dir`, which holds `htdocs`; writes the configuration there.
    pub(crate) fn prepare(self, dir: &Path, address: SocketAddr) -> Result<Command> {
        let mut command = Command::new(self.find()?);
        match self {
            Specimen::Node => scripted::node(&mut command, address, &[]),
            Specimen::NodeCluster => scripted::node(&mut command, address, &["cluster"]),
            Specimen::PhpFiles => scripted::php_files(&mut command, dir, address),
            Specimen::PhpScript => scripted::php_script(&mut command, address),
            Specimen::Cheroot => python::cheroot(&mut command, address),
            Specimen::Twisted => python::twisted(&mut command, dir, address),
            Specimen::GunicornSync => python::gunicorn(&mut command, dir, address, &["-k", "sync"]),
            Specimen::GunicornThreads => {
                python::gunicorn(&mut command, dir, address, &["-k", "gthread", "--threads", "4"]);
            }
            Specimen::Waitress => python::waitress(&mut command, address),
            Specimen::Uwsgi => python::uwsgi(&mut command, address),
            Specimen::MariaDb => databases::prepare_mariadb(&mut command, dir, address)?,
            Specimen::PostgreSql => databases::prepare_postgres(&mut command, dir, address, 1)?,
            Specimen::MicroHttpd => inetd::micro_httpd(&mut command, dir, address)?,
            Specimen::BusyboxInetd => inetd::busybox(&mut command, dir, address)?,
            Specimen::Busybox => forking::busybox(&mut command, dir, address),
            Specimen::PerlChildCloses => forking::perl(&mut command, address, "child"),
            Specimen::PerlChildExits => forking::perl(&mut command, address, "exits"),
            Specimen::PerlParentAnswers => forking::perl(&mut command, address, "parent"),
            Specimen::PythonChildCloses => forking::python(&mut command, address, &[]),
            Specimen::PythonChildExits => forking::python(&mut command, address, &["exits"]),
            Specimen::Redis => stores::redis(&mut command, dir, address),
            Specimen::Memcached => stores::memcached(&mut command, address),
            Specimen::HaProxy => proxies::haproxy(&mut command, dir, address)?,
            Specimen::JavaHttpServer => java::run(&mut command, "HttpServerBodies", address),
            Specimen::JavaServerSocket => java::run(&mut command, "ServerSocketBodies", address),
            Specimen::Exim => mail::exim(&mut command, dir, address)?,
        }
        Ok(command)
    }
}

/// A file of `testbed/servers`.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("servers").join(name)
}
