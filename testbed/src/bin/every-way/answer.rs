//! The response to a request.

use std::ffi::c_int;

/// As testbed's client expects it: bytes that tell connections and positions apart.
pub fn answer(connection: c_int, id: usize, bytes: usize) {
    // Without memory of its own: where there is little, it is the library that is to find that out.
    let mut piece = [0u8; 16 * 1024];
    let mut sent = 0;
    while sent < bytes {
        let length = piece.len().min(bytes - sent);
        for (at, byte) in piece.iter_mut().enumerate().take(length) {
            *byte = linger_testbed::faults::byte_at(id, sent + at);
        }
        // SAFETY: the kernel reads a live slice.
        let taken = unsafe { libc::send(connection, piece.as_ptr().cast(), length, libc::MSG_NOSIGNAL) };
        match usize::try_from(taken) {
            Ok(taken) => sent += taken,
            // The client left.
            Err(_) => break,
        }
    }
}
