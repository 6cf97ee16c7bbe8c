//! Every system call the engine makes, and how each can fail.
//!
//! The errors are those of the manual pages (man-pages 6), without the ones that only a wrong argument of ours brings
//! about (EBADF, EFAULT, ENOTSOCK...), and with those that only the sources of Linux name; the last column says where they
//! are from. The tests include this file, and fail for a call of the engine that is missing in it, and where connections become
//! something else than it says.

use libc::{c_int, c_long};

/// How long a failure can last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasts {
    /// One call, or every one from now on.
    Any,
    /// It passes by its nature: a signal came, a race was lost. Nothing is promised where it never does.
    Passes,
}

/// One failure of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the kernel answers.
    pub errno: c_int,
    /// For how long.
    pub lasts: Lasts,
    /// Where it is not what becomes of connections with the other failures of the call.
    pub becomes: Option<Becomes>,
}

/// What can become of connections: a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fates(u8);

impl Fates {
    /// None of them.
    pub const NONE: Fates = Fates(0);
    /// They linger: nothing is lost.
    pub const LINGERS: Fates = Fates(1);
    /// FIN is sent, what has arrived is discarded, and they are closed without waiting. Counted as `closed`.
    pub const INLINE: Fates = Fates(2);
    /// close(2), and no more.
    pub const PLAIN: Fates = Fates(4);

    /// What is in one of the two.
    pub const fn or(self, other: Fates) -> Fates {
        Fates(self.0 | other.0)
    }

    /// Whether all of it is in `other`.
    pub const fn within(self, other: Fates) -> bool {
        self.0 & !other.0 == 0
    }
}

/// What may become of connections when a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Becomes {
    /// Where it fails once, at its first or second occurrence.
    pub once: Fates,
    /// Where it fails as long as it can.
    pub always: Fates,
}

impl Becomes {
    const fn once_and_always(once: Fates, always: Fates) -> Becomes {
        Becomes { once, always }
    }
}

const OR_INLINE: Fates = Fates::LINGERS.or(Fates::INLINE);
const OR_PLAIN: Fates = Fates::LINGERS.or(Fates::PLAIN);

/// Whatever fails, they linger.
const LINGERS: Becomes = Becomes::once_and_always(Fates::LINGERS, Fates::LINGERS);
/// One failure is made up for; without the call nothing lingers.
const NEEDED: Becomes = Becomes::once_and_always(Fates::LINGERS, Fates::INLINE);
/// After one failure, too, nothing lingers for a while.
const NEEDED_EACH_TIME: Becomes = Becomes::once_and_always(OR_INLINE, Fates::INLINE);
/// Those it fails for do not linger.
const SOME_INLINE: Becomes = Becomes::once_and_always(OR_INLINE, OR_INLINE);
/// Of those it fails for nothing is known: they are left to the plain close.
const SOME_PLAIN: Becomes = Becomes::once_and_always(OR_PLAIN, OR_PLAIN);

/// One call, or one command of a call that has several.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// As its manual page has it.
    pub name: &'static str,
    /// Its number; [`THREAD`] for pthread_create(3).
    pub number: c_long,
    /// Only where the argument that [`command_of`] names has this value.
    pub command: Option<usize>,
    /// How it can fail.
    pub failures: &'static [Failure],
    /// What may become of connections then.
    pub becomes: Becomes,
    /// Whether a seccomp(2) filter may refuse it to a program that goes on to work. For the others there would be no
    /// program: no pid, no clock, no memory.
    pub filtered: bool,
    /// Where the errors are from.
    pub source: &'static str,
}

/// Stands for a call that this machine does not have.
pub const ABSENT: c_long = -3;

/// Stands for pthread_create(3), which the engine calls in libc.
pub const THREAD: c_long = -1;

const fn any(errno: c_int) -> Failure {
    Failure { errno, lasts: Lasts::Any, becomes: None }
}

impl Failure {
    const fn but(self, becomes: Becomes) -> Failure {
        Failure { becomes: Some(becomes), ..self }
    }
}

const fn passes(errno: c_int) -> Failure {
    Failure { errno, lasts: Lasts::Passes, becomes: None }
}

macro_rules! calls {
    ($($name:literal $number:expr, $command:expr, $filtered:expr, [$($failure:expr),*], $becomes:expr, $source:literal;)*) => {
        /// All of them.
        pub const CALLS: &[Call] = &[$(Call {
            name: $name,
            number: $number,
            command: $command,
            failures: &[$($failure),*],
            becomes: $becomes,
            filtered: $filtered,
            source: $source,
        }),*];
    };
}

const ADD: Option<usize> = Some(libc::EPOLL_CTL_ADD as usize);
const MODIFY: Option<usize> = Some(libc::EPOLL_CTL_MOD as usize);
const REMOVE: Option<usize> = Some(libc::EPOLL_CTL_DEL as usize);
const DUPLICATE: Option<usize> = Some(libc::F_DUPFD_CLOEXEC as usize);
const SEAL: Option<usize> = Some(libc::F_ADD_SEALS as usize);
const GET_FLAGS: Option<usize> = Some(libc::F_GETFL as usize);
const SET_FLAGS: Option<usize> = Some(libc::F_SETFL as usize);
const WAIT: Option<usize> = Some((libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize);
const WAKE: Option<usize> = Some((libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize);

/// An older call, which newer machines do not have.
#[cfg(target_arch = "x86_64")]
const EPOLL_WAIT: c_long = libc::SYS_epoll_wait;
/// Not a call here.
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_WAIT: c_long = ABSENT;

calls! {
    "close" libc::SYS_close, None, false, [passes(libc::EINTR), any(libc::EIO), any(libc::ENOSPC), any(libc::EDQUOT)], LINGERS,
        "close(2); the number is free all the same (\"Dealing with error returns\")";
    "close_range" libc::SYS_close_range, None, true, [any(libc::EMFILE), any(libc::ENOMEM), any(libc::EINVAL)], LINGERS,
        "close_range(2)";
    "unshare" libc::SYS_unshare, None, true, [any(libc::ENOMEM), any(libc::ENOSPC), any(libc::EINVAL)], NEEDED_EACH_TIME, "unshare(2)";
    "dup3" libc::SYS_dup3, None, true, [passes(libc::EBUSY), passes(libc::EINTR), any(libc::EMFILE)], NEEDED_EACH_TIME, "dup(2)";
    "fcntl" libc::SYS_fcntl, DUPLICATE, true, [any(libc::EMFILE), any(libc::EINVAL)], NEEDED_EACH_TIME, "fcntl(2), F_DUPFD";
    "fcntl" libc::SYS_fcntl, SEAL, true, [passes(libc::EBUSY), any(libc::EINVAL), any(libc::EPERM)], LINGERS,
        "fcntl(2), F_ADD_SEALS";
    "fcntl" libc::SYS_fcntl, GET_FLAGS, true, [any(libc::EACCES)], SOME_PLAIN, "fcntl(2); a security module (security_file_fcntl)";
    "fcntl" libc::SYS_fcntl, SET_FLAGS, true, [any(libc::EPERM)], LINGERS, "fcntl(2), F_SETFL";
    "fstat" libc::SYS_fstat, None, true, [any(libc::ENOMEM), any(libc::EACCES)], NEEDED,
        "stat(2); EACCES of a security module (security_inode_getattr)";
    "newfstatat" libc::SYS_newfstatat, None, true, [any(libc::EACCES), any(libc::ENOENT), any(libc::ENOMEM)], SOME_PLAIN,
        "stat(2), proc(5)";
    "write" libc::SYS_write, None, true,
        [any(libc::EAGAIN), passes(libc::EINTR), any(libc::EIO), any(libc::ENOSPC), any(libc::EPIPE)], LINGERS, "write(2)";
    "openat" libc::SYS_openat, None, true,
        [any(libc::EACCES), any(libc::EMFILE), any(libc::ENFILE), any(libc::ENOENT), any(libc::ENOMEM),
         passes(libc::EINTR)], SOME_PLAIN, "open(2), proc(5)";
    "read" libc::SYS_read, None, false, [any(libc::EIO), passes(libc::EINTR), any(libc::ESRCH)], SOME_PLAIN,
        "read(2); ESRCH of a file of /proc whose process ended (proc_single_show)";
    "getdents64" libc::SYS_getdents64, None, true, [any(libc::ENOENT), any(libc::EINVAL)], SOME_PLAIN, "getdents(2)";
    "readlinkat" libc::SYS_readlinkat, None, true,
        [any(libc::EACCES), any(libc::ENOMEM), any(libc::EIO)], SOME_PLAIN,
        "readlink(2); without ENOENT, which in /proc is no failure but the answer that the number was closed";
    "epoll_create1" libc::SYS_epoll_create1, None, true, [any(libc::EMFILE), any(libc::ENFILE), any(libc::ENOMEM)], NEEDED_EACH_TIME,
        "epoll_create(2)";
    "eventfd2" libc::SYS_eventfd2, None, true,
        [any(libc::EMFILE), any(libc::ENFILE), any(libc::ENODEV), any(libc::ENOMEM)], LINGERS, "eventfd(2)";
    "epoll_ctl" libc::SYS_epoll_ctl, ADD, true, [any(libc::ENOMEM), any(libc::ENOSPC), any(libc::EPERM)], NEEDED_EACH_TIME,
        "epoll_ctl(2)";
    "epoll_ctl" libc::SYS_epoll_ctl, MODIFY, true, [any(libc::ENOMEM), any(libc::ENOENT)], LINGERS, "epoll_ctl(2)";
    "epoll_ctl" libc::SYS_epoll_ctl, REMOVE, true, [any(libc::ENOENT)], SOME_INLINE, "epoll_ctl(2)";
    "epoll_pwait" libc::SYS_epoll_pwait, None, true, [passes(libc::EINTR)], LINGERS, "epoll_wait(2)";
    "epoll_wait" EPOLL_WAIT, None, false, [passes(libc::EINTR)], LINGERS, "epoll_wait(2); where a filter refuses epoll_pwait(2)";
    "ppoll" libc::SYS_ppoll, None, true, [passes(libc::EINTR), any(libc::ENOMEM)], LINGERS, "poll(2)";
    "socket" libc::SYS_socket, None, true,
        [any(libc::EACCES), any(libc::EAFNOSUPPORT), any(libc::EMFILE), any(libc::ENFILE), any(libc::ENOBUFS),
         any(libc::ENOMEM)], NEEDED, "socket(2), unix(7)";
    "bind" libc::SYS_bind, None, true, [any(libc::EACCES), any(libc::EADDRINUSE), any(libc::ENOMEM), any(libc::ENOSPC)], NEEDED,
        "bind(2), unix(7); ENOSPC where no name is left (unix_autobind)";
    "getsockname" libc::SYS_getsockname, None, true, [any(libc::ENOBUFS)], NEEDED, "getsockname(2)";
    "connect" libc::SYS_connect, None, true,
        [any(libc::EACCES), any(libc::EPERM), any(libc::EAGAIN), any(libc::ECONNREFUSED), passes(libc::EINTR)], NEEDED,
        "connect(2), unix(7)";
    "sendto" libc::SYS_sendto, None, true,
        [any(libc::EAGAIN), passes(libc::EINTR), any(libc::ENOBUFS), any(libc::ENOMEM), any(libc::ECONNREFUSED)], LINGERS,
        "send(2), unix(7)";
    "sendmsg" libc::SYS_sendmsg, None, true,
        [any(libc::EAGAIN), passes(libc::EINTR), any(libc::ENOBUFS), any(libc::ENOMEM), any(libc::ECONNREFUSED),
         any(libc::ETOOMANYREFS), any(libc::EPERM)], Becomes::once_and_always(OR_INLINE.or(Fates::PLAIN), Fates::INLINE.or(Fates::PLAIN)), "send(2), unix(7)";
    "recvmmsg" libc::SYS_recvmmsg, None, true,
        [passes(libc::EINTR), any(libc::ENOMEM).but(NEEDED), passes(libc::ECONNREFUSED)], LINGERS,
        "recvmmsg(2), recv(2); without EAGAIN, which is no failure but the answer that nothing waits";
    "recvmsg" libc::SYS_recvmsg, None, true, [passes(libc::EINTR).but(LINGERS), any(libc::ENOMEM)], NEEDED,
        "recv(2); as recvmmsg(2)";
    "recvfrom" libc::SYS_recvfrom, None, true,
        [any(libc::EFAULT).but(Becomes::once_and_always(Fates::LINGERS, OR_PLAIN)), passes(libc::EINTR).but(LINGERS), any(libc::ENOMEM), any(libc::ENOTCONN),
         any(libc::ECONNRESET), any(libc::ETIMEDOUT), any(libc::EHOSTUNREACH)], SOME_PLAIN,
        "recv(2), tcp(7); EFAULT of kernel TLS; as recvmmsg(2)";
    "getsockopt" libc::SYS_getsockopt, Some(libc::TCP_INFO as usize), true, [any(libc::ENOPROTOOPT), any(libc::EOPNOTSUPP)], SOME_PLAIN,
        "getsockopt(2)";
    "getsockopt" libc::SYS_getsockopt, Some(libc::SO_LINGER as usize), true, [any(libc::ENOPROTOOPT)], LINGERS, "getsockopt(2)";
    "getsockopt" libc::SYS_getsockopt, Some(libc::SO_PROTOCOL as usize), true, [any(libc::ENOPROTOOPT)], SOME_PLAIN, "getsockopt(2)";
    "getsockopt" libc::SYS_getsockopt, Some(libc::SO_ERROR as usize), true, [any(libc::ENOPROTOOPT)], LINGERS, "getsockopt(2)";
    "getsockopt" libc::SYS_getsockopt, Some(libc::SO_DOMAIN as usize), true, [any(libc::ENOPROTOOPT)], LINGERS, "getsockopt(2)";
    "setsockopt" libc::SYS_setsockopt, None, true, [any(libc::EPERM), any(libc::EDOM), any(libc::ENOMEM)], SOME_PLAIN,
        "setsockopt(2), socket(7)";
    "ioctl" libc::SYS_ioctl, None, true, [any(libc::EINVAL), any(libc::ENOTTY)], LINGERS, "ioctl(2), tcp(7)";
    "shutdown" libc::SYS_shutdown, None, true, [any(libc::ENOTCONN), any(libc::EINVAL)], SOME_PLAIN, "shutdown(2)";
    "getpeername" libc::SYS_getpeername, None, true, [any(libc::ENOBUFS), any(libc::ENOTCONN)], LINGERS, "getpeername(2)";
    "getpid" libc::SYS_getpid, None, false, [], LINGERS, "getpid(2): always successful";
    "exit_group" libc::SYS_exit_group, None, false, [], LINGERS, "exit_group(2): does not return";
    "gettid" libc::SYS_gettid, None, false, [], LINGERS, "gettid(2): always successful";
    "clock_gettime" libc::SYS_clock_gettime, None, false, [], LINGERS, "clock_gettime(2): none for a clock that exists";
    "tgkill" libc::SYS_tgkill, None, true, [any(libc::ESRCH)], LINGERS, "tgkill(2)";
    "futex" libc::SYS_futex, WAIT, false, [passes(libc::EAGAIN), passes(libc::EINTR), passes(libc::ETIMEDOUT)], LINGERS, "futex(2)";
    "futex" libc::SYS_futex, WAKE, false, [], LINGERS, "futex(2): none";
    "prlimit64" libc::SYS_prlimit64, None, true, [any(libc::EPERM)], LINGERS, "getrlimit(2)";
    "rt_sigprocmask" libc::SYS_rt_sigprocmask, None, false, [], LINGERS, "sigprocmask(2): none for a valid request";
    "rt_sigpending" libc::SYS_rt_sigpending, None, true, [], LINGERS, "sigpending(2): none for a valid set";
    "rt_sigtimedwait" libc::SYS_rt_sigtimedwait, None, true, [any(libc::EAGAIN), passes(libc::EINTR)], LINGERS, "sigwaitinfo(2)";
    "rt_sigaction" libc::SYS_rt_sigaction, None, false, [], LINGERS, "sigaction(2): none for a signal that exists";
    "process_vm_readv" libc::SYS_process_vm_readv, None, true,
        [any(libc::EFAULT), any(libc::ENOMEM), any(libc::EPERM), any(libc::ESRCH)], SOME_INLINE, "process_vm_readv(2)";
    "getrandom" libc::SYS_getrandom, None, true, [any(libc::EAGAIN), passes(libc::EINTR)], LINGERS, "getrandom(2)";
    "prctl" libc::SYS_prctl, None, true, [], LINGERS, "prctl(2): none for PR_SET_NAME";
    "mmap" libc::SYS_mmap, None, false, [any(libc::ENOMEM), any(libc::EAGAIN), any(libc::EPERM), any(libc::ENODEV)], NEEDED,
        "mmap(2)";
    "munmap" libc::SYS_munmap, None, false, [any(libc::ENOMEM)], LINGERS, "munmap(2)";
    "madvise" libc::SYS_madvise, None, true, [any(libc::EAGAIN), any(libc::EINVAL), any(libc::ENOMEM)], LINGERS, "madvise(2)";
    "memfd_create" libc::SYS_memfd_create, None, true,
        [any(libc::EACCES), any(libc::EINVAL), any(libc::EMFILE), any(libc::ENFILE), any(libc::ENOMEM)], LINGERS,
        "memfd_create(2); EACCES of vm.memfd_noexec = 2";
    "fchmod" libc::SYS_fchmod, None, true, [any(libc::EPERM), any(libc::EIO), any(libc::ENOMEM)], LINGERS, "chmod(2)";
    "ftruncate" libc::SYS_ftruncate, None, true,
        [any(libc::EFBIG), passes(libc::EINTR), any(libc::EINVAL), any(libc::EIO), any(libc::EPERM)], LINGERS, "truncate(2)";
    "thread" THREAD, None, false, [any(libc::EAGAIN), any(libc::EPERM), any(libc::EINVAL)], NEEDED, "pthread_create(3)";
}

/// Which argument tells the commands of a call apart.
pub fn command_of(number: c_long) -> usize {
    match number {
        libc::SYS_prctl => 0,
        libc::SYS_getsockopt | libc::SYS_setsockopt => 2,
        _ => 1,
    }
}

macro_rules! errnos {
    ($($name:ident)*) => {
        /// Their names.
        pub const ERRNOS: &[(&str, c_int)] = &[$((stringify!($name), libc::$name)),*];
    };
}

errnos! {
    EACCES EADDRINUSE EAFNOSUPPORT EAGAIN EBUSY ECONNREFUSED ECONNRESET EDOM EDQUOT EFAULT EFBIG EHOSTUNREACH EINTR
    EINVAL EIO EMFILE ENFILE ENOBUFS ENODEV ENOENT ENOMEM ENOPROTOOPT ENOSPC ENOSYS ENOTCONN ENOTTY EOPNOTSUPP EPERM
    EPIPE ESRCH ETIMEDOUT ETOOMANYREFS
}
