//! Why nothing can be said of a process: one line for people, one word and one number for scripts.

use serde::ser::{SerializeStruct, Serializer};
use serde::Serialize;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// There is no such process, or not any more.
    Gone,
    /// It may not be looked into.
    NotPermitted,
    /// The library is not in it.
    NotLiblinger,
    /// What it publishes is laid out otherwise. The version where that can be told.
    OtherLayout(Option<String>),
    /// It has a drain thread that publishes nothing.
    Unpublished,
    /// The kernel says something else.
    System(String),
}

/// What is wrong with which process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub pid: i32,
    /// The name of its program, where it is known.
    pub command: Option<String>,
    pub kind: Kind,
}

impl Kind {
    /// For `--json`; see linger-stat(1).
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Gone => "gone",
            Kind::NotPermitted => "not_permitted",
            Kind::NotLiblinger => "not_liblinger",
            Kind::OtherLayout(_) => "other_layout",
            Kind::Unpublished => "unpublished",
            Kind::System(_) => "system",
        }
    }

    /// See linger-stat(1).
    pub fn exit_code(&self) -> u8 {
        match self {
            Kind::Gone => 3,
            Kind::NotPermitted => 4,
            Kind::NotLiblinger => 5,
            Kind::OtherLayout(_) => 6,
            Kind::Unpublished => 7,
            Kind::System(_) => 8,
        }
    }
}

impl Trouble {
    /// One line, with what to do instead.
    pub fn message(&self) -> String {
        let pid = self.pid;
        let who = match &self.command {
            Some(command) => format!("process {pid} ({})", super::units::printable(command)),
            None => format!("process {pid}"),
        };
        match &self.kind {
            Kind::Gone => format!("there is no process {pid}: linger stat without a PID lists those there are"),
            Kind::NotPermitted => {
                let advice = super::report::advise(rustix::process::geteuid().is_root());
                format!("{who} may not be looked into: {advice}")
            }
            Kind::NotLiblinger => format!(
                "{who} does not run with liblinger: start it with linger run (one that links liblinger.a shows after its \
                 first lingering close)"
            ),
            Kind::OtherLayout(version) => {
                let theirs = version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
                format!(
                    "{who} runs with another liblinger{theirs}, which publishes its counters otherwise: use the linger \
                     command of that version"
                )
            }
            Kind::Unpublished => {
                format!(
                    "{who} could not publish its counters: a seccomp filter or an old kernel forbids memfd_create(2)"
                )
            }
            Kind::System(error) => format!("{who} cannot be read: {error}: is /proc mounted?"),
        }
    }
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Trouble", 3)?;
        fields.serialize_field("pid", &self.pid)?;
        fields.serialize_field("kind", self.kind.name())?;
        fields.serialize_field("message", &self.message())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_line_word_and_code() {
        let kinds = [
            Kind::Gone,
            Kind::NotPermitted,
            Kind::NotLiblinger,
            Kind::OtherLayout(Some("1.2.3".to_owned())),
            Kind::Unpublished,
            Kind::System("Input/output error".to_owned()),
        ];
        let mut seen = std::collections::HashSet::new();
        for kind in kinds {
            let code = kind.exit_code();
            assert!(code > 2, "0 to 2 mean something else: {kind:?}");
            let trouble = Trouble { pid: 7, command: Some("ng\u{1b}inx".to_owned()), kind };
            let message = trouble.message();
            assert!(message.contains("process 7") && message.contains(": "), "{message}");
            assert!(!message.contains(['\n', '\u{1b}']), "{message:?}");
            assert!(seen.insert((code, trouble.kind.name(), message)));
        }
        let codes: std::collections::HashSet<_> = seen.iter().map(|(code, ..)| code).collect();
        assert_eq!(codes.len(), seen.len());
    }
}
