//! The ways to let go of a connection, each followed by a look at what it left behind.

use std::collections::VecDeque;
use std::ffi::{c_int, c_uint};

use anyhow::{bail, ensure, Context, Result};

use crate::answer::answer;
use crate::precautions::{enter_sandbox, handle_a_signal};
use crate::{interface, say};

/// What `errno` is before a call that must keep it.
const ERRNO: c_int = 77;

/// Descriptors opened under the numbers just freed: a second close of such a number would hit one of them.
const SENTINELS: usize = 4;

/// What was inherited and opened at the start has lower numbers.
const INHERITED: c_int = 256;

/// The state of the program.
pub struct Server {
    listener: c_int,
    /// Made where a way needs it.
    epoll: Option<c_int>,
    /// /dev/null
    inert: c_int,
    sentinels: VecDeque<c_int>,
    /// How many of them are kept.
    sentinels_kept: usize,
    /// They take up the numbers that [`Server::leave_free`] does not leave free.
    fillers: Vec<c_int>,
    children: Vec<libc::pid_t>,
    kept: Vec<c_int>,
    /// What the table held at first.
    at_first: Vec<c_int>,
    mask: libc::sigset_t,
    close_may_fail: bool,
}

impl Server {
    pub fn new(listener: c_int) -> Result<Self> {
        // SAFETY: valid arguments; all-zero is a valid signal set, which is filled.
        let (inert, mask) = unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
            (libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC), mask)
        };
        ensure!(inert >= 0, "no descriptor: {}", std::io::Error::last_os_error());
        handle_a_signal();
        // SAFETY: numbers only.
        let is_open = |number: &c_int| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0;
        let at_first = (0..INHERITED).filter(is_open).collect();
        Ok(Self {
            listener,
            epoll: None,
            inert,
            sentinels: VecDeque::new(),
            sentinels_kept: SENTINELS,
            fillers: Vec::new(),
            children: Vec::new(),
            kept: Vec::new(),
            at_first,
            mask,
            close_may_fail: std::env::var_os("EVERY_WAY_CLOSE_MAY_FAIL").is_some(),
        })
    }

    /// Takes all descriptors but `free`, until the report.
    pub fn leave_free(&mut self, free: usize) -> Result<()> {
        while !self.sentinels.is_empty() {
            self.relieve();
        }
        self.sentinels_kept = 0;
        loop {
            // SAFETY: dup takes a number.
            match unsafe { libc::dup(self.inert) } {
                -1 => break,
                taken => self.fillers.push(taken),
            }
        }
        for _ in 0..free {
            let taken = self.fillers.pop().context("fewer descriptors than are to be free")?;
            // SAFETY: a number of ours.
            unsafe { libc::close(taken) };
        }
        Ok(())
    }

    pub fn accept(&mut self) -> Result<c_int> {
        // SAFETY: no address is asked for.
        let connection = unsafe { libc::accept(self.listener, std::ptr::null_mut(), std::ptr::null_mut()) };
        ensure!(connection >= 0, "accept: {}", std::io::Error::last_os_error());
        let room: c_int = 1 << 20;
        // SAFETY: the value lives until the call returns.
        unsafe {
            libc::setsockopt(connection, libc::SOL_SOCKET, libc::SO_SNDBUF, (&raw const room).cast(), 4);
        }
        Ok(connection)
    }

    pub fn serve(&mut self, connection: c_int, way: &str, id: usize, bytes: usize) -> Result<()> {
        match way {
            "fork" | "exit" | "sandbox" => return self.serve_in_child(connection, way, id, bytes),
            "fill" => {
                // SAFETY: a number of ours.
                unsafe { libc::close(connection) };
                self.leave_free(bytes)?;
                say(&format!("gone {id}"));
                return Ok(());
            }
            "keep" => {
                answer(connection, id, bytes);
                self.kept.push(connection);
                // The report comes as a connection, too.
                if let Some(filler) = self.fillers.pop() {
                    // SAFETY: a number of ours.
                    unsafe { libc::close(filler) };
                }
                say(&format!("gone {id}"));
                return Ok(());
            }
            _ => {}
        }
        // What must be undone before a connection outlives its number: signals, and a close that waits.
        match way {
            // SAFETY: numbers only.
            "dup2" => unsafe {
                libc::fcntl(
                    connection,
                    libc::F_SETFL,
                    libc::fcntl(connection, libc::F_GETFL) | libc::O_ASYNC,
                );
            },
            "syscall" => {
                let wait = libc::linger { l_onoff: 1, l_linger: 1 };
                // SAFETY: the value lives until the call returns.
                unsafe {
                    let length = size_of_val(&wait) as libc::socklen_t;
                    libc::setsockopt(
                        connection,
                        libc::SOL_SOCKET,
                        libc::SO_LINGER,
                        (&raw const wait).cast(),
                        length,
                    );
                }
            }
            _ => {}
        }
        if way.starts_with("epoll") {
            let epoll = self.epoll_set()?;
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: connection as u64 };
            // SAFETY: the event lives until the call returns.
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, connection, &mut event) };
        }
        answer(connection, id, bytes);
        if way == "linger_close_wait" {
            say(&format!("gone {id}"));
        }
        set_errno(ERRNO);
        let result = self.let_go(connection, way)?;
        let errno = std::io::Error::last_os_error().raw_os_error();
        if result < 0 && self.close_may_fail {
            // What must be so all the same: the number is free.
        } else if result < 0 || errno != Some(ERRNO) {
            say(&format!("wrong {way}: it answered {result}, errno {errno:?}"));
        }
        self.occupy(connection, way);
        if way != "linger_close_wait" {
            say(&format!("gone {id}"));
        }
        Ok(())
    }

    fn epoll_set(&mut self) -> Result<c_int> {
        if let Some(epoll) = self.epoll {
            return Ok(epoll);
        }
        // SAFETY: takes flags.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        ensure!(epoll >= 0, "epoll_create1: {}", std::io::Error::last_os_error());
        self.epoll = Some(epoll);
        Ok(epoll)
    }

    /// Those that are open once [`Server::settle`] has given back what was opened for a while.
    pub fn own_numbers(&self) -> Vec<c_int> {
        self.at_first.iter().chain(&self.epoll).chain(&self.kept).copied().collect()
    }

    fn let_go(&mut self, fd: c_int, way: &str) -> Result<c_int> {
        // SAFETY: `fd` is ours, and used no more.
        Ok(unsafe {
            match way {
                "close" | "epoll" => libc::close(fd),
                "shutdown" => libc::shutdown(fd, libc::SHUT_RDWR) | libc::close(fd),
                "dup2" => {
                    let replaced = libc::dup2(self.inert, fd);
                    if replaced != fd {
                        say(&format!("wrong dup2: it answered {replaced}"));
                    }
                    libc::close(fd)
                }
                "duplicated" => {
                    let second = libc::dup(fd);
                    libc::close(second) | libc::close(fd)
                }
                "syscall" => libc::syscall(libc::SYS_close, fd) as c_int,
                "close_range" => libc::close_range(fd as c_uint, fd as c_uint, 0),
                "fclose" => {
                    let stream = libc::fdopen(fd, c"r+".as_ptr());
                    if stream.is_null() {
                        say(&format!("wrong fdopen: {}", std::io::Error::last_os_error()));
                        return Ok(libc::close(fd));
                    }
                    libc::fclose(stream)
                }
                "defect" => {
                    // Whatever the defect left undone, the number is still the program's.
                    let answer = closing(c"linger_close")?(fd, -1);
                    let errno = std::io::Error::last_os_error().raw_os_error();
                    if answer != -1 || errno != Some(libc::EINVAL) {
                        say(&format!("wrong linger_close: it answered {answer}, errno {errno:?}"));
                    }
                    set_errno(ERRNO);
                    libc::close(fd)
                }
                "linger_close" | "epoll_linger_close" => closing(c"linger_close")?(fd, -1),
                "linger_close_wait" => closing(c"linger_close_wait")?(fd, -1),
                _ => bail!("there is no way {way:?}"),
            }
        })
    }

    /// The number is free: something of ours takes it, and stays for a while.
    fn occupy(&mut self, number: c_int, way: &str) {
        // SAFETY: numbers of ours.
        let taken = unsafe { libc::fcntl(self.inert, libc::F_DUPFD_CLOEXEC, number) };
        if taken != number {
            say(&format!("wrong {way}: number {number} is not free, {taken} is"));
        }
        self.sentinels.push_back(taken);
        if self.sentinels.len() > self.sentinels_kept {
            self.relieve();
        }
    }

    fn relieve(&mut self) {
        let Some(sentinel) = self.sentinels.pop_front() else { return };
        let link = std::fs::read_link(format!("/proc/self/fd/{sentinel}"));
        if link.as_ref().is_ok_and(|link| link.as_os_str() != "/dev/null") {
            say(&format!("wrong: number {sentinel} was closed behind the program's back: {link:?}"));
        }
        // SAFETY: a number of ours.
        if unsafe { libc::close(sentinel) } != 0 {
            say(&format!("wrong: number {sentinel} was closed behind the program's back"));
        }
    }

    fn serve_in_child(&mut self, connection: c_int, way: &str, id: usize, bytes: usize) -> Result<()> {
        // SAFETY: this program has one thread of its own.
        match unsafe { libc::fork() } {
            -1 => bail!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                answer(connection, id, bytes);
                // SAFETY: numbers of ours; the child ends here.
                unsafe {
                    match way {
                        "exit" => {
                            say(&format!("gone {id}"));
                            libc::exit(0)
                        }
                        "sandbox" => {
                            libc::close(connection);
                            enter_sandbox();
                        }
                        _ => {
                            libc::close(connection);
                        }
                    }
                    say(&format!("gone {id}"));
                    libc::_exit(0)
                }
            }
            child => self.children.push(child),
        }
        // SAFETY: a number of ours.
        if unsafe { libc::close(connection) } != 0 {
            say(&format!("wrong {way}: close of the parent's number failed"));
        }
        self.occupy(connection, way);
        Ok(())
    }

    /// Waits for all children, and gives back what was opened.
    pub fn settle(&mut self) {
        for child in self.children.drain(..) {
            let mut status = 0;
            // SAFETY: a child of ours; the status lives until the call returns.
            let reaped = unsafe { libc::waitpid(child, &mut status, 0) };
            if reaped != child || status != 0 {
                say(&format!("wrong: child {child} ended with status {status:#x}"));
            }
        }
        for filler in self.fillers.drain(..) {
            // SAFETY: a number of ours.
            unsafe { libc::close(filler) };
        }
        while !self.sentinels.is_empty() {
            self.relieve();
        }
        if let Some(epoll) = self.epoll {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: room for one event.
            if unsafe { libc::epoll_wait(epoll, &mut event, 1, 0) } > 0 {
                let ghost = event.u64;
                say(&format!("wrong: an event for {ghost}, which is closed"));
            }
        }
        // SAFETY: all-zero is a valid signal set, which is filled; both sets are compared as bytes.
        let same = unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
            (1..65).all(|n| libc::sigismember(&mask, n) == libc::sigismember(&self.mask, n))
        };
        if !same {
            say("wrong: the signal mask was changed");
        }
    }
}

fn closing(name: &std::ffi::CStr) -> Result<extern "C" fn(c_int, c_int) -> c_int> {
    interface::closing(name).with_context(|| format!("there is no {name:?}"))
}

fn set_errno(value: c_int) {
    // SAFETY: the address of the calling thread's errno is always valid.
    unsafe { *libc::__errno_location() = value };
}
