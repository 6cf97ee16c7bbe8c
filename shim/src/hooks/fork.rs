//! fork(2) and its kin: from now on a connection may have another holder.
//!
//! pthread_atfork(3) handlers (see [`crate::start`]) cover every fork that libc makes with fork(2), such as daemon(3).
//! The hooks add the child's number, and the calls that run no such handlers. vfork(2) returns twice and cannot be
//! wrapped in a function: its hook counts and jumps.

use super::hook;
use crate::letting_go::this_thread;
use crate::{fds, real};
use core::ffi::{c_char, c_int, c_void};
use engine::{family, holders};
use libc::pid_t;

// *Contract:* a child with a copy of the descriptor table.
// *Why hooked:* the newest child is where to look first for another holder.
// *errno:* of the real call. *Signal safety:* async-signal-safe as far as fork(2) is; no cancellation point.
redhook::hook! {
    unsafe fn fork() -> pid_t => hook_fork {
        // SAFETY: fork(2) takes nothing.
        remembered(unsafe { redhook::real!(fork)() })
    }
}

hook! {
    /// *Contract:* fork(2) without the handlers of pthread_atfork(3), async-signal-safe.
    /// *Why hooked:* those handlers are how the parent learns of other forks. The child runs none, is not the owner of
    /// our state, and passes everything through. *errno:* of the real call.
    fn _Fork() -> pid_t {
        counted(|| remembered(real::_Fork()))
    }
}

hook! {
    /// *Contract:* a child or thread that runs `function` on a stack of its own; variadic in C (see [`super::variadic`]).
    /// *Why hooked:* as [`_Fork`]: without CLONE_FILES it has a copy of the table. *errno:* of the real call.
    fn clone(function: *const c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent: usize, storage: usize, child: usize) -> c_int {
        counted(|| real::clone(function, stack, flags, argument, parent, storage, child))
    }
}

hook! {
    /// As [`clone`].
    fn __clone(function: *const c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void, parent: usize, storage: usize, child: usize) -> c_int {
        counted(|| real::__clone(function, stack, flags, argument, parent, storage, child))
    }
}

hook! {
    /// *Contract:* starts a program in a child that inherits every descriptor without FD_CLOEXEC.
    /// *Why hooked:* so it may hold a connection. *errno:* unused; returns an error number.
    fn posix_spawn(pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int {
        counted(|| real::posix_spawn(pid, path, actions, attributes, argv, envp))
    }
}

hook! {
    /// As [`posix_spawn`], looking for the program in PATH.
    fn posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int {
        counted(|| real::posix_spawnp(pid, file, actions, attributes, argv, envp))
    }
}

hook! {
    /// As [`posix_spawn`], with a descriptor of the child in place of its number. *Optional:* glibc 2.39.
    fn pidfd_spawn(pidfd: *mut c_int, path: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int {
        or_error_number(counted(|| real::pidfd_spawn(pidfd, path, actions, attributes, argv, envp)))
    }
}

hook! {
    /// As [`pidfd_spawn`], looking for the program in PATH.
    fn pidfd_spawnp(pidfd: *mut c_int, file: *const c_char, actions: *const c_void, attributes: *const c_void, argv: *const *mut c_char, envp: *const *mut c_char) -> c_int {
        or_error_number(counted(|| real::pidfd_spawnp(pidfd, file, actions, attributes, argv, envp)))
    }
}

/// These functions return their errors; where there is no such function, -1 came from our side.
fn or_error_number(result: c_int) -> c_int {
    if result < 0 {
        return libc::ENOSYS;
    }
    result
}

hook! {
    /// *Contract:* runs a command and waits for it. *Why hooked:* as posix_spawn: the command may leave a process
    /// behind. A cancellation point: a thread cancelled here leaves every later connection to be looked for elsewhere first.
    fn system(command: *const c_char) -> c_int {
        // Not for as long as the command runs: every close would have to look for holders.
        fds::before_fork(this_thread());
        fds::after_fork();
        let result = real::system(command);
        fds::before_fork(this_thread());
        fds::after_fork();
        family::reference_made();
        result
    }
}

hook! {
    /// *Contract:* runs a command with a pipe to it. *Why hooked:* as posix_spawn.
    fn popen(command: *const c_char, kind: *const c_char) -> *mut libc::FILE {
        counted(|| real::popen(command, kind))
    }
}

/// Makes the call `real`, after which a child may have a copy of the descriptor table. Until it returns every connection counts as
/// shared: the child may be there already.
pub(super) fn counted<T>(real: impl Fn() -> T) -> T {
    fds::before_fork(this_thread());
    let result = real();
    fds::after_fork();
    family::reference_made();
    result
}

/// *Contract:* a child that shares the memory and has a copy of the descriptor table, until it runs a program or ends.
/// *Why hooked:* the program it runs may hold a connection. The child itself passes everything through. It returns twice
/// from the same frame, so this is a jump: it counts the fork and leaves the stack as it was. It cannot count again afterwards: what
/// another thread accepts in the few instructions between the count and the system call passes for exclusive.
///
/// # Safety
/// As vfork(2).
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[no_mangle]
pub unsafe extern "C" fn vfork() -> pid_t {
    core::arch::naked_asm!(
        "lock inc dword ptr [rip + {forks}]",
        "mov rax, qword ptr [rip + {next}]",
        "test rax, rax",
        "jz 2f",
        "jmp rax",
        // Before the constructor: the system call itself, with the return address kept in a register, since the child
        // overwrites the stack.
        "2:",
        "pop rdx",
        "mov eax, {number}",
        "syscall",
        "push rdx",
        "ret",
        forks = sym fds::FORKS,
        next = sym real::VFORK,
        number = const libc::SYS_vfork,
    )
}

/// As on x86-64; here vfork(2) is clone(2) with CLONE_VM, CLONE_VFORK and SIGCHLD.
///
/// # Safety
/// As vfork(2).
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[no_mangle]
pub unsafe extern "C" fn vfork() -> pid_t {
    core::arch::naked_asm!(
        "adrp x9, {forks}",
        "add x9, x9, :lo12:{forks}",
        "2:",
        "ldaxr w10, [x9]",
        "add w10, w10, #1",
        "stlxr w11, w10, [x9]",
        "cbnz w11, 2b",
        "adrp x9, {next}",
        "ldr x9, [x9, :lo12:{next}]",
        "cbz x9, 3f",
        "br x9",
        "3:",
        "mov x0, {flags}",
        "mov x1, #0",
        "mov x8, {number}",
        "svc 0",
        "ret",
        forks = sym fds::FORKS,
        next = sym real::VFORK,
        flags = const libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
        number = const libc::SYS_clone,
    )
}

fn remembered(pid: pid_t) -> pid_t {
    if pid > 0 {
        holders::remember_child(pid);
    }
    pid
}

pub(super) fn find() {
    redhook::real!(fork);
}
