//! What the program counted, once nothing lingers any more.

use std::ffi::c_int;

use linger_testbed::interface::Statistics;
use serde::Serialize;

use crate::interface;
use crate::ways::Server;

/// How long to wait until nothing lingers.
const PATIENCE_MS: c_int = 15_000;

#[derive(Debug, Serialize)]
pub struct Report {
    statistics: Statistics,
    pub pending: c_int,
    /// The numbers that are the program's own.
    own: Vec<c_int>,
}

pub fn make(server: &mut Server) -> Report {
    server.settle();
    let pending = interface::flush(PATIENCE_MS);
    Report { statistics: interface::statistics(), pending, own: server.own_numbers() }
}
