//! What must be: which numbers are open, who holds which connection, and what its peer must see.

use crate::operation::{Batch, Ending, How, Operation, Way};
use crate::peer::{End, Peer, GENEROUS, LATE_BYTES};
use crate::server::{encode, Call, REPLY_BYTES};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const MOST_CONNECTIONS: usize = 8;
const MOST_NUMBERS: usize = 32;
/// More than any peer's window and the server's send queue hold: the response cannot leave at once.
const MANY_BYTES: i32 = 4 << 20;

struct Connection {
    peer: Peer,
    numbers: Vec<i32>,
    /// Bytes the server's calls said they had taken.
    written: usize,
    write_shut: bool,
    /// Its read half was shut: the kernel may answer what comes then with RST, and the library cannot help it.
    read_shut: bool,
    /// Bytes of the peer's that the server has not read.
    unread: usize,
}

/// A connection in an epoll set, under one of its numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Registration {
    epoll: i32,
    number: i32,
    connection: usize,
}

pub struct Model {
    control: UnixStream,
    port: u16,
    connections: Vec<Connection>,
    epolls: Vec<i32>,
    /// Those whose number has stayed open. (With another number of the same connection the kernel would keep them; the library
    /// does not know who holds it then, and removes them.)
    registrations: Vec<Registration>,
}

type Checked<T = ()> = Result<T, String>;

fn pick<T>(of: &[T], index: u8) -> Option<&T> {
    of.get(usize::from(index) % of.len().max(1))
}

impl Model {
    pub fn new(control: UnixStream) -> Checked<Model> {
        let mut model = Model {
            control,
            port: 0,
            connections: Vec::new(),
            epolls: Vec::new(),
            registrations: Vec::new(),
        };
        model.port = model.reply()?.0 as u16;
        Ok(model)
    }

    fn reply(&mut self) -> Checked<(i32, i32)> {
        let mut bytes = [0; REPLY_BYTES];
        self.control.read_exact(&mut bytes).map_err(|e| format!("the server is gone: {e}"))?;
        let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Ok((word(0), word(4)))
    }

    fn call(&mut self, call: Call, a: i32, b: i32, c: i32) -> Checked<(i32, i32)> {
        self.control.write_all(&encode(call, a, b, c)).map_err(|e| format!("the server is gone: {e}"))?;
        self.reply()
    }

    /// A call that must not fail.
    fn must(&mut self, call: Call, a: i32, b: i32, c: i32) -> Checked<i32> {
        match self.call(call, a, b, c)? {
            (result, _) if result >= 0 => Ok(result),
            (_, errno) => Err(format!("{call:?}({a}, {b}, {c}) failed with errno {errno}")),
        }
    }

    fn numbers(&self) -> Vec<(usize, i32)> {
        let each = self.connections.iter().enumerate();
        each.flat_map(|(id, c)| c.numbers.iter().map(move |number| (id, *number))).collect()
    }

    fn require_new(&self, number: i32) -> Checked {
        let taken = self.numbers().iter().any(|(_, n)| *n == number) || self.epolls.contains(&number);
        if taken {
            Err(format!("number {number} was given out while it is open"))
        } else {
            Ok(())
        }
    }

    fn ended(&mut self, number: i32) {
        for connection in &mut self.connections {
            connection.numbers.retain(|n| *n != number);
        }
        self.registrations.retain(|registration| registration.number != number);
    }

    pub fn apply(&mut self, operation: &Operation) -> Checked {
        let numbers = self.numbers();
        match *operation {
            Operation::Accept
                if self.connections.len() < MOST_CONNECTIONS && numbers.len() < MOST_NUMBERS =>
            {
                let peer = Peer::connect(self.port).map_err(|e| format!("no connection: {e}"))?;
                let number = self.must(Call::Accept, 0, 0, 0)?;
                self.require_new(number)?;
                let connection = Connection {
                    peer,
                    numbers: vec![number],
                    written: 0,
                    write_shut: false,
                    read_shut: false,
                    unread: 0,
                };
                self.connections.push(connection);
            }
            Operation::Dup { number } if numbers.len() < MOST_NUMBERS => {
                let Some((id, old)) = pick(&numbers, number).copied() else { return Ok(()) };
                let new = self.must(Call::Dup, old, 0, 0)?;
                self.require_new(new)?;
                self.connections[id].numbers.push(new);
            }
            Operation::DupOver { from, onto } => {
                let (Some((id, old)), Some((_, new))) =
                    (pick(&numbers, from).copied(), pick(&numbers, onto).copied())
                else {
                    return Ok(());
                };
                if self.must(Call::DupOver, old, new, 0)? != new {
                    return Err(format!("dup2({old}, {new}) gave another number"));
                }
                self.ended(new);
                self.connections[id].numbers.push(new);
            }
            Operation::Close { number, way } => {
                let Some((_, number)) = pick(&numbers, number).copied() else { return Ok(()) };
                let call = match way {
                    Way::Close => Call::Close,
                    Way::Syscall => Call::SyscallClose,
                    Way::CloseRange => Call::CloseRange,
                    Way::Fclose => Call::Fclose,
                };
                self.must(call, number, 0, 0)?;
                self.ended(number);
                if self.must(Call::IsOpen, number, 0, 0)? != 0 {
                    return Err(format!("{number} is still open after {call:?}"));
                }
            }
            Operation::Shutdown { number, how } => {
                let Some((id, number)) = pick(&numbers, number).copied() else { return Ok(()) };
                let (argument, read, write) = match how {
                    How::Read => (libc::SHUT_RD, true, false),
                    How::Write => (libc::SHUT_WR, false, true),
                    How::Both => (libc::SHUT_RDWR, true, true),
                };
                self.call(Call::Shutdown, number, argument, 0)?;
                self.connections[id].read_shut |= read;
                self.connections[id].write_shut |= write;
            }
            Operation::Write { number, bytes, many } => {
                let Some((id, number)) = pick(&numbers, number).copied() else { return Ok(()) };
                let count = if many { MANY_BYTES } else { i32::from(bytes) };
                let (taken, _) =
                    self.call(Call::Write, number, count, self.connections[id].written as i32)?;
                self.connections[id].written += usize::try_from(taken).unwrap_or(0);
            }
            Operation::Read { number } => {
                if let Some((id, number)) = pick(&numbers, number).copied() {
                    self.read(id, number)?;
                }
            }
            Operation::EpollCreate if self.epolls.len() < 4 => {
                let epoll = self.must(Call::EpollCreate, 0, 0, 0)?;
                self.require_new(epoll)?;
                self.epolls.push(epoll);
            }
            Operation::EpollAdd { epoll, number } | Operation::EpollDel { epoll, number } => {
                let (Some(epoll), Some((id, number))) =
                    (pick(&self.epolls, epoll).copied(), pick(&numbers, number).copied())
                else {
                    return Ok(());
                };
                let adds = matches!(operation, Operation::EpollAdd { .. });
                let call = if adds { Call::EpollAdd } else { Call::EpollDel };
                let registration = Registration { epoll, number, connection: id };
                if self.call(call, epoll, number, id as i32)?.0 == 0 {
                    self.registrations.retain(|other| *other != registration);
                    self.registrations.extend(adds.then_some(registration));
                }
            }
            Operation::EpollWait { epoll } => {
                if let Some(epoll) = pick(&self.epolls, epoll).copied() {
                    self.events(epoll)?;
                }
            }
            Operation::PeerSends { connection, bytes } => {
                if let Some((connection, count)) = self.pick_connection(connection) {
                    let count = usize::from(bytes) % 2000 + count;
                    if connection.peer.send(count) {
                        connection.unread += count;
                    }
                }
            }
            Operation::PeerEnds { connection } => {
                if let Some((connection, _)) = self.pick_connection(connection) {
                    connection.peer.end();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn pick_connection(&mut self, index: u8) -> Option<(&mut Connection, usize)> {
        let count = self.connections.len();
        self.connections.get_mut(usize::from(index) % count.max(1)).map(|c| (c, 1))
    }

    /// What the server reads, where there is anything.
    fn read(&mut self, id: usize, number: i32) -> Checked<(i32, i32)> {
        let (count, errno) = self.call(Call::Read, number, 0, 0)?;
        let read = usize::try_from(count).unwrap_or(0);
        match self.connections[id].unread.checked_sub(read) {
            Some(left) => self.connections[id].unread = left,
            None => {
                return Err(format!("{read} bytes were read of connection {id}, more than its peer had sent"))
            }
        }
        Ok((count, errno))
    }

    /// No event may come for a connection the program has let go of: it would carry a pointer it has freed. And one must come
    /// for each that is held and registered and has something to be read, or it would never be read.
    fn events(&mut self, epoll: i32) -> Checked {
        let until = Instant::now() + GENEROUS;
        loop {
            let bits = self.must(Call::EpollWait, epoll, 0, 0)?;
            let came = |id: usize| bits >> id & 1 == 1;
            if let Some(id) =
                (0..self.connections.len()).find(|id| came(*id) && self.connections[*id].numbers.is_empty())
            {
                return Err(format!("an event for connection {id}, which was let go of"));
            }
            let due = self
                .registrations
                .iter()
                .filter(|r| r.epoll == epoll && self.connections[r.connection].readable());
            match due.map(|r| r.connection).find(|id| !came(*id)) {
                None => return Ok(()),
                Some(id) if Instant::now() > until => {
                    return Err(format!(
                        "no event for connection {id}, which is registered and has something to be read"
                    ));
                }
                // On its way.
                Some(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn must_be_well(&mut self, id: usize) -> Checked {
        let connection = &mut self.connections[id];
        let Some(number) = connection.numbers.first().copied() else {
            return connection.must_have_ended(true);
        };
        if !connection.write_shut {
            return connection.peer.still_open_after(connection.written);
        }
        // Its response has ended, and it is held: where its read half is open, the server must get all the peer sends.
        let late = !connection.read_shut && !connection.peer.has_ended();
        connection.must_have_ended(true)?;
        if late {
            connection.unread += LATE_BYTES;
        }
        if connection.read_shut {
            return Ok(());
        }
        let until = Instant::now() + GENEROUS;
        while Instant::now() < until {
            match self.read(id, number)? {
                (1.., _) => {}
                (0, _) if self.connections[id].unread == 0 => return Ok(()),
                (-1, libc::EAGAIN) => std::thread::sleep(Duration::from_millis(1)),
                (result, errno) => {
                    let unread = self.connections[id].unread;
                    return Err(format!(
                        "recv says {result} (errno {errno}) with {unread} bytes of the peer's unread"
                    ));
                }
            }
        }
        Err("held and half-closed, it never got to the end of its input".into())
    }

    /// All that was let go of must have ended well, all that is held must be whole; then the process ends.
    pub fn finish(&mut self, batch: &Batch) -> Checked {
        for epoll in self.epolls.clone() {
            self.events(epoll)?;
        }
        if self.connections.iter().any(|c| c.numbers.is_empty()) && !self.numbers().is_empty() {
            // A wrong shutdown would come from the drain thread, a little later.
            std::thread::sleep(Duration::from_millis(15));
        }
        for id in 0..self.connections.len() {
            self.must_be_well(id).map_err(|e| format!("connection {id}: {e}"))?;
        }
        for epoll in self.epolls.clone() {
            self.events(epoll)?;
        }
        let call = match batch.ending {
            Ending::Exit => Call::Exit,
            Ending::AbruptExit => Call::AbruptExit,
            Ending::QuickExit => Call::QuickExit,
        };
        let _ = self.control.write_all(&encode(call, 0, 0, 0));
        // All at once: idle connections end with the process, which waits for those that linger.
        let peers: Vec<_> = self
            .connections
            .drain(..)
            .enumerate()
            .filter(|(_, connection)| !connection.numbers.is_empty())
            .map(|(id, mut connection)| {
                std::thread::spawn(move || {
                    connection.must_have_ended(false).map_err(|e| format!("connection {id} at {call:?}: {e}"))
                })
            })
            .collect();
        peers.into_iter().try_for_each(|peer| peer.join().unwrap_or_else(|_| Err("a peer panicked".into())))
    }
}

impl Connection {
    /// Whether a wait for it must end at once: bytes, or the end of the input.
    fn readable(&self) -> bool {
        self.unread > 0 || self.peer.has_ended() || self.read_shut
    }

    /// The peer must have got every byte and then FIN. `late`: and may go on sending.
    fn must_have_ended(&mut self, late: bool) -> Checked {
        let (received, end) = self.peer.read_to_end()?;
        if self.read_shut && self.peer.has_sent() && end == End::Reset {
            return Ok(());
        }
        if (received, &end) != (self.written, &End::Fin) {
            return Err(format!("{received} of {} bytes, then {end:?}", self.written));
        }
        if late && !self.read_shut && !self.peer.has_ended() && !self.peer.send_late() {
            return Err("what the peer sent late was answered with RST".into());
        }
        Ok(())
    }
}
