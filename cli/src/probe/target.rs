//! What to probe: a URL, or HOST:PORT whose port says what is spoken there.

use clap::ValueEnum;
use serde::Serialize;
use url::{Host, Url};

use super::trouble::{Kind, Trouble};

/// What is spoken on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1
    Http,
    /// The redis protocol
    Redis,
    /// PostgreSQL's frontend protocol, version 3
    Postgres,
    /// MySQL's and MariaDB's protocol
    Mysql,
    /// SMTP
    Smtp,
    /// None: bytes of your own, see --data
    Tcp,
}

impl Protocol {
    fn scheme(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Redis => "redis",
            Protocol::Postgres => "postgres",
            Protocol::Mysql => "mysql",
            Protocol::Smtp => "smtp",
            Protocol::Tcp => "tcp",
        }
    }

    fn usual_port(self, tls: bool) -> Option<u16> {
        match (self, tls) {
            (Protocol::Http, false) => Some(80),
            (Protocol::Http, true) => Some(443),
            (Protocol::Redis, _) => Some(6379),
            (Protocol::Postgres, _) => Some(5432),
            (Protocol::Mysql, _) => Some(3306),
            (Protocol::Smtp, false) => Some(25),
            (Protocol::Smtp, true) => Some(465),
            (Protocol::Tcp, _) => None,
        }
    }

    fn of_port(port: u16) -> (Protocol, bool) {
        match port {
            443 => (Protocol::Http, true),
            6379 => (Protocol::Redis, false),
            5432 => (Protocol::Postgres, false),
            3306 => (Protocol::Mysql, false),
            25 | 587 => (Protocol::Smtp, false),
            465 => (Protocol::Smtp, true),
            _ => (Protocol::Http, false),
        }
    }

    fn of_scheme(scheme: &str) -> Option<(Protocol, bool)> {
        Some(match scheme {
            "http" => (Protocol::Http, false),
            "https" => (Protocol::Http, true),
            "redis" => (Protocol::Redis, false),
            "rediss" => (Protocol::Redis, true),
            "postgres" | "postgresql" => (Protocol::Postgres, false),
            "mysql" => (Protocol::Mysql, false),
            "smtp" => (Protocol::Smtp, false),
            "smtps" => (Protocol::Smtp, true),
            "tcp" => (Protocol::Tcp, false),
            _ => return None,
        })
    }
}

/// A server, and what to ask it for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// What is spoken.
    pub protocol: Protocol,
    /// Inside TLS, from the first byte.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// Path and query, for HTTP.
    pub path: String,
}

impl Target {
    /// Understands `text`; what the options say wins over what the port suggests.
    pub fn parse(text: &str, protocol: Option<Protocol>, tls: bool) -> Result<Target, Trouble> {
        let bad = |why: &str| {
            let example = "write it as http://HOST:PORT/PATH or HOST:PORT";
            Trouble::new(Kind::BadUrl, format!("{text}: {why}; {example}"))
        };
        let (url, scheme) = if text.contains("://") {
            let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
            let scheme = Protocol::of_scheme(url.scheme())
                .ok_or_else(|| bad(&format!("probe does not speak {}", url.scheme())))?;
            (url, Some(scheme))
        } else {
            let scheme = protocol.unwrap_or(Protocol::Http).scheme();
            let url = Url::parse(&format!("{scheme}://{text}")).map_err(|error| bad(&error.to_string()))?;
            (url, None)
        };
        if let (Some(asked), Some((named, _))) = (protocol, scheme) {
            if asked != named {
                let conflict =
                    format!("{text} names another protocol than --protocol does: leave one of them out");
                return Err(Trouble::new(Kind::BadOption, conflict));
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("probe sends no credentials, leave them out"));
        }
        let guess = url.port().map_or((Protocol::Http, false), Protocol::of_port);
        let (spoken, within_tls) = match (scheme, protocol) {
            (Some(scheme), _) => scheme,
            (None, Some(protocol)) => (protocol, url.port() == Some(443)),
            (None, None) => guess,
        };
        let tls = tls || within_tls;
        if tls && matches!(spoken, Protocol::Postgres | Protocol::Mysql) {
            let line =
                "PostgreSQL and MySQL begin TLS inside their protocol, which probe does not: leave --tls out";
            return Err(Trouble::new(Kind::BadOption, line));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(bad("no host")),
        };
        if host.is_empty() {
            return Err(bad("no host"));
        }
        let port = url.port().or_else(|| spoken.usual_port(tls)).ok_or_else(|| bad("no port"))?;
        if port == 0 {
            return Err(bad("there is no port 0"));
        }
        let mut path = if url.path().is_empty() { "/".to_owned() } else { url.path().to_owned() };
        if let Some(query) = url.query() {
            path = format!("{path}?{query}");
        }
        Ok(Target { protocol: spoken, tls, host, port, path })
    }

    /// HOST:PORT, with brackets where they belong.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secure = match (self.protocol, self.tls) {
            (_, false) => self.protocol.scheme().to_owned(),
            (Protocol::Tcp, true) => "tls".to_owned(),
            (protocol, true) => format!("{}s", protocol.scheme()),
        };
        write!(f, "{secure}://{}", self.authority())?;
        if self.protocol == Protocol::Http {
            f.write_str(&self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_host_port_are_understood() {
        let table = [
            ("http://example.org", "http://example.org:80/"),
            ("http://example.org/a%20b?c=d#e", "http://example.org:80/a%20b?c=d"),
            ("https://example.org", "https://example.org:443/"),
            ("https://example.org:8443/x", "https://example.org:8443/x"),
            ("localhost:8080", "http://localhost:8080/"),
            ("localhost:8080/big.bin", "http://localhost:8080/big.bin"),
            ("localhost:80", "http://localhost:80/"),
            ("localhost", "http://localhost:80/"),
            ("localhost:443", "https://localhost:443/"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("db:5432", "postgres://db:5432"),
            ("db:3306", "mysql://db:3306"),
            ("mail:25", "smtp://mail:25"),
            ("mail:465", "smtps://mail:465"),
            ("postgresql://db", "postgres://db:5432"),
            ("rediss://db", "rediss://db:6379"),
            ("redis://[::1]:7000", "redis://[::1]:7000"),
            ("tcp://host:7", "tcp://host:7"),
        ];
        for (text, expected) in table {
            let target = Target::parse(text, None, false).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(target.to_string(), expected);
        }
    }

    #[test]
    fn options_win_over_the_port() {
        let redis = Target::parse("db:7000", Some(Protocol::Redis), true).expect("target");
        assert_eq!(redis.to_string(), "rediss://db:7000");
        let http = Target::parse("db:6379", Some(Protocol::Http), false).expect("target");
        assert_eq!(http.to_string(), "http://db:6379/");
        let usual = Target::parse("db", Some(Protocol::Redis), false).expect("target");
        assert_eq!(usual.port, 6379);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_word_for_scripts() {
        let table = [
            ("", Kind::BadUrl),
            ("http://", Kind::BadUrl),
            ("http://host:99999", Kind::BadUrl),
            ("http://host:0", Kind::BadUrl),
            ("gopher://host", Kind::BadUrl),
            ("tcp://host", Kind::BadUrl),
            ("http://user:secret@host", Kind::BadUrl),
            ("a b:80", Kind::BadUrl),
        ];
        for (text, kind) in table {
            let trouble = Target::parse(text, None, false).expect_err(text);
            assert_eq!(trouble.kind, kind, "{text}: {}", trouble.message);
            assert!(!trouble.message.contains('\n'));
        }
        let conflict = Target::parse("http://host", Some(Protocol::Redis), false).expect_err("conflict");
        assert_eq!(conflict.kind, Kind::BadOption);
        let tls = Target::parse("postgres://host", None, true).expect_err("TLS");
        assert_eq!(tls.kind, Kind::BadOption);
    }
}
