//! syscall(2) and prctl(2): functions through which programs reach what other hooks watch.
//!
//! Both are variadic in C. On x86-64 and aarch64 Linux variadic integers travel like fixed ones, so all the arguments
//! there can be are taken and passed on; those the program did not give are as undefined as they are for libc's own.

use super::{accept, bulk, connect, dup, epoll, fork, hook, message, ring, shutdown};
use crate::letting_go::{before_end_of, Next};
use crate::{errno, fds, real, start};
use core::sync::atomic::{AtomicBool, Ordering};
use engine::leader;
use libc::{c_int, c_long, c_uint, c_ulong, mmsghdr, msghdr, ssize_t};

hook! {
    /// *Contract:* the system call `number`; -1 and errno on error.
    /// *Why hooked:* libuv closes with it, and sandboxes begin with it. *Passes through* every call not named below.
    /// *errno:* of the real call. *Signal safety:* async-signal-safe.
    fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
        let real = |number: c_long, a: usize, b: usize| real::syscall(number, a, b, c, d, e, f);
        let fd = a as c_int;
        match number {
            libc::SYS_close => match before_end_of(fd) {
                Next::Real => real(number, a, b),
                Next::NotYours => errno::fail(libc::EBADF).into(),
            },
            libc::SYS_close_range => {
                let part = |first: u32, last: u32| real(number, first as usize, last as usize) as c_int;
                bulk::sweep(a as u32, b as u32, c as c_int, part).into()
            }
            libc::SYS_shutdown => {
                shutdown::shut(fd, b as c_int, |how| real(number, a, how as usize) as c_int).into()
            }
            libc::SYS_accept | libc::SYS_accept4 => {
                let forks = fds::forks();
                let accepted = real(number, a, b);
                accept::after_accept(fd, accepted as c_int, forks);
                accepted
            }
            libc::SYS_listen => {
                fds::before_listening(fd);
                real(number, a, b)
            }
            libc::SYS_connect => {
                connect::before_connect(fd);
                real(number, a, b)
            }
            libc::SYS_dup => dup::duplicate(fd, || real(number, a, b) as c_int).into(),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_dup2 => replace(fd, b as c_int, || real(number, a, b)),
            libc::SYS_dup3 if c as c_int & !libc::O_CLOEXEC == 0 => replace(fd, b as c_int, || real(number, a, b)),
            // Whatever the command, its result is an int.
            libc::SYS_fcntl => dup::control(fd, b as c_int, || real(number, a, b) as c_int).into(),
            libc::SYS_clone | libc::SYS_clone3 => fork::counted(|| real(number, a, b)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_fork => fork::counted(|| real(number, a, b)),
            libc::SYS_exit_group => {
                errno::kept(start::before_end_of_process);
                real(number, a, b)
            }
            libc::SYS_exit => {
                if !CONFINED.load(Ordering::Relaxed) {
                    leader::ends_by_system_call(fd);
                }
                real(number, a, b)
            }
            libc::SYS_unshare => {
                bulk::unsharing(fd & libc::CLONE_FILES != 0, || real(number, a, b) as c_int).into()
            }
            libc::SYS_sendmsg => message::send(b as *const msghdr, || real(number, a, b) as ssize_t) as c_long,
            libc::SYS_recvmsg => message::receive(b as *const msghdr, || real(number, a, b) as ssize_t) as c_long,
            libc::SYS_sendmmsg => {
                message::send_many(b as *const mmsghdr, c as c_uint, || real(number, a, b) as c_int).into()
            }
            libc::SYS_recvmmsg => {
                message::receive_many(b as *const mmsghdr, || real(number, a, b) as c_int).into()
            }
            libc::SYS_epoll_ctl => epoll::watch(fd, b as c_int, c as c_int, || real(number, a, b) as c_int).into(),
            libc::SYS_epoll_create1 => epoll::created(real(number, a, b) as c_int).into(),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_create => epoll::created(real(number, a, b) as c_int).into(),
            libc::SYS_io_uring_register => {
                ring::before_register(b as c_uint, c, d as c_uint);
                real(number, a, b)
            }
            libc::SYS_prctl => {
                before_prctl(a as c_int, b as c_ulong, c as c_ulong);
                real(number, a, b)
            }
            libc::SYS_seccomp => {
                before_seccomp(a as c_uint, c);
                real(number, a, b)
            }
            _ => real(number, a, b),
        }
    }
}

fn replace(old: c_int, new: c_int, real: impl Fn() -> c_long) -> c_long {
    dup::before_replacement(old, new);
    let result = real();
    dup::noted_replacement(old, result as c_int);
    result
}

hook! {
    /// *Contract:* many options. *Why hooked:* for PR_SET_SECCOMP, after which one of our system calls may be a crime.
    /// *Passes through* everything else. *errno:* of the real call. *Signal safety:* async-signal-safe.
    fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
        before_prctl(option, a, b);
        real::prctl(option, a, b, c, d)
    }
}

fn before_prctl(option: c_int, mode: c_ulong, filter: c_ulong) {
    match (option, mode as c_uint) {
        (libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) => before_sandbox(),
        (libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER) if filter != 0 => before_sandbox(),
        _ => {}
    }
}

/// What only asks what the kernel can do confines nobody: other operations, and filters without a program.
fn before_seccomp(operation: c_uint, filter: usize) {
    match operation {
        libc::SECCOMP_SET_MODE_STRICT => before_sandbox(),
        libc::SECCOMP_SET_MODE_FILTER if filter != 0 => before_sandbox(),
        _ => {}
    }
}

/// The program has forbidden itself system calls, also where every hook passes through anyway.
static CONFINED: AtomicBool = AtomicBool::new(false);

/// The program is about to forbid itself system calls: from here on every hook passes through.
fn before_sandbox() {
    CONFINED.store(true, Ordering::Relaxed);
    errno::kept(start::go_passive);
}
