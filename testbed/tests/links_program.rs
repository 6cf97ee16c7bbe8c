//! What people see of `linger-link`.

use std::process::{Command, Output};

use linger_testbed::netns;

fn linger_link(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_linger-link")).args(arguments).output().expect("run linger-link")
}

#[test]
fn its_help_has_examples_and_says_what_it_needs() {
    let output = linger_link(&["--help"]);
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for word in ["Examples:", "LINK_FAR", "Exit status", "/dev/net/tun"] {
        assert!(help.contains(word), "no {word} in:\n{help}");
    }
}

#[test]
fn a_link_that_cannot_be_is_refused_in_one_line() {
    netns::isolated(|| {
        let output = linger_link(&["--loss", "50", "--", "true"]);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors.trim_end(), "linger-link: a loss of 50 percent is not 0 to 5");
    });
}

#[test]
fn the_two_ends_talk_and_the_near_ones_status_is_passed_on() {
    netns::isolated(|| {
        let page = "exec python3 -m http.server --bind $LINK_FAR 8000 >/dev/null 2>&1";
        let fetch =
            "curl -s -o /dev/null --retry 20 --retry-delay 1 --retry-connrefused http://$LINK_FAR:8000/ && exit 7";
        let output = linger_link(&["--delay", "5", "--far", page, "--", "sh", "-c", fetch]);
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("packets carried") && !errors.contains(" 0 packets carried"), "{errors}");
    });
}
