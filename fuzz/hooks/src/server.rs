//! The process under test: does with its descriptors what it is told, in libc's own words, and says what came of it.
//! It knows nothing of what should come of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// A call for the server to make.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Accept,
    Dup,
    DupOver,
    Close,
    SyscallClose,
    CloseRange,
    Fclose,
    Shutdown,
    Write,
    Read,
    EpollCreate,
    EpollAdd,
    EpollDel,
    EpollWait,
    IsOpen,
    Exit,
    AbruptExit,
    QuickExit,
}

const CALLS: [Call; 18] = [
    Call::Accept,
    Call::Dup,
    Call::DupOver,
    Call::Close,
    Call::SyscallClose,
    Call::CloseRange,
    Call::Fclose,
    Call::Shutdown,
    Call::Write,
    Call::Read,
    Call::EpollCreate,
    Call::EpollAdd,
    Call::EpollDel,
    Call::EpollWait,
    Call::IsOpen,
    Call::Exit,
    Call::AbruptExit,
    Call::QuickExit,
];

pub const REQUEST_BYTES: usize = 13;
pub const REPLY_BYTES: usize = 8;

pub fn encode(call: Call, a: i32, b: i32, c: i32) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    request[0] = call as u8;
    request[1..5].copy_from_slice(&a.to_ne_bytes());
    request[5..9].copy_from_slice(&b.to_ne_bytes());
    request[9..].copy_from_slice(&c.to_ne_bytes());
    request
}

/// Where byte number `at` of a response differs from its neighbours.
pub fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

/// Serves calls on `control`, whose other end ends the process by closing.
pub fn serve(mut control: UnixStream) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    reply(&mut control, listener.local_addr()?.port().into(), 0)?;
    let mut request = [0; REQUEST_BYTES];
    while control.read_exact(&mut request).is_ok() {
        let word =
            |at: usize| i32::from_ne_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let call = CALLS[usize::from(request[0])];
        let result = perform(call, listener.as_raw_fd(), word(1), word(5), word(9));
        let errno = if result < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
        reply(&mut control, result, errno)?;
    }
    Ok(())
}

fn reply(control: &mut UnixStream, result: i32, errno: i32) -> std::io::Result<()> {
    let mut bytes = [0; REPLY_BYTES];
    bytes[..4].copy_from_slice(&result.to_ne_bytes());
    bytes[4..].copy_from_slice(&errno.to_ne_bytes());
    control.write_all(&bytes)
}

fn perform(call: Call, listener: i32, a: i32, b: i32, c: i32) -> i32 {
    // SAFETY: descriptors are plain numbers, and buffers outlive the calls they are passed to.
    unsafe {
        match call {
            Call::Accept => libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut()),
            Call::Dup => libc::dup(a),
            Call::DupOver => libc::dup2(a, b),
            Call::Close => libc::close(a),
            Call::SyscallClose => libc::syscall(libc::SYS_close, a) as i32,
            Call::CloseRange => libc::close_range(a as u32, a as u32, 0),
            Call::Fclose => match libc::fdopen(a, c"r+".as_ptr()) {
                stream if stream.is_null() => -1,
                stream => libc::fclose(stream),
            },
            Call::Shutdown => libc::shutdown(a, b),
            Call::Write => {
                let bytes: Vec<u8> = (0..b as usize).map(|i| pattern(c as usize + i)).collect();
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                libc::send(a, bytes.as_ptr().cast(), bytes.len(), flags) as i32
            }
            Call::Read => {
                let mut bytes = [0u8; 4096];
                libc::recv(a, bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT) as i32
            }
            Call::EpollCreate => libc::epoll_create1(libc::EPOLL_CLOEXEC),
            Call::EpollAdd => {
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: c as u64 };
                libc::epoll_ctl(a, libc::EPOLL_CTL_ADD, b, &mut event)
            }
            Call::EpollDel => libc::epoll_ctl(a, libc::EPOLL_CTL_DEL, b, std::ptr::null_mut()),
            Call::EpollWait => {
                // Bit n stands for an event of connection n.
                let mut events = [libc::epoll_event { events: 0, u64: 0 }; 32];
                let count = libc::epoll_wait(a, events.as_mut_ptr(), 32, 0);
                events.iter().take(count.max(0) as usize).fold(0, |bits, event| bits | 1 << { event.u64 })
            }
            Call::IsOpen => i32::from(libc::fcntl(a, libc::F_GETFD) >= 0),
            Call::Exit => libc::exit(0),
            Call::AbruptExit => libc::_exit(0),
            Call::QuickExit => quick_exit(0),
        }
    }
}

extern "C" {
    fn quick_exit(status: i32) -> !;
}
