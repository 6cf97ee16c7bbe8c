//! The words after `env`: which command it runs, and what it does to the environment before (env(1)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::environment::PRELOAD;

/// What env is going to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// The command and its arguments; empty where env only prints.
    pub command: Vec<OsString>,
    /// `PATH=...` among its assignments: the command is searched there.
    pub path: Option<OsString>,
    /// `-C`
    pub directory: Option<PathBuf>,
    /// Whether LD_PRELOAD does not get through to the command.
    pub drops_preloads: bool,
}

impl Env {
    /// Reads the words after `env`; `variable` gives the value of `${NAME}` in the string of `-S`.
    pub fn parse(words: &[OsString], variable: &dyn Fn(&str) -> Option<OsString>) -> Env {
        let mut env = Env::default();
        let mut rest: Vec<OsString> = words.to_vec();
        rest.reverse();
        while let Some(word) = rest.last() {
            let word = word.as_bytes().to_vec();
            if word == b"--" {
                rest.pop();
                break;
            }
            if word == b"-" {
                env.drops_preloads = true;
            } else if let Some(long) = word.strip_prefix(b"--") {
                rest.pop();
                env.long_option(long, &mut rest, variable);
                continue;
            } else if let Some(letters) = word.strip_prefix(b"-") {
                rest.pop();
                env.letters(letters, &mut rest, variable);
                continue;
            } else {
                break;
            }
            rest.pop();
        }
        while let Some(word) = rest.pop() {
            if !word.as_bytes().contains(&b'=') {
                rest.push(word);
                break;
            }
            let (name, value) = split_at_equals(word.as_bytes());
            if name == PRELOAD.as_bytes() {
                env.drops_preloads = true;
            } else if name == b"PATH" {
                env.path = Some(OsString::from_vec(value.to_vec()));
            }
        }
        rest.reverse();
        env.command = rest;
        env
    }

    fn letters(
        &mut self,
        letters: &[u8],
        rest: &mut Vec<OsString>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) {
        for (at, letter) in letters.iter().enumerate() {
            if *letter == b'i' {
                self.drops_preloads = true;
            }
            if b"uCSa".contains(letter) {
                let attached = letters.get(at + 1..).filter(|value| !value.is_empty());
                let value = attached.map(|value| OsString::from_vec(value.to_vec())).or_else(|| rest.pop());
                self.option(*letter, value.unwrap_or_default(), rest, variable);
                return;
            }
        }
    }

    fn long_option(
        &mut self,
        option: &[u8],
        rest: &mut Vec<OsString>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) {
        let (name, value) = split_at_equals(option);
        let attached = name.len() < option.len();
        // getopt_long(3) takes any beginning that only one option has.
        let meant = |full: &str, least: usize| name.len() >= least && full.as_bytes().starts_with(name);
        if meant("ignore-environment", 8) {
            self.drops_preloads = true;
        }
        for (full, least, letter) in
            [("unset", 1, b'u'), ("chdir", 1, b'C'), ("split-string", 1, b'S'), ("argv0", 1, b'a')]
        {
            if meant(full, least) {
                let value = if attached { Some(OsString::from_vec(value.to_vec())) } else { rest.pop() };
                self.option(letter, value.unwrap_or_default(), rest, variable);
            }
        }
    }

    fn option(
        &mut self,
        letter: u8,
        value: OsString,
        rest: &mut Vec<OsString>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) {
        match letter {
            b'u' => self.drops_preloads |= value == PRELOAD,
            b'C' => self.directory = Some(PathBuf::from(value)),
            // Its words stand where the option stood: they may be options, too.
            b'S' => rest.extend(split(&value, variable).into_iter().rev()),
            _ => {}
        }
    }
}

fn split_at_equals(word: &[u8]) -> (&[u8], &[u8]) {
    match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, b""),
    }
}

/// The string of `-S`: words between blanks, with quotes, escapes and `${NAME}`.
fn split(string: &OsStr, variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = string.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (b'\'' | b'"', Some(open)) if open == byte => quote = None,
            (b'\\', _) => match (bytes.next().unwrap_or(b'\\'), quote) {
                (b'c', None) => break,
                (b'_', None) => words.extend(word.take()),
                (escaped, _) => word.get_or_insert_default().push(unescape(escaped)),
            },
            (b'$', None | Some(b'"')) => {
                let name: Vec<u8> = bytes.by_ref().take_while(|byte| *byte != b'}').collect();
                let name = String::from_utf8_lossy(name.strip_prefix(b"{").unwrap_or(&name)).into_owned();
                let value = variable(&name).unwrap_or_default();
                word.get_or_insert_default().extend(value.as_bytes());
            }
            (b'#', None) if word.is_none() => break,
            (blank, None) if blank.is_ascii_whitespace() => words.extend(word.take()),
            (byte, _) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words.into_iter().map(OsString::from_vec).collect()
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'f' => 0x0c,
        b'v' => 0x0b,
        b'_' => b' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Env {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Env::parse(&words, &|name| (name == "HERE").then(|| OsString::from("/here")))
    }

    fn command(words: &[&str]) -> Vec<OsString> {
        parse(words).command
    }

    #[test]
    fn the_command_comes_after_options_and_assignments() {
        for words in [
            &["python3", "-u"][..],
            &["--", "python3", "-u"],
            &["A=1", "B=2", "python3", "-u"],
            &["-u", "A", "-v", "python3", "-u"],
            &["-uA", "--unset", "B", "--unset=C", "A=1", "python3", "-u"],
            &["-vS", "python3 -u"],
            &["-Spython3 -u"],
            &["-S", "python3", "-u"],
            &["-S A=1 python3", "-u"],
            &["--split-string=-i python3", "-u"],
            &["--split-string", "python3 -u"],
            &["--ignore-signal=PIPE", "--default-signal", "-", "python3", "-u"],
        ] {
            assert_eq!(command(words), ["python3", "-u"], "{words:?}");
        }
        assert_eq!(command(&["A=1"]), Vec::<OsString>::new());
    }

    #[test]
    fn a_string_is_split_as_env_does() {
        for (string, words) in [
            (r#"a 'b c' "d \"e""#, &["a", "b c", r#"d "e"#][..]),
            (r"a\_b \# c", &["a", "b", "#", "c"]),
            ("a${HERE}b ${NONE}", &["a/hereb", ""]),
            ("a # comment", &["a"]),
            (r"a \c b", &["a"]),
            ("a ''", &["a", ""]),
            (r#"'${HERE}' "x\_y""#, &["${HERE}", "x y"]),
        ] {
            assert_eq!(command(&["-S", string]), words, "{string}");
        }
    }

    #[test]
    fn what_takes_the_library_away_is_seen() {
        for words in [
            &["-i", "x"][..],
            &["-", "x"],
            &["-vi", "x"],
            &["--ignore-environment", "x"],
            &["-u", "LD_PRELOAD", "x"],
            &["-uLD_PRELOAD", "x"],
            &["--unset=LD_PRELOAD", "x"],
            &["LD_PRELOAD=", "x"],
            &["-S", "-i x"],
        ] {
            assert!(parse(words).drops_preloads, "{words:?}");
        }
        for words in [&["x", "-i"][..], &["-u", "LD_PRELOADS", "x"], &["--ignore-signal", "x"], &["-ui", "x"]]
        {
            assert!(!parse(words).drops_preloads, "{words:?}");
        }
    }

    #[test]
    fn where_the_command_is_searched_can_be_changed() {
        let env = parse(&["-C", "/srv", "PATH=/opt/bin", "x"]);
        assert_eq!(
            (env.directory, env.path),
            (Some(PathBuf::from("/srv")), Some(OsString::from("/opt/bin")))
        );
    }
}
