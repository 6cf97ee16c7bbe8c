//! Read halves that are to be shut in a moment.
//!
//! A program that shuts both halves and then closes would get a RST for whatever its peer still sends. Its read half
//! is kept open for a moment, so that the close, if that is what follows, can linger; if it does not follow, the read
//! half is shut, and whoever waits to read is woken with EOF. How long a moment is, is learned from the last one: of those who
//! wait to be woken only the first waits long.
//!
//! **Invariant:** each entry owns one descriptor of the drain thread's table.

use crate::sys::{self, socket, Fd};
use crate::verdict;

/// How long a read half stays open in a program that closes what it shut: a thread that shuts a connection may be preempted before
/// it closes it, or wait for a lock of its interpreter (docs/notes/shutdown.md).
const PATIENT_MS: u64 = 50;
/// How long in one that does not: a thread blocked in recv(2) wakes that much later.
const BRIEF_MS: u64 = 5;

#[derive(Clone, Copy)]
struct Entry {
    fd: Fd,
    inode: u64,
    until: Until,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// In milliseconds.
    Moment(u64),
    /// That moment has passed, but its close may be waiting to be received.
    NextTurn,
    /// It was closed, and whether somebody else holds it is being looked for.
    Answer,
}

impl Entry {
    fn due_ms(&self) -> Option<u64> {
        match self.until {
            Until::Moment(at_ms) => Some(at_ms),
            Until::NextTurn => Some(0),
            Until::Answer => None,
        }
    }
}

/// The few that wait.
pub(super) struct Shutting {
    entries: [Option<Entry>; 64],
    /// By what became of the last one.
    delay_ms: u64,
}

impl Shutting {
    pub(super) const fn new() -> Shutting {
        Shutting { entries: [None; 64], delay_ms: PATIENT_MS }
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(Option::is_none)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    /// Takes `fd` over and shuts its read half later; at once where there is no room.
    pub(super) fn add(&mut self, fd: Fd, now_ms: u64) {
        let Ok(identity) = sys::identity(fd) else {
            return end(fd);
        };
        if self.entries.iter().flatten().any(|entry| entry.inode == identity.inode) {
            let _ = sys::close(fd);
            return;
        }
        if self.len() == self.entries.len() {
            self.end_all(&|entry| !peer_may_send(entry));
        }
        match self.entries.iter_mut().find(|entry| entry.is_none()) {
            Some(place) => {
                let until = Until::Moment(now_ms + self.delay_ms);
                *place = Some(Entry { fd, inode: identity.inode, until });
            }
            None => end(fd),
        }
    }

    /// The connection `fd` was closed before its read half was shut. Until it is known whether somebody else holds it, it stays open.
    pub(super) fn hold(&mut self, fd: Fd) {
        if let Some(entry) = self.entry_of(fd).and_then(Option::as_mut) {
            entry.until = Until::Answer;
            self.delay_ms = PATIENT_MS;
        }
    }

    /// Nobody else does, and now it is not to happen.
    pub(super) fn forget(&mut self, fd: Fd) {
        if let Some(found) = self.entry_of(fd).and_then(Option::take) {
            let _ = sys::close(found.fd);
            self.delay_ms = PATIENT_MS;
        }
    }

    /// Somebody else does, and it is shut for him.
    pub(super) fn shut(&mut self, fd: Fd) {
        if let Some(found) = self.entry_of(fd).and_then(Option::take) {
            end(found.fd);
        }
    }

    fn entry_of(&mut self, fd: Fd) -> Option<&mut Option<Entry>> {
        if self.is_empty() {
            return None;
        }
        let identity = sys::identity(fd).ok()?;
        self.entries.iter_mut().find(|entry| entry.is_some_and(|entry| entry.inode == identity.inode))
    }

    /// Shuts what is due. Where closes may be `waiting` that were made before, it is given until they have been received.
    pub(super) fn shut_what_is_due(&mut self, now_ms: u64, waiting: bool) {
        let due = |entry: &Entry| entry.due_ms().is_some_and(|at_ms| at_ms <= now_ms);
        let must_wait = |entry: &Entry| waiting && entry.until != Until::NextTurn;
        // Where the peer has nothing more to say its close need not have come here, and nobody waits for anything but for it.
        if self.entries.iter().flatten().any(|entry| due(entry) && !must_wait(entry) && peer_may_send(entry))
        {
            self.delay_ms = BRIEF_MS;
        }
        self.end_all(&|entry| due(entry) && !must_wait(entry));
        for entry in self.entries.iter_mut().flatten().filter(|entry| due(entry)) {
            entry.until = Until::NextTurn;
        }
    }

    /// Shuts them all.
    pub(super) fn shut_all(&mut self) {
        self.end_all(&|_| true);
    }

    fn end_all(&mut self, these: &dyn Fn(&Entry) -> bool) {
        for place in &mut self.entries {
            if let Some(entry) = place.take_if(|entry| these(entry)) {
                end(entry.fd);
            }
        }
    }

    /// When the next one is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.entries.iter().flatten().filter_map(Entry::due_ms).min()
    }
}

fn peer_may_send(entry: &Entry) -> bool {
    verdict::by_state(socket::tcp_state(entry.fd).ok()).is_none()
}

fn end(fd: Fd) {
    let _ = socket::shut_read(fd);
    let _ = sys::close(fd);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, IntoRawFd};

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (server, client)
    }

    fn add(shutting: &mut Shutting, connection: &TcpStream, now_ms: u64) {
        shutting.add(connection.try_clone().unwrap().into_raw_fd(), now_ms);
    }

    fn is_shut(connection: &TcpStream) -> bool {
        match connection.peek(&mut [0]) {
            Ok(length) => length == 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }

    #[test]
    fn only_the_first_of_those_who_wait_to_be_woken_waits_long() {
        let connections: Vec<_> = (0..4).map(|_| connection()).collect();
        let mut shutting = Shutting::new();
        for (server, _client) in &connections {
            add(&mut shutting, server, 1000);
        }
        let due = 1000 + PATIENT_MS;
        assert_eq!(shutting.next_ms(), Some(due));
        shutting.shut_what_is_due(due - 1, false);
        assert!(!connections.iter().any(|(server, _)| is_shut(server)));
        shutting.shut_what_is_due(due, false);
        assert!(connections.iter().all(|(server, _)| is_shut(server)) && shutting.is_empty());
        let (server, _client) = connection();
        add(&mut shutting, &server, 2000);
        assert_eq!(shutting.next_ms(), Some(2000 + BRIEF_MS));
    }

    #[test]
    fn a_close_in_time_is_waited_for_again() {
        let [(slow, _a), (quick, _b), (next, _c)] = core::array::from_fn(|_| connection());
        let mut shutting = Shutting::new();
        add(&mut shutting, &slow, 0);
        shutting.shut_what_is_due(PATIENT_MS, false);
        assert!(is_shut(&slow));
        add(&mut shutting, &quick, 1000);
        shutting.forget(quick.as_raw_fd());
        assert!(!is_shut(&quick) && shutting.is_empty());
        add(&mut shutting, &next, 2000);
        assert_eq!(shutting.next_ms(), Some(2000 + PATIENT_MS));
    }

    #[test]
    fn what_was_closed_waits_until_its_holders_are_known() {
        let [(last, _a), (shared, _b)] = core::array::from_fn(|_| connection());
        let mut shutting = Shutting::new();
        for connection in [&last, &shared] {
            add(&mut shutting, connection, 0);
            shutting.hold(connection.as_raw_fd());
        }
        shutting.shut_what_is_due(u64::MAX, false);
        assert_eq!((shutting.len(), shutting.next_ms()), (2, None));
        shutting.forget(last.as_raw_fd());
        shutting.shut(shared.as_raw_fd());
        assert!(!is_shut(&last) && is_shut(&shared) && shutting.is_empty());
    }

    #[test]
    fn a_close_that_waits_to_be_received_is_in_time() {
        let [(closed, _a), (open, _b)] = core::array::from_fn(|_| connection());
        let mut shutting = Shutting::new();
        [&closed, &open].iter().for_each(|connection| add(&mut shutting, connection, 0));
        shutting.shut_what_is_due(1000, true);
        assert_eq!((shutting.len(), shutting.next_ms()), (2, Some(0)));
        shutting.forget(closed.as_raw_fd());
        shutting.shut_what_is_due(1000, true);
        assert!(!is_shut(&closed) && is_shut(&open) && shutting.is_empty());
    }

    #[test]
    fn shutting_once_more_takes_no_place() {
        let (server, _client) = connection();
        let mut shutting = Shutting::new();
        for now_ms in 0..100 {
            add(&mut shutting, &server, now_ms);
        }
        assert_eq!((shutting.len(), shutting.next_ms()), (1, Some(PATIENT_MS)));
        shutting.shut_all();
        assert!(is_shut(&server));
    }

    #[test]
    fn a_peer_that_has_finished_says_nothing_about_the_program() {
        let [(server, client), (next, _b)] = core::array::from_fn(|_| connection());
        let mut shutting = Shutting::new();
        add(&mut shutting, &server, 0);
        drop(client);
        while !is_shut(&server) {
            std::thread::yield_now();
        }
        shutting.shut_what_is_due(PATIENT_MS, false);
        assert!(shutting.is_empty());
        add(&mut shutting, &next, 1000);
        assert_eq!(shutting.next_ms(), Some(1000 + PATIENT_MS));
    }

    #[test]
    fn who_has_finished_makes_room() {
        let mut shutting = Shutting::new();
        let connections: Vec<_> = (0..shutting.entries.len()).map(|_| connection()).collect();
        connections.iter().for_each(|(server, _client)| add(&mut shutting, server, 0));
        let [finished, ..] = &connections[..] else { unreachable!() };
        finished.1.shutdown(std::net::Shutdown::Write).unwrap();
        while !is_shut(&finished.0) {
            std::thread::yield_now();
        }
        let (next, _client) = connection();
        add(&mut shutting, &next, 0);
        assert!(!is_shut(&next) && shutting.len() == connections.len());
    }

    #[test]
    fn where_there_is_no_room_it_is_shut_at_once() {
        let mut shutting = Shutting::new();
        let connections: Vec<_> = (0..=shutting.entries.len()).map(|_| connection()).collect();
        connections.iter().for_each(|(server, _client)| add(&mut shutting, server, 0));
        let shut = connections.iter().filter(|(server, _)| is_shut(server)).count();
        assert_eq!((shut, is_shut(&connections[connections.len() - 1].0)), (1, true));
        shutting.shut_all();
    }
}
