//! The kernel's calling convention, one function for up to six arguments.
//!
//! **Promises:** no libc function is called, so nothing here can be interposed (not even by the shim of
//! this project), `errno` is never touched, and no call is a cancellation point.
//!
//! **Invariant:** every register the kernel may clobber is declared.
//!
//! Deliberately absent: vfork-like and signal-returning calls, which a plain function cannot make.

/// A system call that failed, by its `errno` value. The library's own code never reads or writes `errno`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    /// `EINTR`, `EAGAIN` and friends read better with a name: `e.is(libc::EAGAIN)`.
    pub fn is(self, errno: i32) -> bool {
        self.0 == errno
    }
}

/// The result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

#[cfg(linger_faults)]
pub use super::faults::syscall;
#[cfg(not(linger_faults))]
pub use kernel as syscall;

/// Makes a system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call `number`, as its man page says.
#[cfg(target_arch = "x86_64")]
#[inline]
pub unsafe fn kernel(number: libc::c_long, args: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; rcx and r11 are what `syscall` clobbers (AMD64 ABI, A.2.1).
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    decode(result)
}

/// Makes a system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call `number`, as its man page says.
#[cfg(target_arch = "aarch64")]
#[inline]
pub unsafe fn kernel(number: libc::c_long, args: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the kernel preserves every register but x0.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0] as isize => result,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            in("x4") args[4],
            in("x5") args[5],
            options(nostack),
        );
    }
    decode(result)
}

/// The kernel answers errors as -4095..=-1 (syscall(2), "Architecture calling conventions").
#[inline]
fn decode(result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_its_errno() {
        // SAFETY: close(2) of a number that cannot be open.
        let r = unsafe { syscall(libc::SYS_close, [usize::MAX, 0, 0, 0, 0, 0]) };
        assert_eq!(r, Err(Errno(libc::EBADF)));
    }

    #[test]
    fn the_range_of_errors_is_exact() {
        assert_eq!(decode(-1), Err(Errno(1)));
        assert_eq!(decode(-4095), Err(Errno(4095)));
        assert!(decode(-4096).is_ok());
        assert_eq!(decode(7), Ok(7));
    }
}
