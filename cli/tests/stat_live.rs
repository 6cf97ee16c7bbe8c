//! `linger stat --watch` on a terminal.

mod stat_subjects;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::Child;

use linger_testbed::netns::isolated;
use linger_testbed::DEADLINE;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{kill_process, waitpid, Pid, Signal, WaitOptions};
use rustix::termios::{tcgetattr, LocalModes};
use stat_subjects::{busy, linger};

/// A terminal and what runs on it.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    running: Child,
    shown: Vec<u8>,
}

impl Terminal {
    fn run(arguments: &[&str], columns: u16) -> Terminal {
        let (mut ours, mut theirs) = (-1, -1);
        let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: two numbers and a size that live until the call returns; no name, no settings.
        let failed =
            unsafe { libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null(), &size) };
        assert_eq!(failed, 0, "openpty");
        // SAFETY: fresh numbers that nobody else has.
        let (ours, theirs) = unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        let end = || theirs.try_clone().expect("dup");
        let mut command = linger();
        command
            .args(arguments)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        let running = command.spawn().expect("start");
        Terminal { ours, theirs, running, shown: Vec::new() }
    }

    fn shows(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.shown).contains(text)
    }

    fn read_until(&mut self, text: &str) {
        let timeout = Timespec::try_from(DEADLINE).expect("a time");
        while !self.shows(text) {
            let mut fds = [PollFd::new(&self.ours, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&timeout)).expect("poll");
            assert!(ready > 0, "no {text:?} in {:?}", String::from_utf8_lossy(&self.shown));
            let mut bytes = [0; 4096];
            let count = self.ours.read(&mut bytes).expect("read");
            self.shown.extend(&bytes[..count]);
        }
    }

    fn is_immediate(&self) -> bool {
        let modes = tcgetattr(self.theirs.as_fd()).expect("attributes").local_modes;
        let immediate = !modes.intersects(LocalModes::ICANON | LocalModes::ECHO);
        assert!(immediate || modes.contains(LocalModes::ICANON | LocalModes::ECHO), "neither: {modes:?}");
        immediate
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

#[test]
fn a_live_view_is_drawn_in_place_and_leaves_the_terminal_as_it_was() {
    isolated(|| {
        let (mut closer, pid, clients) = busy(2);
        let pid = pid.to_string();
        let by_key = |terminal: &mut Terminal| terminal.ours.write_all(b"xq").expect("a key");
        let by_signal = |terminal: &mut Terminal| {
            kill_process(Pid::from_child(&terminal.running), Signal::TERM).expect("kill");
        };
        let ways: [&dyn Fn(&mut Terminal); 2] = [&by_key, &by_signal];
        for leave in ways {
            let mut terminal = Terminal::run(&[&pid, "--watch=0.1"], 200);
            terminal.read_until(ENTER);
            terminal.read_until("each second");
            assert!(terminal.is_immediate());
            assert!(
                terminal.shows("\u{1b}[1mPID"),
                "no header in bold: {:?}",
                String::from_utf8_lossy(&terminal.shown)
            );
            assert!(terminal.shows("\u{1b}[H"), "not drawn from the top");
            leave(&mut terminal);
            terminal.read_until(LEAVE);
            assert_eq!(terminal.running.wait().expect("wait").code(), Some(0));
            assert!(!terminal.is_immediate(), "the terminal is not as it was");
        }
        let mut terminal = Terminal::run(&[&pid, "--watch=0.1"], 200);
        terminal.read_until("call-latency");
        // Ctrl-Z and fg.
        kill_process(Pid::from_child(&terminal.running), Signal::TSTP).expect("kill");
        terminal.read_until(LEAVE);
        let status = waitpid(Some(Pid::from_child(&terminal.running)), WaitOptions::UNTRACED).expect("wait");
        assert!(status.is_some_and(|(_, status)| status.stopped()), "{status:?}");
        assert!(!terminal.is_immediate(), "the shell has a terminal that is not as it was");
        terminal.shown.clear();
        kill_process(Pid::from_child(&terminal.running), Signal::CONT).expect("kill");
        terminal.read_until(ENTER);
        terminal.read_until("call-latency");
        assert!(terminal.is_immediate());
        drop(clients);
        closer.wait_until_pending(0).expect("they end");
        drop(closer);
        terminal.read_until(LEAVE);
        terminal.read_until(&format!("there is no process {pid}"));
        assert_eq!(terminal.running.wait().expect("wait").code(), Some(3));
    });
}

#[test]
fn a_view_is_no_wider_than_the_terminal_and_no_longer() {
    isolated(|| {
        let (_closer, pid, _clients) = busy(30);
        let mut terminal = Terminal::run(&[&pid.to_string(), "--watch=60", "--connections"], 40);
        terminal.read_until("more lines");
        terminal.ours.write_all(b"q").expect("a key");
        terminal.read_until(LEAVE);
        let shown = String::from_utf8_lossy(&terminal.shown).into_owned();
        let frame = shown
            .split(LEAVE)
            .next()
            .expect("a frame")
            .rsplit("\u{1b}[H")
            .next()
            .expect("its lines")
            .to_owned();
        let lines: Vec<String> =
            frame.split('\n').map(|line| without_sequences(line.trim_end_matches('\r'))).collect();
        assert_eq!(lines.len(), 24, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:#?}");
    });
}

/// What is seen of a line.
fn without_sequences(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or("")
    })
}
