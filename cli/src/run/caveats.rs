//! Programs into which the library gets, but not to where the connections are: said, not refused.
//!
//! Only what is documented of a program or was seen is here.

use std::ffi::{OsStr, OsString};

use super::environment::Environment;
use super::route::Route;

/// One line for each thing that may keep the library from having any effect.
pub fn find(route: &Route, environment: &Environment) -> Vec<String> {
    let mut caveats = Vec::new();
    if environment.get("LINGER_PRELOAD") == Some(OsStr::new("0")) {
        caveats.push("LINGER_PRELOAD=0 turns liblinger off: unset it".to_owned());
    }
    if route.drops_preloads {
        caveats.push(
            "env takes LD_PRELOAD away again: put linger run behind env, before the program".to_owned(),
        );
    }
    match &route.program {
        None => caveats.push(format!(
            "{} cannot be read by this user: whether liblinger can be preloaded into it will show (LINGER_LOG=info)",
            route.last().display()
        )),
        Some((_, elf)) if elf.is_go => caveats.push(format!(
            "{} is a Go program: it makes most system calls itself, past liblinger",
            route.last().display()
        )),
        Some(_) => {}
    }
    // A command that is a script is known by its own name, not by its interpreter's.
    let name = route.files.first().and_then(|file| file.file_name()).unwrap_or_default();
    let last = route.last().file_name().unwrap_or_default();
    let arguments = route.words.get(1..).unwrap_or_default();
    let known = [name, last].iter().find_map(|name| cleaner(&name.to_string_lossy(), arguments));
    caveats.extend(known);
    caveats
}

/// What is known of programs that start others without the environment they got.
fn cleaner(name: &str, arguments: &[OsString]) -> Option<String> {
    let given = |options: &[&str]| arguments.iter().any(|word| options.iter().any(|option| word == option));
    let letter = |wanted: char| {
        arguments.iter().map(|word| word.to_string_lossy()).any(|word| {
            word.strip_prefix('-')
                .is_some_and(|letters| !letters.starts_with('-') && letters.contains(wanted))
        })
    };
    let advice = match name {
        "sudo" | "doas" | "pkexec" => format!("write {name} linger run COMMAND"),
        "su" | "runuser" if given(&["-", "--login"]) || letter('l') => {
            format!("put linger run into the command that {name} runs")
        }
        "systemd-run" => "write systemd-run linger run COMMAND".to_owned(),
        "systemctl" | "service" | "invoke-rc.d" => {
            "put Environment=LD_PRELOAD=... into a drop-in of the service (systemctl edit)".to_owned()
        }
        "docker" | "podman" | "nerdctl" => "run linger inside the container".to_owned(),
        "inetd" | "openbsd-inetd" if !letter('E') => "give it -E".to_owned(),
        "sshd" => "name the library in /etc/ld.so.preload".to_owned(),
        "dovecot" => "add LD_PRELOAD and the LINGER_ variables to its import_environment".to_owned(),
        "postfix" => "add LD_PRELOAD and the LINGER_ variables to its import_environment".to_owned(),
        _ => return None,
    };
    Some(format!("{name} does not pass its environment on to what it starts: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caveat(words: &[&str]) -> Option<String> {
        let arguments: Vec<OsString> = words[1..].iter().map(OsString::from).collect();
        cleaner(words[0], &arguments)
    }

    #[test]
    fn programs_known_to_clean_the_environment_are_known() {
        for words in [
            &["sshd", "-D"][..],
            &["systemd-run", "nginx"],
            &["inetd", "-i"],
            &["su", "-", "www-data"],
            &["su", "-lc", "nginx"],
            &["dovecot"],
        ] {
            assert!(caveat(words).is_some_and(|line| line.contains(words[0])), "{words:?}");
        }
    }

    #[test]
    fn others_and_those_told_not_to_are_not() {
        for words in
            [&["inetd", "-E"][..], &["inetd", "-di", "-lE"], &["su", "www-data", "-c", "x"], &["nginx"]]
        {
            assert_eq!(caveat(words), None, "{words:?}");
        }
    }
}
