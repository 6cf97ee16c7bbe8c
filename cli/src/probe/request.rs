//! The HTTP requests that probe sends. Pure.

use super::target::Target;

/// Behind the first of a pipeline: together more than servers read at once, so that some are unread when it closes.
pub const PIPELINED: usize = 256;

/// How long each of those is about.
const LENGTH: usize = 512;

/// Of the head that is meant to be refused: more than servers take by default.
const LARGE_HEAD: usize = 256 * 1024;

/// A polite GET, and the last one on its connection.
pub fn get(target: &Target) -> Vec<u8> {
    head(target, "GET", "Connection: close\r\n")
}

/// One more GET.
pub fn another(target: &Target) -> Vec<u8> {
    head(target, "GET", "")
}

/// [`PIPELINED`] more.
pub fn many_more(target: &Target) -> Vec<u8> {
    let plain = another(target).len();
    let padding = "x".repeat(LENGTH.saturating_sub(plain));
    head(target, "GET", &format!("X-Linger-Probe: {padding}\r\n")).repeat(PIPELINED)
}

/// The head of a POST.
pub fn post(target: &Target, length: usize) -> Vec<u8> {
    let headers = format!("Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n");
    head(target, "POST", &headers)
}

/// A GET whose head most servers refuse as too large.
pub fn oversized(target: &Target) -> Vec<u8> {
    let line = format!("X-Linger-Probe: {}\r\n", "x".repeat(1006));
    head(target, "GET", &format!("Connection: close\r\n{}", line.repeat(LARGE_HEAD / line.len())))
}

fn head(target: &Target, method: &str, headers: &str) -> Vec<u8> {
    let usual_port = if target.tls { 443 } else { 80 };
    let authority = target.authority();
    let host = if target.port == usual_port {
        authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host)
    } else {
        &authority
    };
    let agent = concat!("linger-probe/", env!("CARGO_PKG_VERSION"));
    let path = &target.path;
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n{headers}\r\n")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text, None, false).expect("target")
    }

    /// Method, path, how many bytes.
    fn parsed(bytes: &[u8]) -> (String, String, usize) {
        let mut headers = [httparse::EMPTY_HEADER; 512];
        let mut request = httparse::Request::new(&mut headers);
        let length = request.parse(bytes).expect("a request").unwrap();
        (request.method.expect("method").to_owned(), request.path.expect("path").to_owned(), length)
    }

    #[test]
    fn requests_are_well_formed() {
        let target = target("http://example.org:8080/a?b");
        for request in [get(&target), another(&target), post(&target, 9), oversized(&target)] {
            let (_, path, length) = parsed(&request);
            assert_eq!((path.as_str(), length), ("/a?b", request.len()));
            assert!(String::from_utf8_lossy(&request).contains("\r\nHost: example.org:8080\r\n"));
        }
        assert!(oversized(&target).len() >= LARGE_HEAD);
    }

    #[test]
    fn the_usual_port_is_not_named() {
        for (url, host) in
            [("http://h/", "h"), ("https://h/", "h"), ("http://[::1]/", "[::1]"), ("http://h:443", "h:443")]
        {
            let request = get(&target(url));
            assert!(String::from_utf8_lossy(&request).contains(&format!("\r\nHost: {host}\r\n")), "{url}");
        }
    }

    #[test]
    fn a_pipeline_is_many_whole_requests() {
        let bytes = many_more(&target("http://example.org/"));
        assert_eq!(bytes.len() % PIPELINED, 0);
        assert!(bytes.len() > 128 * 1024);
        let (method, _, length) = parsed(&bytes);
        assert_eq!((method.as_str(), length), ("GET", bytes.len() / PIPELINED));
    }
}
