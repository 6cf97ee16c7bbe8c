//! What can be set, and from where: defaults, then the environment, then `linger_configure`.
//!
//! **Promises:** reading a setting is one relaxed load: no lock, no allocation, safe in a signal handler. A wrong
//! value is reported once on stderr, with what is accepted, and the default stays.
//!
//! **Invariant:** every stored value is within the bounds its [`Variable`] names.

use crate::drain::Limits;
use crate::log;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use once_cell::race::OnceBool;

/// Which connections linger (`LINGER_WHEN`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// All that are open towards us.
    Open,
    /// Those with unread input at the moment of the close.
    Unread,
}

/// Whose connections linger (`LINGER_SIDE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Those the program accepted.
    Server,
    /// Those it opened with connect(2), too.
    Both,
}

/// One setting: its environment variable, its default and its bounds.
struct Variable {
    name: &'static str,
    value: AtomicI64,
    default: i64,
    least: i64,
    most: i64,
    /// Words in place of numbers; the value is the index.
    words: &'static [&'static str],
}

impl Variable {
    const fn number(name: &'static str, default: i64, least: i64, most: i64) -> Variable {
        Variable { name, value: AtomicI64::new(default), default, least, most, words: &[] }
    }

    const fn word(name: &'static str, words: &'static [&'static str]) -> Variable {
        let most = words.len() as i64 - 1;
        Variable { name, value: AtomicI64::new(0), default: 0, least: 0, most, words }
    }

    fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    fn parse(&self, text: &[u8]) -> Option<i64> {
        if !self.words.is_empty() {
            return self.words.iter().position(|w| w.as_bytes() == text).map(|i| i as i64);
        }
        let number: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
        (self.least..=self.most).contains(&number).then_some(number)
    }

    fn reject(&self, text: &[u8]) {
        let shown = core::str::from_utf8(text.get(..40).unwrap_or(text)).unwrap_or("(not UTF-8)");
        match self.words.get(self.default as usize) {
            Some(word) => log::always(format_args!(
                "{}={shown:?} is not one of {}; using {word}",
                self.name,
                Words(self.words)
            )),
            None => log::always(format_args!(
                "{}={shown:?} is not a whole number from {} to {}; using {}",
                self.name, self.least, self.most, self.default
            )),
        }
    }
}

struct Words(&'static [&'static str]);

impl core::fmt::Display for Words {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (i, word) in self.0.iter().enumerate() {
            write!(f, "{}{word}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

const LONGEST_MS: i64 = i32::MAX as i64;

static TIMEOUT_MS: Variable = Variable::number("LINGER_TIMEOUT_MS", 30_000, 0, LONGEST_MS);
static IDLE_MS: Variable = Variable::number("LINGER_IDLE_MS", 5_000, 1, LONGEST_MS);
static MAX_MS: Variable = Variable::number("LINGER_MAX_MS", 120_000, 0, LONGEST_MS);
static EXIT_MS: Variable = Variable::number("LINGER_EXIT_MS", 2_000, 0, LONGEST_MS);
static MAX_BYTES: Variable = Variable::number("LINGER_MAX_BYTES", 0, 0, i64::MAX);
static MAX_RATE: Variable = Variable::number("LINGER_MAX_RATE", 0, 0, i64::MAX);
static MAX_PER_PEER: Variable = Variable::number("LINGER_MAX_PER_PEER", 0, 0, 1_000_000);
static MAX: Variable = Variable::number("LINGER_MAX", 10_000, 0, 1_000_000);
static WHEN: Variable = Variable::word("LINGER_WHEN", &["open", "unread"]);
static SIDE: Variable = Variable::word("LINGER_SIDE", &["server", "both"]);
static LOG: Variable = Variable::word("LINGER_LOG", &["off", "info", "debug"]);

static ALL: [&Variable; 11] = [
    &TIMEOUT_MS,
    &IDLE_MS,
    &MAX_MS,
    &EXIT_MS,
    &MAX_BYTES,
    &MAX_RATE,
    &MAX,
    &MAX_PER_PEER,
    &WHEN,
    &SIDE,
    &LOG,
];

/// The bounds of lingering.
pub fn limits() -> Limits {
    Limits {
        idle_ms: IDLE_MS.get() as u32,
        timeout_ms: TIMEOUT_MS.get() as u32,
        max_ms: MAX_MS.get() as u32,
        max_bytes: MAX_BYTES.get() as u64,
        max_rate: MAX_RATE.get() as u64,
    }
}

/// `LINGER_MAX`: how many connections may linger at once.
pub fn max_connections() -> usize {
    MAX.get() as usize
}

/// `LINGER_MAX_PER_PEER`: how many connections of one address may linger at once; 0: no limit.
pub fn max_per_peer() -> u32 {
    MAX_PER_PEER.get() as u32
}

/// `LINGER_EXIT_MS`: how long an exit may wait.
pub fn exit_ms() -> u64 {
    EXIT_MS.get() as u64
}

/// `LINGER_WHEN`.
pub fn when() -> When {
    if WHEN.get() == 0 {
        When::Open
    } else {
        When::Unread
    }
}

/// `LINGER_SIDE`.
pub fn side() -> Side {
    if SIDE.get() == 0 {
        Side::Server
    } else {
        Side::Both
    }
}

/// `LINGER_LOG`: 0 off, 1 info, 2 debug.
pub fn log_level() -> i64 {
    LOG.get()
}

static LOADED: OnceBool = OnceBool::new();

/// Reads the environment, the first time it is called. Under AT_SECURE (getauxval(3)) nothing is read: the
/// environment is then an attacker's.
pub fn load() {
    LOADED.get_or_init(|| {
        // SAFETY: getauxval only reads what the kernel passed at start.
        if unsafe { libc::getauxval(libc::AT_SECURE) } == 0 {
            each_environment_entry(&mut load_entry);
        }
        true
    });
}

fn load_entry(entry: &[u8]) {
    for variable in ALL {
        let rest = entry.strip_prefix(variable.name.as_bytes()).and_then(|r| r.strip_prefix(b"="));
        let Some(text) = rest else { continue };
        match variable.parse(text) {
            Some(value) => variable.value.store(value, Relaxed),
            None => variable.reject(text),
        }
    }
}

extern "C" {
    static environ: *const *const libc::c_char;
}

/// Calls `visit` with each `NAME=value` of the environment, without allocating or locking.
pub fn each_environment_entry(visit: &mut dyn FnMut(&[u8])) {
    // SAFETY: `environ` is null or an array of C strings that ends with null (environ(7)). It is read at start
    // or on first use; like getenv(3) this must not race with setenv(3).
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            visit(CStr::from_ptr(*at).to_bytes());
            at = at.add(1);
        }
    }
}

/// What a caller of `linger_configure` asks for; `None` keeps a setting.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct Request {
    pub timeout_ms: Option<i64>,
    pub idle_ms: Option<i64>,
    pub max_ms: Option<i64>,
    pub exit_ms: Option<i64>,
    pub max_bytes: Option<i64>,
    pub max_rate: Option<i64>,
    pub max_connections: Option<i64>,
    pub max_per_peer: Option<i64>,
    pub when: Option<i64>,
    pub side: Option<i64>,
    pub log: Option<i64>,
}

/// Applies all of `request`, or nothing where one value is out of bounds.
pub fn apply(request: &Request) -> bool {
    load();
    let pairs = [
        (&TIMEOUT_MS, request.timeout_ms),
        (&IDLE_MS, request.idle_ms),
        (&MAX_MS, request.max_ms),
        (&EXIT_MS, request.exit_ms),
        (&MAX_BYTES, request.max_bytes),
        (&MAX_RATE, request.max_rate),
        (&MAX, request.max_connections),
        (&MAX_PER_PEER, request.max_per_peer),
        (&WHEN, request.when),
        (&SIDE, request.side),
        (&LOG, request.log),
    ];
    let within =
        |(v, value): &(&Variable, Option<i64>)| value.is_none_or(|n| (v.least..=v.most).contains(&n));
    if !pairs.iter().all(within) {
        return false;
    }
    for (variable, value) in pairs {
        if let Some(value) = value {
            variable.value.store(value, Relaxed);
        }
    }
    true
}

/// Whether a connection has been let go of: `linger_configure` then comes too late.
static USED: AtomicBool = AtomicBool::new(false);

/// The settings are in use from now on.
pub fn note_use() {
    USED.store(true, Relaxed);
}

/// In a forked child they are not, yet.
pub fn forget_use() {
    USED.store(false, Relaxed);
}

/// Whether the settings are in use.
pub fn in_use() -> bool {
    USED.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_whole_and_within_bounds() {
        let table: [(&[u8], Option<i64>); 9] = [
            (b"0", Some(0)),
            (b"30000", Some(30_000)),
            (b"2147483647", Some(2_147_483_647)),
            (b"2147483648", None),
            (b"-1", None),
            (b"", None),
            (b"30s", None),
            (b" 5", None),
            (b"99999999999999999999", None),
        ];
        for (text, value) in table {
            assert_eq!(TIMEOUT_MS.parse(text), value, "{:?}", core::str::from_utf8(text));
        }
        assert_eq!(IDLE_MS.parse(b"0"), None, "an idle time of zero would end every drain at once");
    }

    #[test]
    fn words_are_exact() {
        assert_eq!(WHEN.parse(b"open"), Some(0));
        assert_eq!(WHEN.parse(b"unread"), Some(1));
        assert_eq!(WHEN.parse(b"Unread"), None);
        assert_eq!(LOG.parse(b"debug"), Some(2));
        assert_eq!(SIDE.parse(b"1"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_rejected_or_within_bounds(text in proptest::collection::vec(any::<u8>(), 0..30)) {
            for variable in ALL {
                if let Some(value) = variable.parse(&text) {
                    prop_assert!((variable.least..=variable.most).contains(&value));
                }
            }
        }
    }
}
