//! The first line of a script, as the kernel reads it (`fs/binfmt_script.c`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// How much of a file the kernel looks at.
pub const HEAD: usize = 256;

/// `#!INTERPRETER [ARGUMENT]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub interpreter: PathBuf,
    /// All the rest of the line is one argument.
    pub argument: Option<OsString>,
}

impl Script {
    /// Reads the first [`HEAD`] bytes of a file; `None` where execve(2) would say ENOEXEC.
    pub fn parse(head: &[u8]) -> Option<Script> {
        let text = head.strip_prefix(b"#!")?;
        let (line, whole) = match text.iter().position(|byte| *byte == b'\n') {
            Some(end) => (text.get(..end)?, true),
            None => (text, head.len() < HEAD),
        };
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        let line = line.trim_ascii();
        let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let end = line.iter().position(is_blank);
        // A name that may go on past what the kernel reads is refused; an argument is cut.
        if line.is_empty() || (!whole && end.is_none()) {
            return None;
        }
        let (interpreter, argument) = line.split_at(end.unwrap_or(line.len()));
        let argument = argument.trim_ascii();
        Some(Script {
            interpreter: PathBuf::from(OsString::from_vec(interpreter.to_vec())),
            argument: (!argument.is_empty()).then(|| OsString::from_vec(argument.to_vec())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &[u8]) -> Option<(String, Option<String>)> {
        let script = Script::parse(head)?;
        let argument = script.argument.map(|argument| argument.to_string_lossy().into_owned());
        Some((script.interpreter.display().to_string(), argument))
    }

    fn expected(interpreter: &str, argument: Option<&str>) -> Option<(String, Option<String>)> {
        Some((interpreter.to_owned(), argument.map(str::to_owned)))
    }

    #[test]
    fn a_line_is_an_interpreter_and_one_argument() {
        assert_eq!(parsed(b"#!/bin/sh\nrest"), expected("/bin/sh", None));
        assert_eq!(parsed(b"#! \t/bin/sh -e  -u \nrest"), expected("/bin/sh", Some("-e  -u")));
        assert_eq!(parsed(b"#!/bin/sh"), expected("/bin/sh", None), "a file without a newline");
    }

    #[test]
    fn what_is_no_script_is_none() {
        for head in [&b""[..], b"#", b"#!", b"#! \n/bin/sh", b"echo", b"\x7fELF"] {
            assert_eq!(parsed(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_name_longer_than_the_kernel_reads_is_refused_and_an_argument_cut() {
        let long = [b"#!/".as_slice(), &[b'x'; HEAD]].concat();
        assert_eq!(parsed(&long[..HEAD]), None);
        let long = [b"#!/bin/sh ".as_slice(), &[b'x'; HEAD]].concat();
        let (interpreter, argument) = parsed(&long[..HEAD]).expect("a script");
        assert_eq!((interpreter.as_str(), argument.map(|a| a.len())), ("/bin/sh", Some(HEAD - 10)));
    }
}
