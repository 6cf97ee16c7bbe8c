//! Whether `close()` lingers in a process: the rules in their order, each way of naming the library.

use std::fs;

use linger_testbed::active::{Programs, Says};
use linger_testbed::server::find_program;

fn programs() -> Programs {
    Programs::build().expect("programs")
}

/// A command line, its environment, and what is to be seen.
type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], Says);

fn check(programs: &Programs, cases: &[Case<'_>]) {
    for (what, line, environment, expected) in cases {
        let says = programs.run(line, environment).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!(says, *expected, "{what}: {line:?} with {environment:?}");
    }
}

#[test]
fn a_program_without_the_library_has_nothing_of_it() {
    check(&programs(), &[("bare", &["./bare"], &[], Says::Absent)]);
}

#[test]
fn however_ld_preload_names_it_it_is_on() {
    let programs = programs();
    let path = |name: &str| programs.path(name).to_str().expect("UTF-8").to_owned();
    let (full, here) = (path("liblinger.so"), path(""));
    let (colon, space) = (format!("{}:{full}", path("other.so")), format!("{full} ./other.so"));
    let (linked, copy) = (path("liblinger.so.0"), path("copy/liblinger.so.0"));
    check(
        &programs,
        &[
            ("a full path", &["./bare"], &[("LD_PRELOAD", &full)], Says::On),
            ("a relative path", &["./bare"], &[("LD_PRELOAD", "./liblinger.so")], Says::On),
            ("a path with dots", &["./bare"], &[("LD_PRELOAD", "copy/../liblinger.so")], Says::On),
            (
                "a name that is searched for",
                &["./bare"],
                &[("LD_PRELOAD", "liblinger.so"), ("LD_LIBRARY_PATH", &here)],
                Says::On,
            ),
            ("a link with another name", &["./bare"], &[("LD_PRELOAD", "./another-name.so")], Says::On),
            ("the last of two, by colon", &["./bare"], &[("LD_PRELOAD", &colon)], Says::On),
            ("the first of two, by space", &["./bare"], &[("LD_PRELOAD", &space)], Says::On),
            ("linked as well", &["./linked"], &[("LD_PRELOAD", &full), ("LD_LIBRARY_PATH", &here)], Says::On),
            ("linked as well, by its SONAME", &["./linked"], &[("LD_PRELOAD", &linked)], Says::On),
            ("a copy of what is linked", &["./linked"], &[("LD_PRELOAD", &copy)], Says::On),
            ("another library only", &["./bare"], &[("LD_PRELOAD", "./other.so")], Says::Absent),
        ],
    );
}

#[test]
fn linger_preload_has_the_last_word() {
    let programs = programs();
    let here = programs.directory().to_str().expect("UTF-8");
    let preload = ("LD_PRELOAD", "./liblinger.so");
    let found = ("LD_LIBRARY_PATH", here);
    check(
        &programs,
        &[
            ("preloaded and 0", &["./bare"], &[preload, ("LINGER_PRELOAD", "0")], Says::Off),
            ("preloaded and 1", &["./bare"], &[preload, ("LINGER_PRELOAD", "1")], Says::On),
            ("linked and 1", &["./linked"], &[found, ("LINGER_PRELOAD", "1")], Says::On),
            ("linked and 0", &["./linked"], &[found, ("LINGER_PRELOAD", "0")], Says::Off),
            ("preloaded and nonsense", &["./bare"], &[preload, ("LINGER_PRELOAD", "2")], Says::On),
            ("linked and nonsense", &["./linked"], &[found, ("LINGER_PRELOAD", "on")], Says::Off),
        ],
    );
}

#[test]
fn linked_or_loaded_it_is_off() {
    let programs = programs();
    let here = programs.directory().to_str().expect("UTF-8");
    let found = ("LD_LIBRARY_PATH", here);
    check(
        &programs,
        &[
            ("linked", &["./linked"], &[found], Says::Off),
            (
                "linked, and another preloaded",
                &["./linked"],
                &[found, ("LD_PRELOAD", "./other.so")],
                Says::Off,
            ),
            ("dlopen", &["./bare", "./liblinger.so"], &[], Says::Off),
            (
                "dlopen, and another preloaded",
                &["./bare", "./liblinger.so"],
                &[("LD_PRELOAD", "./other.so")],
                Says::Off,
            ),
            ("dlopen of what is linked", &["./linked", "./liblinger.so"], &[found], Says::Off),
            (
                "dlopen of what is preloaded",
                &["./bare", "./liblinger.so"],
                &[("LD_PRELOAD", "./liblinger.so")],
                Says::On,
            ),
        ],
    );
}

/// `ld.so --preload` leaves no trace in the environment. With a program that links the library, too, it cannot be told
/// from that alone, and the rule says off.
#[test]
fn preloaded_by_the_loader_it_is_on() {
    let programs = programs();
    let loader = programs.loader().expect("the loader");
    let here = programs.directory().to_str().expect("UTF-8");
    let found = ("LD_LIBRARY_PATH", here);
    let preload = "./other.so:./liblinger.so";
    check(
        &programs,
        &[
            ("alone", &[&loader, "--preload", "./liblinger.so", "./bare"], &[], Says::On),
            ("after another", &[&loader, "--preload", preload, "./bare"], &[], Says::On),
            ("refused", &[&loader, "--preload", preload, "./bare"], &[("LINGER_PRELOAD", "0")], Says::Off),
            ("linked as well", &[&loader, "--preload", "./liblinger.so", "./linked"], &[found], Says::Off),
        ],
    );
}

/// In a mount namespace with an /etc of its own: the real one is never touched.
#[test]
fn named_in_the_systems_file_it_is_on() {
    let programs = programs();
    find_program("unshare", "util-linux").expect("unshare");
    let etc = programs.path("etc");
    fs::create_dir(&etc).expect("a directory");
    fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache")).expect("the loader's cache");
    let namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"];
    let with_etc = "mount --bind etc /etc && exec \"$@\"";
    let line = |program: &'static str| [&namespace[..], &[with_etc, "sh", program]].concat();
    let library = programs.path("another-name.so");
    let library = library.display();
    let (bare, linked) = (line("./bare"), line("./linked"));
    let found = ("LD_LIBRARY_PATH", programs.directory().to_str().expect("UTF-8"));
    for text in [format!("{library}\n"), format!("# {library}\n./other.so\t{library} # liblinger\n")] {
        fs::write(etc.join("ld.so.preload"), text).expect("write");
        check(
            &programs,
            &[
                ("named there", &bare, &[], Says::On),
                ("named there, but refused", &bare, &[("LINGER_PRELOAD", "0")], Says::Off),
                ("linked as well", &linked, &[found], Says::On),
            ],
        );
    }
    fs::write(etc.join("ld.so.preload"), format!("# {library}\n")).expect("write");
    check(
        &programs,
        &[
            ("in a comment only", &bare, &[], Says::Absent),
            ("in a comment only, and linked", &linked, &[found], Says::Off),
        ],
    );
}
