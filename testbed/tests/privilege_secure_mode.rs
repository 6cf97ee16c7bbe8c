//! Programs with raised privileges (AT_SECURE): whoever starts them chose their environment, so no variable of liblinger's
//! has a say.

use std::fs;

use linger_testbed::active::{Programs, Says};
use linger_testbed::server::find_program;
use linger_testbed::{netns, settings};

fn programs() -> Programs {
    Programs::build().expect("programs")
}

/// In a mount namespace with an /etc of its own, where the system's file names the library.
fn with_the_systems_file(programs: &Programs, program: &'static str) -> Vec<&'static str> {
    find_program("unshare", "util-linux").expect("unshare");
    let etc = programs.path("etc");
    if !etc.exists() {
        fs::create_dir(&etc).expect("a directory");
        fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache")).expect("the loader's cache");
        let library = programs.path("another-name.so");
        fs::write(etc.join("ld.so.preload"), format!("{}\n", library.display())).expect("write");
    }
    let mount = "mount --bind etc /etc && exec \"$@\"";
    vec!["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", program]
}

#[test]
fn the_loader_itself_ignores_ld_preload_then() {
    let programs = programs();
    let library = programs.path("liblinger.so");
    let environment = [("LD_PRELOAD", library.to_str().expect("UTF-8"))];
    assert_eq!(programs.run(&["./bare"], &environment).expect("run"), Says::On);
    let (says, _) = programs.run_securely(&["./bare"], "bare", &environment).expect("run");
    assert_eq!(says, Says::Absent, "this is not how set-user-ID programs run");
}

#[test]
fn linger_preload_does_not_turn_a_linked_program_on() {
    let programs = programs();
    let environment = [("LINGER_PRELOAD", "1")];
    assert_eq!(programs.run(&["./found"], &environment).expect("run"), Says::On);
    let (says, said) = programs.run_securely(&["./found"], "found", &environment).expect("run");
    assert_eq!((says, &*said), (Says::Off, ""));
}

/// The names in LD_PRELOAD that the loader ignored are not to be read by anybody else either.
#[test]
fn ld_preload_does_not_turn_a_linked_program_on() {
    let programs = programs();
    let library = programs.path("liblinger.so");
    let environment = [("LD_PRELOAD", library.to_str().expect("UTF-8"))];
    assert_eq!(programs.run(&["./found"], &environment).expect("run"), Says::On);
    let (says, said) = programs.run_securely(&["./found"], "found", &environment).expect("run");
    assert_eq!((says, &*said), (Says::Off, ""));
}

#[test]
fn linger_preload_does_not_turn_off_what_the_system_turned_on() {
    let programs = programs();
    let line = with_the_systems_file(&programs, "./bare");
    let environment = [("LINGER_PRELOAD", "0")];
    assert_eq!(programs.run(&line, &environment).expect("run"), Says::Off);
    let (says, said) = programs.run_securely(&line, "bare", &environment).expect("run");
    assert_eq!((says, &*said), (Says::On, ""));
}

/// Neither a wrong value nor a wish for messages is answered.
#[test]
fn no_setting_is_even_read() {
    let programs = programs();
    let line = with_the_systems_file(&programs, "./bare");
    let wrong = settings::names().into_iter().map(|name| (name, "wrong"));
    for (name, value) in wrong.chain([("LINGER_LOG", "info")]) {
        let heard = programs.said(&line, &[(name, value)]).expect("run");
        assert!(heard.contains("linger"), "{name}={value} is never answered: {heard:?}");
        let (says, said) = programs.run_securely(&line, "bare", &[(name, value)]).expect("run");
        assert_eq!((says, &*said), (Says::On, ""), "{name}={value}");
    }
}

/// Values that are right, and with which nothing would linger: whoever starts the program could have its responses lost.
#[test]
fn no_right_value_has_its_effect_either() {
    netns::isolated(|| {
        let programs = programs();
        let line = with_the_systems_file(&programs, "./lets_go");
        let lingering =
            |secure, environment: &[(&str, &str)]| programs.answer(&line, secure, environment).expect("run");
        assert_eq!(lingering(None, &[]), "1", "it lingers with the default settings");
        assert_eq!(lingering(Some("lets_go"), &[]), "1");
        for setting in [("LINGER_WHEN", "unread"), ("LINGER_MAX", "0"), (settings::GATE, "0")] {
            assert_eq!(lingering(None, &[setting]), "0", "{setting:?} has no effect");
            assert_eq!(lingering(Some("lets_go"), &[setting]), "1", "{setting:?} has an effect");
        }
    });
}
