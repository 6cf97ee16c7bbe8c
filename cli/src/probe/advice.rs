//! One sentence: what to do about it. Pure.

use super::verdict::{Cause, Doubt, Verdict};

/// What the advice is made from.
#[derive(Debug, Clone, Copy)]
pub struct Findings<'a> {
    /// The worst verdict of all runs.
    pub worst: Option<Verdict>,
    /// How the server calls itself, or what protocol it speaks.
    pub server: &'a str,
}

/// Servers with a setting of their own, or out of reach of a preloaded library, by how their Server header begins.
const KNOWN: [(&str, &str); 13] = [
    ("nginx", "nginx: set `lingering_close always;`, or start it with `linger run -- nginx`"),
    ("openresty", "OpenResty: set `lingering_close always;`, or start it with `linger run -- openresty`"),
    ("apache", "Apache lingers by itself: if it still loses answers, look for a proxy in front, or start it with `linger run`"),
    ("lighttpd", "lighttpd lingers since 1.4.24: update it, or start it with `linger run -- lighttpd`"),
    ("express", "Node: start it with `linger run -- node PROGRAM`, or put a server in front that lingers"),
    ("gunicorn", "gunicorn: start it with `linger run -- gunicorn APP`, or put a server in front that lingers"),
    ("redis", "redis: start it with `linger run -- redis-server CONFIGURATION`"),
    ("postgres", "PostgreSQL: start it with `linger run -- postgres`, or put a connection pool in front of it"),
    ("mysql", "MySQL or MariaDB: start it with `linger run -- mariadbd`"),
    ("caddy", "Caddy makes its system calls without libc, so liblinger cannot be preloaded: put a server in front that lingers"),
    ("cloudflare", "this is Cloudflare's edge and not your server: probe the origin itself"),
    ("envoy", "Envoy: raise `delayed_close_timeout`, or start it with `linger run -- envoy`"),
    ("microsoft-iis", "IIS does not run on Linux: liblinger cannot help it"),
];

/// One sentence.
pub fn advise(findings: Findings<'_>) -> String {
    let Some(worst) = findings.worst else {
        return "Nothing could be tested.".to_owned();
    };
    match worst {
        Verdict::Complete => "Nothing to do: every answer arrived whole, and nothing was reset.".to_owned(),
        Verdict::Undecided { reason } => {
            let what = match reason {
                Doubt::NoLength | Doubt::LengthVaries => "probe a file of 1 MB or more that has a Content-Length",
                Doubt::TimedOut => "give it more time with --timeout",
                Doubt::NoAnswer => "the server leaves some requests without an answer, which is its own decision",
            };
            format!("No loss was seen, but not everything could be decided: {what}.")
        }
        Verdict::Lost { cause: Cause::EarlyFin, .. } => {
            "The answer ends too early, but in order: look into the program that makes it; no lingering close mends that."
                .to_owned()
        }
        Verdict::CompleteButReset | Verdict::Lost { cause: Cause::Reset, .. } => {
            format!("{}.", remedy(findings.server))
        }
    }
}

fn remedy(server: &str) -> String {
    let name = server.to_ascii_lowercase();
    let known = KNOWN.iter().find(|(beginning, _)| name.starts_with(beginning));
    known.map_or_else(
        || "Preload liblinger: start the server with `linger run -- SERVER`".to_owned(),
        |(_, advice)| (*advice).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Verdict = Verdict::Lost { missing_bytes: Some(1), cause: Cause::Reset };

    fn advice(server: &str, worst: Verdict) -> String {
        advise(Findings { worst: Some(worst), server })
    }

    #[test]
    fn a_server_with_a_setting_is_told_of_it() {
        assert!(advice("nginx/1.22.1", LOST).contains("lingering_close always"));
        assert!(advice("nginx", Verdict::CompleteButReset).contains("lingering_close always"));
        assert!(advice("Express", LOST).contains("node"));
        assert!(advice("lighttpd/1.4.19", LOST).contains("1.4.24"));
        assert!(advice("SomeServer/1.0", LOST).contains("linger run -- SERVER"));
        assert!(advice("", LOST).contains("linger run -- SERVER"));
    }

    #[test]
    fn nothing_is_advised_where_nothing_is_wrong_or_lingering_is_no_cure() {
        assert!(advice("nginx", Verdict::Complete).starts_with("Nothing to do"));
        let early = Verdict::Lost { missing_bytes: None, cause: Cause::EarlyFin };
        assert!(!advice("nginx", early).contains("lingering_close always"));
    }

    #[test]
    fn every_advice_is_one_line_and_one_sentence() {
        for (server, _) in KNOWN {
            let advice = advice(server, LOST);
            assert!(advice.ends_with('.') && !advice.contains('\n'), "{advice}");
        }
    }
}
