//! stdout, for people and scripts.

use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Prints it. Colours are left out where stdout is no terminal; a reader that has gone (`| head`) is no failure.
pub fn say(text: &str, exit_code: u8) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(exit_code, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}
