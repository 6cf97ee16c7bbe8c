//! A program that runs as if it were set-user-ID: with AT_SECURE (getauxval(3)), which the loader, libc and liblinger go
//! by, and by nothing else.
//!
//! A real one needs a second user and a file system that allows it. The kernel passes AT_SECURE on the new program's
//! stack; whoever traces the program may change it there before the first instruction runs (ptrace(2)).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{bail, ensure, Context, Result};

const WORD: u64 = 8;

/// Runs the command to its end. Of the programs it becomes by execve(2), `program` is the one that runs securely.
///
/// # Errors
///
/// If it never becomes that program, or may not be traced.
pub fn output(command: &mut Command, program: &Path) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: one system call between fork and exec, nothing allocated.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let mut child = command.spawn().with_context(|| format!("run {command:?}"))?;
    if let Err(error) = make_secure(&child, program) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(child.wait_with_output()?)
}

/// Stops at every execve(2) until the program is the wanted one, changes it, and traces it no more.
fn make_secure(child: &Child, program: &Path) -> Result<()> {
    let pid = child.id() as libc::pid_t;
    let wanted = program.canonicalize()?;
    loop {
        let mut status = 0;
        // SAFETY: the status lives until the call returns.
        let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
        ensure!(waited == pid, "waitpid: {}", io::Error::last_os_error());
        ensure!(libc::WIFSTOPPED(status), "it ended before it was {}", program.display());
        let signal = libc::WSTOPSIG(status);
        let is_it = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == wanted);
        if signal == libc::SIGTRAP && is_it {
            set_at_secure(pid)?;
            return resume(libc::PTRACE_DETACH, pid, 0);
        }
        resume(libc::PTRACE_CONT, pid, if signal == libc::SIGTRAP { 0 } else { signal })?;
    }
}

fn resume(request: libc::c_uint, pid: libc::pid_t, signal: i32) -> Result<()> {
    // SAFETY: neither request reads or writes memory of ours.
    let failed = unsafe { libc::ptrace(request, pid, 0, libc::c_long::from(signal)) };
    ensure!(failed == 0, "ptrace: {}", io::Error::last_os_error());
    Ok(())
}

/// The stack at the first instruction: argc, the arguments, null, the environment, null, and pairs of type and value
/// (getauxval(3); System V ABI, Process Initialization).
fn set_at_secure(pid: libc::pid_t) -> Result<()> {
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
    let word = |at: u64| {
        let mut bytes = [0; WORD as usize];
        memory.read_exact_at(&mut bytes, at).map(|()| u64::from_ne_bytes(bytes))
    };
    let stack = stack_pointer(pid)?;
    let mut at = stack + WORD * (word(stack)? + 2);
    while word(at)? != 0 {
        at += WORD;
    }
    at += WORD;
    loop {
        match word(at)? {
            libc::AT_NULL => bail!("the kernel passed no AT_SECURE"),
            libc::AT_SECURE => return Ok(memory.write_all_at(&1u64.to_ne_bytes(), at + WORD)?),
            _ => at += 2 * WORD,
        }
    }
}

/// The last but one field of /proc/PID/syscall (proc(5)), which its tracer may see.
fn stack_pointer(pid: libc::pid_t) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall"))?;
    let pointer = text.split_ascii_whitespace().rev().nth(1).and_then(|field| field.strip_prefix("0x"));
    let pointer = pointer.with_context(|| format!("/proc/{pid}/syscall says {text:?}"))?;
    Ok(u64::from_str_radix(pointer, 16)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_never_reached_is_an_error() {
        let error =
            output(Command::new("true").arg("x"), Path::new("/bin/cat")).expect_err("it never was cat");
        assert!(error.to_string().contains("before it was"), "{error}");
    }
}
