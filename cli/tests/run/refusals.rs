//! What is not run, and what people are told instead.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::stage::{library, linger_at, linger_run, stderr, Stage};

const NOTHING: &str = "int main(void) { return 0; }";

/// Runs it, and expects one line with these words, and nothing run.
fn refused(command: &mut Command, code: i32, words: &[&str]) {
    let output = command.output().expect("run");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("linger: "), "{message}");
    assert!(output.stdout.is_empty(), "it was run: {}", String::from_utf8_lossy(&output.stdout));
    for word in words {
        assert!(message.contains(word), "no {word:?} in: {message}");
    }
}

/// The command as a program of that name, and refused because of what it is.
fn refused_program(program: &Path, code: i32, words: &[&str]) {
    let name = program.display().to_string();
    refused(linger_run().arg(program), code, &[&[name.as_str()], words].concat());
}

#[test]
fn a_name_that_is_not_in_path() {
    refused(linger_run().arg("no-such-server"), 127, &["no-such-server", "not found in PATH", "install"]);
    refused(linger_run().arg(""), 127, &["not found in PATH"]);
    refused(linger_run().env("PATH", "/nonexistent").arg("sh"), 127, &["not found in PATH"]);
}

#[test]
fn a_path_that_is_not_there() {
    refused(linger_run().arg("/nonexistent/server"), 127, &["/nonexistent/server", "no such file"]);
    refused(linger_run().arg("/etc/passwd/server"), 127, &["no such file"]);
}

#[test]
fn a_directory() {
    refused(linger_run().arg("/usr"), 126, &["/usr is a directory", "name the program"]);
}

#[test]
fn a_file_that_is_not_executable() {
    let stage = Stage::new();
    let file = stage.path("server");
    fs::write(&file, "#!/bin/sh\necho run\n").expect("write");
    refused_program(&file, 126, &["not executable", "chmod +x"]);
    refused(linger_run().env("PATH", stage.root()).arg("server"), 126, &["not executable"]);
}

#[test]
fn a_file_that_is_not_executable_is_passed_over_in_path() {
    let stage = Stage::new();
    fs::create_dir(stage.path("first")).expect("directory");
    fs::write(stage.path("first/server"), "").expect("write");
    stage.executable("second/server", "#!/bin/sh\necho the second\n");
    let path = format!("{0}/first:{0}/second", stage.root().display());
    let text = crate::stage::printed(linger_run().env("PATH", path).arg("server"));
    assert_eq!(text, "the second\n");
}

#[test]
fn a_static_program() {
    let stage = Stage::new();
    let words = ["statically linked", "liblinger.a", "linger_close(3)"];
    refused_program(&stage.compile("static", NOTHING, &["-static"]), 126, &words);
    refused_program(&stage.compile("static-pie", NOTHING, &["-static-pie"]), 126, &words);
}

#[test]
fn a_static_go_program() {
    let stage = Stage::new();
    let program = stage.compile("static", NOTHING, &["-static"]);
    add_go_section(&stage, &program);
    refused_program(&program, 126, &["Go program", "proxy"]);
}

/// What the Go linker leaves in every program.
pub fn add_go_section(stage: &Stage, program: &Path) {
    let section = stage.path("section");
    fs::write(&section, "\u{ff} Go buildinf:").expect("write");
    let addition = format!(".go.buildinfo={}", section.display());
    let done = Command::new("objcopy").args(["--add-section", &addition]).arg(program).status();
    assert!(done.expect("objcopy").success());
}

#[test]
fn a_program_for_musl() {
    let stage = Stage::new();
    let program = stage.compile("musl", NOTHING, &["-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"]);
    refused_program(&program, 126, &["linked with musl", "glibc build", "liblinger.a"]);
}

#[test]
fn a_program_for_another_loader() {
    let stage = Stage::new();
    let program = stage.compile("android", NOTHING, &["-Wl,--dynamic-linker=/system/bin/linker64"]);
    refused_program(&program, 126, &["/system/bin/linker64", "not glibc's loader", "glibc build"]);
}

#[test]
fn a_program_whose_loader_is_missing() {
    let stage = Stage::new();
    let program = stage.compile("lost", NOTHING, &["-Wl,--dynamic-linker=/nonexistent/ld-linux.so.2"]);
    refused_program(&program, 127, &["/nonexistent/ld-linux.so.2", "not there", "install"]);
}

#[test]
fn a_program_for_another_machine() {
    let stage = Stage::new();
    let program = stage.compile("native", NOTHING, &[]);
    let mut bytes = fs::read(&program).expect("read");
    // e_machine: EM_S390, which these tests do not run on, and nobody's byte order of it matters.
    bytes[18..20].copy_from_slice(&22u16.to_ne_bytes());
    let library = library().display().to_string();
    refused_program(&stage.executable("foreign", bytes), 126, &["for s390", &library, "--library"]);
}

#[test]
fn a_32_bit_program() {
    let stage = Stage::new();
    // An ELF header with no program headers: 32-bit, this machine's byte order, EXEC, i386.
    let mut header = [0u8; 52];
    header[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    if cfg!(target_endian = "big") {
        header[5] = 2;
    }
    header[16..18].copy_from_slice(&2u16.to_ne_bytes());
    header[18..20].copy_from_slice(&3u16.to_ne_bytes());
    refused_program(&stage.executable("old", header), 126, &["32-bit", "64-bit build"]);
}

#[test]
fn an_object_file() {
    let stage = Stage::new();
    let object = stage.compile("object.o", NOTHING, &["-c"]);
    fs::set_permissions(&object, Permissions::from_mode(0o755)).expect("permissions");
    refused_program(&object, 126, &["not a program", "link it"]);
}

#[test]
fn a_damaged_program() {
    let stage = Stage::new();
    refused_program(&stage.executable("damaged", b"\x7fELF and then nothing"), 126, &["damaged", "anew"]);
}

#[test]
fn a_library_that_is_not_there() {
    let words = ["--library names /nonexistent/x.so", "No such file", "make install"];
    refused(linger_run().args(["--library", "/nonexistent/x.so", "true"]), 125, &words);
    let mut by_environment = linger_run();
    by_environment.env("LINGER_LIBRARY", "/nonexistent/y.so").arg("true");
    refused(&mut by_environment, 125, &["LINGER_LIBRARY names /nonexistent/y.so"]);
}

#[test]
fn a_library_that_is_another_one() {
    let stage = Stage::new();
    let other = stage.compile("liblinger.so", "int other;", &["-shared"]);
    for other in [other, stage.executable("text.so", "no library")] {
        let mut command = linger_run();
        command.arg("--library").arg(&other).arg("true");
        refused(&mut command, 125, &["which is not liblinger", &other.display().to_string()]);
    }
}

#[test]
fn a_library_that_ld_preload_cannot_name() {
    let stage = Stage::new();
    let library = stage.executable("a directory/liblinger.so", fs::read(library()).expect("library"));
    let words = ["LD_PRELOAD cannot hold", "copy the library"];
    refused(linger_run().arg("--library").arg(library).arg("true"), 125, &words);
}

#[test]
fn no_library_anywhere() {
    let stage = Stage::new();
    let alone =
        stage.executable("bin/linger", fs::read(env!("CARGO_BIN_EXE_linger")).expect("the command itself"));
    let lib = stage.path("lib").display().to_string();
    let words = ["found no liblinger.so", &lib, "install", "--library", "LINGER_LIBRARY"];
    refused(linger_at(alone).args(["run", "true"]), 125, &words);
}

#[test]
fn wrong_arguments_have_a_code_of_their_own() {
    for (arguments, word) in [
        (&["--timeout", "30", "true"][..], "30s"),
        (&["--idle", "0s", "true"], "1ms"),
        (&["--when", "always", "true"], "unread"),
        (&["--max", "1000001", "true"], "1000000"),
        (&["--max-bytes", "many", "true"], "64KiB"),
        (&["--bogus", "true"], "--bogus"),
        (&["--json", "true"], "--dry-run"),
        (&[], "COMMAND"),
    ] {
        let output = linger_run().args(arguments).output().expect("run");
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
    }
}
