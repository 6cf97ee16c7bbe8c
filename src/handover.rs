//! The way of a connection from the thread that closes it to the drain thread.
//!
//! One Unix datagram socket connected to itself. The program's descriptor table has its only number there; the
//! drain thread has another in its private table, and receives what was sent with SCM_RIGHTS. The kernel is the
//! queue: no memory of ours, no lock, and what is queued stays open, whatever the program does to its table.
//!
//! **Promises:** [`send`] never waits and never allocates; it is async-signal-safe. On any error the caller still
//! owns its descriptor and nothing was handed over.
//!
//! **Invariants:** the number is used only after [`channel`] has checked that it still is our socket: a program
//! that sweeps its table (closefrom(3), dup2(2) over everything) may have closed or reused it.

mod number;
pub(crate) mod pace;

pub use number::Reserved;

use crate::drain::Deadline;
use crate::lifecycle::RETRY_AFTER_MS;
use crate::sys::passing::{self, Message, PAYLOAD_BYTES};
use crate::sys::{self, process, Errno, Fd, Identity};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use number::Number;
use pace::Pace;

static CHANNEL: Number = Number::new();
/// How often a channel may be lost to a sweep before we stop replacing it.
static REPLACEMENTS_LEFT: AtomicU32 = AtomicU32::new(8);
/// How often making it has failed since it last succeeded, and when it last did: after a few tries the next is made a while later.
static FAILURES: AtomicU32 = AtomicU32::new(0);
static FAILED_AT_MS: AtomicU64 = AtomicU64::new(0);
const TRIES: u32 = 3;

/// When the drain thread looks next.
pub(crate) static PACE: Pace = Pace::new();
/// Room for a burst of closes, about 750 bytes each. The memory is taken only while they wait.
const QUEUE_BYTES: i32 = 2 << 20;

/// What the drain thread is to do with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// When to give up.
    pub deadline: Deadline,
    /// What is left to do.
    pub task: Task,
    /// Where to say how it ended ([`crate::Lingering`]): a socket of whoever has the request.
    pub report: Option<Fd>,
}

/// What is left to do with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// It is half-closed and nobody else holds it: drain and close it.
    Drain {
        /// What recv(2) will mean by 0.
        input: Input,
        /// Bytes the caller has discarded already.
        discarded: u32,
    },
    /// Somebody else may hold the socket: look for holders before touching it.
    Search(Suspicion),
    /// The program shut both halves: shut the read half in a moment, unless its close comes first.
    ShutRead,
    /// No connection, but the directory /proc as it was before the program changed its root.
    KeepProc,
}

/// What recv(2) means when it answers 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// The peer's FIN: the program never shut its read half.
    Intact,
    /// That, or a read half that the program shut.
    Unknown,
}

/// Who may hold a connection besides the one that let go of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suspicion {
    /// Where the connection came from: it limits who can hold it.
    pub origin: Origin,
    /// The number the connection has in the program's table, which is about to be closed.
    pub number: Fd,
    /// Whether the whole process is about to end, so that none of its own numbers counts.
    pub exiting: bool,
    /// Who else was given it.
    pub share: Share,
}

/// Who was given a connection that this program accepted, by the forks since; it was neither sent to another process nor, in the
/// parent, duplicated. `forks` counts those before and after which the child was forked: it is the same in parent and child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Nobody can tell.
    Unknown,
    /// One child of this process. `in_order`: the thread that lets go is the only one that forks.
    WithOneChild {
        /// See [`Share`].
        forks: u32,
        /// What is forked later does not have it.
        in_order: bool,
    },
    /// The parent; this is that child, and has no child of its own.
    WithParent {
        /// See [`Share`].
        forks: u32,
        /// This process has, or had, other numbers for it.
        duplicated: bool,
    },
}

impl Share {
    fn encode(self) -> (u8, u32) {
        match self {
            Share::Unknown => (0, 0),
            Share::WithOneChild { forks, in_order } => (if in_order { 2 } else { 1 }, forks),
            Share::WithParent { forks, duplicated } => (if duplicated { 4 } else { 3 }, forks),
        }
    }

    fn decode(kind: u8, forks: u32) -> Share {
        match kind {
            1 | 2 => Share::WithOneChild { forks, in_order: kind == 2 },
            3 | 4 => Share::WithParent { forks, duplicated: kind == 4 },
            _ => Share::Unknown,
        }
    }
}

/// Where a connection that may be shared came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Accepted by this program, here or before a fork.
    Accepted,
    /// Received from another process.
    Received,
}

impl Request {
    fn encode(self) -> [u8; PAYLOAD_BYTES] {
        let (milliseconds, exact) = match self.deadline {
            Deadline::Default => (0, 0u8),
            Deadline::Exactly(ms) => (ms, 1),
        };
        let nothing =
            Suspicion { origin: Origin::Accepted, number: 0, exiting: false, share: Share::Unknown };
        let of = |number| Suspicion { number, ..nothing };
        let (task, suspicion) = match self.task {
            Task::Drain { input: Input::Unknown, discarded } => (0u8, of(discarded as Fd)),
            Task::Drain { input: Input::Intact, discarded } => (4, of(discarded as Fd)),
            Task::Search(suspicion) if suspicion.origin == Origin::Accepted => (1, suspicion),
            Task::Search(suspicion) => (2, suspicion),
            Task::ShutRead => (3, nothing),
            Task::KeepProc => (5, nothing),
        };
        let (share, forks) = suspicion.share.encode();
        let [a, b, c, d] = milliseconds.to_ne_bytes();
        let [e, f, g, h] = suspicion.number.to_ne_bytes();
        let [i, j, k, l] = forks.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, exact, task, u8::from(suspicion.exiting), share]
    }

    fn decode(
        [a, b, c, d, e, f, g, h, i, j, k, l, exact, task, exiting, share]: [u8; PAYLOAD_BYTES],
    ) -> Request {
        let milliseconds = u32::from_ne_bytes([a, b, c, d]);
        let number = Fd::from_ne_bytes([e, f, g, h]);
        let share = Share::decode(share, u32::from_ne_bytes([i, j, k, l]));
        let suspicion = |origin| Task::Search(Suspicion { origin, number, exiting: exiting != 0, share });
        Request {
            deadline: if exact == 0 { Deadline::Default } else { Deadline::Exactly(milliseconds) },
            task: match task {
                0 => Task::Drain { input: Input::Unknown, discarded: number as u32 },
                4 => Task::Drain { input: Input::Intact, discarded: number as u32 },
                2 => suspicion(Origin::Received),
                3 => Task::ShutRead,
                5 => Task::KeepProc,
                _ => suspicion(Origin::Accepted),
            },
            report: None,
        }
    }
}

/// The number of our socket, whether or not it still is ours: a hook shields it.
pub fn number() -> Option<Fd> {
    CHANNEL.unchecked()
}

/// Our socket, checked.
pub fn channel() -> Option<Fd> {
    CHANNEL.checked(sys::identity)
}

/// [`channel`] for whoever must not leave what waits in it: where the check itself fails, it is made again.
pub fn channel_at_last() -> Option<Fd> {
    for _ in 0..100 {
        let channel = channel();
        if channel.is_some() || number().is_none() {
            return channel;
        }
    }
    None
}

/// Sees to it that there is a channel. Called at the first accept(2), so that a program that uses up its
/// descriptors later has one. `before` is called before others learn of a new one.
pub fn reserve(before: &dyn Fn()) -> Reserved {
    CHANNEL.reserve(sys::identity, || {
        // A try that is not made is none that failed.
        if !may_be_tried() {
            return None;
        }
        // One failure is made up for at once: a child that serves a single client has no second close.
        let made = make().or_else(make);
        match made {
            Some(_) => {
                FAILURES.store(0, Ordering::Relaxed);
                before();
            }
            None => {
                FAILURES.fetch_add(1, Ordering::Relaxed);
                FAILED_AT_MS.store(process::now_ms(), Ordering::Relaxed);
            }
        }
        made
    })
}

fn make() -> Option<(Fd, Identity)> {
    // Without a table of its own there is no drain thread, and what waits for one would be closed unread.
    let possible = sys::table_can_be_unshared();
    let made = possible.and_then(|()| passing::self_connected()).and_then(out_of_the_way).ok()?;
    let Ok(identity) = sys::identity(made) else {
        let _ = sys::close(made);
        return None;
    };
    passing::set_send_queue(made, QUEUE_BYTES);
    REPLACEMENTS_LEFT.fetch_sub(1, Ordering::Relaxed);
    Some((made, identity))
}

fn may_be_tried() -> bool {
    let again_at = FAILED_AT_MS.load(Ordering::Relaxed).saturating_add(RETRY_AFTER_MS);
    let waits = FAILURES.load(Ordering::Relaxed) >= TRIES && process::now_ms() < again_at;
    !waits && REPLACEMENTS_LEFT.load(Ordering::Relaxed) > 0
}

/// Moves `fd` to a high number, so that the program's next descriptor gets the number it would have had without
/// us. Below 1024, for programs that hand all their numbers to select(2); never 0 to 2, where it would pass for a standard
/// stream of a program that has closed its own.
fn out_of_the_way(fd: Fd) -> sys::Result<Fd> {
    let limit = process::descriptor_limit().min(1024) as Fd;
    let mut lowest = limit - 8;
    while lowest > fd.max(2) {
        if let Ok(high) = sys::dup_at_least(fd, lowest) {
            let _ = sys::close(fd);
            return Ok(high);
        }
        lowest -= 64;
    }
    if fd > 2 {
        return Ok(fd);
    }
    let moved = sys::dup_at_least(fd, 3);
    let _ = sys::close(fd);
    moved
}

/// Makes way for a program that wants our number for itself (dup2(2) over it).
pub fn vacate(number: Fd) {
    let Some(fd) = channel().filter(|fd| *fd == number) else {
        return;
    };
    let moved = sys::dup_at_least(fd, fd + 1).or_else(|_| sys::dup_at_least(fd, 3));
    CHANNEL.change(moved.ok());
}

/// In a forked child: lets go of the parent's channel.
pub fn forget() {
    if let Some(fd) = channel() {
        let _ = sys::close(fd);
    }
    CHANNEL.change(None);
    PACE.reset();
    REPLACEMENTS_LEFT.store(8, Ordering::Relaxed);
    FAILURES.store(0, Ordering::Relaxed);
}

/// Hands a reference to the connection `fd` over. The caller still has to close its number.
///
/// Errors: EBADF without a channel, EAGAIN when the queue is full, ETOOMANYREFS and ENOMEM from the kernel.
pub fn send(fd: Fd, request: Request) -> sys::Result<()> {
    let channel = channel().ok_or(Errno(libc::EBADF))?;
    let sent = passing::send_descriptors(channel, fd, request.report, &request.encode());
    PACE.sent(sent.is_ok(), process::futex_wake);
    sent
}

/// A message received.
#[derive(Debug)]
pub enum Received {
    /// A connection, now owned by the caller.
    Connection(Fd, Request),
    /// A connection that the kernel dropped because the receiving table was full.
    Lost(Request),
    /// Nothing but a wake-up.
    Nudge,
}

impl From<Message> for Received {
    fn from(message: Message) -> Received {
        match message.fd {
            Some(fd) => Received::Connection(
                fd,
                Request { report: message.second, ..Request::decode(message.payload) },
            ),
            None if message.length == 0 => Received::Nudge,
            None => Received::Lost(Request::decode(message.payload)),
        }
    }
}

/// Hands the next messages in `channel` (the receiving thread's own number for it), at most `limit`, to `take`. Returns how
/// many there were; EAGAIN for none.
pub fn receive(channel: Fd, limit: usize, take: &mut dyn FnMut(Received)) -> sys::Result<usize> {
    passing::receive_descriptors(channel, limit, &mut |message| take(message.into()))
}

/// What waits next in `channel`, and stays there; `None` for a wake-up, EAGAIN for nothing.
pub fn look(channel: Fd) -> sys::Result<Option<Request>> {
    Ok(passing::look_at_payload(channel)?.map(Request::decode))
}

/// Takes the next message out of `channel` and drops the references that came with it: no number is taken for them. `None` for a
/// wake-up, EAGAIN for nothing.
pub fn drop_next(channel: Fd) -> sys::Result<Option<Request>> {
    Ok(passing::receive_without_descriptors(channel)?.map(Request::decode))
}

/// Wakes the drain thread, wherever it sleeps.
pub fn nudge() {
    PACE.hurry(process::futex_wake);
    if let Some(channel) = channel() {
        let _ = passing::send_nothing(channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_request_survives_the_wire(
            ms in any::<u32>(), exact in any::<bool>(), task in 0u8..6, number in 0..Fd::MAX, exiting in any::<bool>(),
            share in 0u8..5, forks in 1u32..
        ) {
            let share = Share::decode(share, forks);
            let suspicion = |origin| Task::Search(Suspicion { origin, number, exiting, share });
            let request = Request {
                deadline: if exact { Deadline::Exactly(ms) } else { Deadline::Default },
                task: match task {
                    0 => Task::Drain { input: Input::Unknown, discarded: ms },
                    4 => Task::Drain { input: Input::Intact, discarded: ms },
                    1 => Task::ShutRead,
                    5 => Task::KeepProc,
                    2 => suspicion(Origin::Accepted),
                    _ => suspicion(Origin::Received),
                },
                report: None,
            };
            prop_assert_eq!(Request::decode(request.encode()), request);
        }
    }

    #[test]
    fn a_descriptor_passes_through_a_socket_connected_to_itself() {
        let channel = passing::self_connected().unwrap();
        let payload = sys::epoll_create().unwrap();
        let request = Request {
            deadline: Deadline::Exactly(7),
            task: Task::Drain { input: Input::Unknown, discarded: 5 },
            report: None,
        };
        passing::send_descriptors(channel, payload, None, &request.encode()).unwrap();
        passing::send_nothing(channel).unwrap();
        let mut messages = Vec::new();
        assert_eq!(receive(channel, passing::BATCH, &mut |received| messages.push(received)), Ok(2));
        let [Received::Connection(fd, received), Received::Nudge] = messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!(received, request);
        assert_eq!(sys::identity(fd), sys::identity(payload));
        assert!(receive(channel, 1, &mut |_| panic!("a third")).is_err_and(|e| e.is(libc::EAGAIN)));
        for fd in [channel, payload, fd] {
            sys::close(fd).unwrap();
        }
    }

    #[test]
    fn nobody_else_can_send_to_the_channel() {
        let (ours, theirs) = (passing::self_connected().unwrap(), passing::self_connected().unwrap());
        // SAFETY: the address is filled by the kernel and handed back to it.
        let refused = unsafe {
            let mut name: libc::sockaddr_un = core::mem::zeroed();
            let mut length = core::mem::size_of_val(&name) as libc::socklen_t;
            let pointer = &mut name as *mut libc::sockaddr_un as *mut libc::sockaddr;
            assert_eq!(libc::getsockname(ours, pointer, &mut length), 0);
            let stranger = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
            let sent = libc::sendto(stranger, c"x".as_ptr().cast(), 1, 0, pointer, length);
            libc::close(stranger);
            sent
        };
        assert_eq!(refused, -1);
        sys::close(ours).unwrap();
        sys::close(theirs).unwrap();
    }
}
