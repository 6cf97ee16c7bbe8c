//! The report for programs. Its fields are documented in linger-stat(1); they may be added to, not changed.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::census::{Census, Connection, Subject};
use super::counts::Counts;
use super::trouble::Trouble;

/// Raised when a field changes its meaning.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    unix_ms: u64,
    processes: Vec<SubjectFields<'a>>,
    unreadable_processes: usize,
    errors: &'a [Trouble],
}

#[derive(Serialize)]
struct SubjectFields<'a> {
    pid: i32,
    command: &'a str,
    state: &'static str,
    library_version: Option<&'a str>,
    drain_threads: usize,
    lingering: u64,
    oldest_ms: Option<u64>,
    #[serde(flatten)]
    counts: Counts,
    lingering_discarded_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<ConnectionFields>>,
}

#[derive(Serialize)]
struct ConnectionFields {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    state: Option<&'static str>,
    age_ms: u64,
    deadline_ms: u64,
    discarded_bytes: u64,
    unacknowledged_bytes: u32,
}

/// What `--json` prints; `connections` only where they were asked for.
pub fn document(census: &Census, connections: bool) -> impl Serialize + '_ {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Document {
        version: VERSION,
        unix_ms: milliseconds(now),
        processes: census.subjects.iter().map(|subject| subject_fields(subject, connections)).collect(),
        unreadable_processes: census.unreadable,
        errors: &census.troubles,
    }
}

fn subject_fields(subject: &Subject, connections: bool) -> SubjectFields<'_> {
    SubjectFields {
        pid: subject.pid,
        command: &subject.command,
        state: if subject.version.is_some() { "publishing" } else { "nothing_lingered_yet" },
        library_version: subject.version.as_deref(),
        drain_threads: subject.drain_threads,
        lingering: subject.lingering,
        oldest_ms: subject.oldest.map(milliseconds),
        counts: subject.counts,
        lingering_discarded_bytes: subject.lingering_discarded_bytes,
        connections: connections.then(|| subject.connections.iter().map(connection_fields).collect()),
    }
}

fn connection_fields(connection: &Connection) -> ConnectionFields {
    ConnectionFields {
        peer: connection.ends.map(|ends| ends.peer),
        local: connection.ends.map(|ends| ends.local),
        state: connection.ends.map(|ends| ends.state),
        age_ms: milliseconds(connection.age),
        deadline_ms: milliseconds(connection.deadline),
        discarded_bytes: connection.discarded_bytes,
        unacknowledged_bytes: connection.unacknowledged_bytes,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::trouble::Kind;
    use super::*;

    #[test]
    fn every_documented_field_is_there() {
        let connection = Connection {
            ends: None,
            age: Duration::from_millis(7),
            deadline: Duration::from_secs(30),
            discarded_bytes: 5,
            unacknowledged_bytes: 1,
        };
        let subject = Subject { connections: vec![connection], ..Subject::new(7, "a\u{1b}".to_owned()) };
        let trouble = Trouble { pid: 8, command: None, kind: Kind::Gone };
        let census = Census { subjects: vec![subject], unreadable: 2, troubles: vec![trouble] };
        let fields = |connections| {
            let mut value = serde_json::to_value(document(&census, connections)).expect("JSON");
            assert!(value["unix_ms"].take().as_u64() > Some(1_600_000_000_000));
            value
        };
        let mut process = serde_json::json!({
            "pid": 7, "command": "a\u{1b}", "state": "nothing_lingered_yet", "library_version": null,
            "drain_threads": 0, "lingering": 0, "oldest_ms": null, "lingered": 0,
            "outcomes": {"fin": 0, "reset": 0, "idle": 0, "timeout": 0, "bytes": 0, "evicted": 0, "closed": 0},
            "discarded_bytes": 0, "lingering_discarded_bytes": 0, "fallbacks": 0, "shared": 0,
        });
        let error = serde_json::json!({
            "pid": 8, "kind": "gone",
            "message": "there is no process 8: linger stat without a PID lists those there are",
        });
        let document = |process: &serde_json::Value| {
            serde_json::json!({
                "version": 1, "unix_ms": null, "processes": [process], "unreadable_processes": 2, "errors": [error],
            })
        };
        assert_eq!(fields(false), document(&process));
        process["connections"] = serde_json::json!([{
            "peer": null, "local": null, "state": null, "age_ms": 7, "deadline_ms": 30000, "discarded_bytes": 5,
            "unacknowledged_bytes": 1,
        }]);
        assert_eq!(fields(true), document(&process));
    }
}
