//! What the servers have in common, and what has nothing to do with how they let go of a connection.

/// As much of a request's head as is looked at.
pub const HEAD_BYTES: usize = 4096;

/// Whether a request's head ends within these bytes, or never will.
#[must_use]
pub fn head_ends(head: &[u8]) -> bool {
    head.len() >= HEAD_BYTES || head.windows(4).any(|piece| piece == b"\r\n\r\n")
}

/// "413 Content Too Large", with a page that is too long to leave at once.
#[must_use]
pub fn answer() -> Vec<u8> {
    let page = [b'x'; 256 * 1024];
    let head = format!(
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    [head.as_bytes(), &page].concat()
}

/// Whether the server is to drop its connections, to show what is lost so.
#[must_use]
pub fn plain_close() -> bool {
    std::env::args().any(|argument| argument == "--plain-close")
}
