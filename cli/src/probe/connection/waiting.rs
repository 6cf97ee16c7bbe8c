//! How long a connection is waited for, and for what.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::{Connection, PIECE};
use crate::probe::endpoint::{becomes_ready, words};
use crate::probe::timeline::in_bytes;

/// Between two looks at the length of the receive queue, which nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// After so many times the timeout a connection that is still busy is given up.
const PATIENCE: u32 = 6;

impl Connection {
    /// How long a server is given to do what it does without being asked: several round trips, and time to think.
    pub fn quiet(&self) -> Duration {
        Duration::from_millis(150) + 4 * self.rtt
    }

    /// Nothing happened for the timeout, or it has gone on for several of them.
    pub fn is_overdue(&self) -> bool {
        self.progress.elapsed() > self.timeout || self.started.elapsed() > PATIENCE * self.timeout
    }

    /// How long nothing has gone either way.
    pub fn stalled(&self) -> Duration {
        self.progress.elapsed()
    }

    /// Waits until there is something to read (if `reading`), room to send what waits for it, or a reset.
    pub fn wait(&mut self, reading: bool, time: Duration) {
        let mut interest = PollFlags::empty();
        if reading && !self.exhausted {
            interest |= PollFlags::IN;
        }
        if self.is_sending() && self.reset.is_none() {
            interest |= PollFlags::OUT;
        }
        if self.reset.is_some() && (!reading || self.exhausted) {
            return;
        }
        // An error of poll itself is one of memory: the next look will tell.
        let _ = becomes_ready(&self.stream, interest, time);
        self.look_for_reset();
    }

    /// poll(2) wakes for a reset without being asked; the socket's error says that it was one.
    fn look_for_reset(&mut self) {
        if let Ok(Some(error)) = self.stream.take_error() {
            self.see_reset(&format!("the connection is gone: {}", words(&error)));
        }
    }

    /// Lets the server go on, without reading, until it has done all it can: its FIN or a reset is here, or the receive
    /// queue has not grown for [`Connection::quiet`]. Sends meanwhile what is left to send.
    pub fn hold_back(&mut self) {
        let mut unread = self.unread();
        let mut since = Instant::now();
        while self.reset.is_none() && !self.fin_is_here() && !self.is_overdue() {
            let before = self.unsent();
            // Without interest in reading, so that a full receive queue does not end the wait.
            self.wait(false, LOOK_AGAIN);
            self.flush();
            let now = self.unread();
            if now != unread || self.unsent() != before {
                (unread, since) = (now, Instant::now());
                self.progress = Instant::now();
            } else if unread > 0 && since.elapsed() > self.quiet() {
                break;
            }
        }
        let unread = in_bytes(self.unread());
        self.note(format!("the client has not read yet: {unread} in its receive queue"));
    }

    /// Waits for a reset that something just said may cause, without reading.
    pub fn await_reaction(&mut self) {
        let started = Instant::now();
        while self.reset.is_none() && started.elapsed() < self.quiet() {
            self.flush();
            self.wait(false, LOOK_AGAIN);
        }
    }

    /// Sends our FIN and sees what that brings: the end of a connection that nobody needs any more.
    pub fn leave(&mut self) {
        if self.reset.is_some() {
            return;
        }
        if self.fin.is_none() {
            self.note("the client closes first");
        }
        if self.stream.shutdown(Shutdown::Write).is_err() {
            self.look_for_reset();
        }
        let started = Instant::now();
        let mut rest = Vec::new();
        while self.reset.is_none() && started.elapsed() < self.quiet() {
            if self.exhausted {
                // poll(2) does not wait any more once both directions are shut.
                std::thread::sleep(LOOK_AGAIN);
                self.look_for_reset();
                if is_over(self.info().state) {
                    return;
                }
            } else {
                self.wait(true, LOOK_AGAIN);
                self.receive(&mut rest, PIECE);
                rest.clear();
            }
        }
    }
}

/// TIME_WAIT or CLOSE.
fn is_over(state: u8) -> bool {
    matches!(state, 6 | 7)
}
