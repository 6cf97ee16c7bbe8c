//! What is known of each descriptor number: one word of facts and one of time, atomics only.
//!
//! **Promises:** one relaxed load answers "nothing is known", which is what nearly every close(2) asks. Nothing here
//! makes a system call, locks or allocates. The tables are zeros until touched: 12 bytes a number in use.
//!
//! **Invariants:** facts are written by the thread that made the descriptor, before the program learns its number,
//! and taken by the one that closes it, before the number is free. Facts that are stale, because a close went past us,
//! only cost a look at the real socket: no verdict rests on them alone.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use engine::sys::Fd;
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Numbers from here on are not watched: their connections get the plain close. It is the most Linux gives a
/// process by default (fs.nr_open).
#[cfg(not(loom))]
const NUMBERS: usize = 1 << 20;
#[cfg(not(loom))]
static FACTS: [AtomicU64; NUMBERS] = [const { AtomicU64::new(0) }; NUMBERS];
/// The value of [`FORKS`] when the connection came to this process.
#[cfg(not(loom))]
static BORN: [AtomicU32; NUMBERS] = [const { AtomicU32::new(0) }; NUMBERS];
/// Goes up before every fork, and in the child.
#[cfg(not(loom))]
pub(crate) static FORKS: AtomicU32 = AtomicU32::new(1);
/// How many calls that fork have begun here and not returned.
#[cfg(not(loom))]
static FORKING: AtomicU32 = AtomicU32::new(0);
/// The part of [`FORKS`] of which the thread is known: not vfork(2).
#[cfg(not(loom))]
static COUNTED: AtomicU32 = AtomicU32::new(1);
/// The thread that made these; 0 for none yet, [`SEVERAL`] for more than one.
#[cfg(not(loom))]
static FORKER: AtomicU64 = AtomicU64::new(0);
/// The value of [`FORKS`] when this process was forked; 0 if it was started otherwise.
#[cfg(not(loom))]
static OWN_FORK: AtomicU32 = AtomicU32::new(0);
/// Which process of the lineage this is; the program registers connections in epoll sets under it.
#[cfg(not(loom))]
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// Some thread has a descriptor table of its own: a number does not mean the same to all of them any more.
#[cfg(not(loom))]
static TABLES_DIFFER: AtomicU32 = AtomicU32::new(0);
/// Whether this process, or one it was forked from, sent a connection that has other numbers: those do not know.
#[cfg(not(loom))]
static DUPLICATE_SENT: AtomicU32 = AtomicU32::new(0);
/// Whether this process, or one it was forked from, began to listen.
#[cfg(not(loom))]
static LISTENS: AtomicU32 = AtomicU32::new(0);
/// No number above this one ever was a connection.
#[cfg(not(loom))]
static HIGHEST: AtomicU32 = AtomicU32::new(0);

// The same for tests/fds_interleavings.rs, made anew for each interleaving.
#[cfg(loom)]
loom::lazy_static! {
    static ref FACTS: [AtomicU64; 4] = core::array::from_fn(|_| AtomicU64::new(0));
    static ref BORN: [AtomicU32; 4] = core::array::from_fn(|_| AtomicU32::new(0));
    static ref FORKS: AtomicU32 = AtomicU32::new(1);
    static ref FORKING: AtomicU32 = AtomicU32::new(0);
    static ref COUNTED: AtomicU32 = AtomicU32::new(1);
    static ref FORKER: AtomicU64 = AtomicU64::new(0);
    static ref OWN_FORK: AtomicU32 = AtomicU32::new(0);
    static ref GENERATION: AtomicU32 = AtomicU32::new(0);
    static ref TABLES_DIFFER: AtomicU32 = AtomicU32::new(0);
    static ref DUPLICATE_SENT: AtomicU32 = AtomicU32::new(0);
    static ref LISTENS: AtomicU32 = AtomicU32::new(0);
    static ref HIGHEST: AtomicU32 = AtomicU32::new(0);
}

const SEVERAL: u64 = u64::MAX;

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Nothing is known.
    Unknown,
    /// A connection accepted by this program.
    Accepted,
    /// A connection this program opened.
    Client,
    /// Came from another process.
    Received,
    /// Listens for TCP connections.
    TcpListener,
    /// Listens for something else.
    OtherListener,
    /// An epoll set.
    EpollSet,
}

const ROLE: u64 = 0b111;
const DUPLICATED: u64 = 1 << 3;
const SENT: u64 = 1 << 4;
const MANY_EPOLLS: u64 = 1 << 5;
const UNFLUSHABLE: u64 = 1 << 14;
const READ_SHUT: u64 = 1 << 16;
const BORN_IN_PEACE: u64 = 1 << 17;
const GENERATION_SHIFT: u32 = 6;
const GENERATION_BITS: u64 = 0b1111_1111;
const EPOLL_SHIFTS: [u32; 2] = [20, 40];
const EPOLL_BITS: u64 = (1 << 20) - 1;

/// The facts of one number at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Facts(u64);

/// The epoll sets a connection is registered in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Epolls {
    /// In these, by this process, under this number.
    Known([Option<Fd>; 2]),
    /// In more than are kept here.
    Many,
    /// Registered before a fork, by the parent: its sets must not be touched.
    Inherited,
}

impl Facts {
    /// Whether nothing at all is known.
    #[inline]
    pub(crate) fn none(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn role(self) -> Role {
        match self.0 & ROLE {
            1 => Role::Accepted,
            2 => Role::Client,
            3 => Role::Received,
            4 => Role::TcpListener,
            5 => Role::OtherListener,
            6 => Role::EpollSet,
            _ => Role::Unknown,
        }
    }

    pub(crate) fn duplicated(self) -> bool {
        self.0 & DUPLICATED != 0
    }

    pub(crate) fn sent(self) -> bool {
        self.0 & SENT != 0
    }

    /// Whether a stdio stream over it is not in our table of streams.
    pub(crate) fn unflushable(self) -> bool {
        self.0 & UNFLUSHABLE != 0
    }

    /// Whether its read half was shut.
    pub(crate) fn read_shut(self) -> bool {
        self.0 & READ_SHUT != 0
    }

    /// Whether no fork was happening when the connection came to this process.
    fn born_in_peace(self) -> bool {
        self.0 & BORN_IN_PEACE != 0
    }

    /// Whether it is a connection, as far as is known.
    pub(crate) fn connection(self) -> bool {
        matches!(self.role(), Role::Accepted | Role::Client | Role::Received)
    }

    pub(crate) fn epolls(self) -> Epolls {
        let sets = EPOLL_SHIFTS.map(|shift| match (self.0 >> shift) & EPOLL_BITS {
            0 => None,
            epoll => Some(epoll as Fd - 1),
        });
        let registered = sets != [None; 2] || self.0 & MANY_EPOLLS != 0;
        if registered && self.0 >> GENERATION_SHIFT & GENERATION_BITS != generation() {
            Epolls::Inherited
        } else if self.0 & MANY_EPOLLS != 0 {
            Epolls::Many
        } else {
            Epolls::Known(sets)
        }
    }

    fn with_role(self, role: Role) -> Facts {
        let number = match role {
            Role::Unknown => 0,
            Role::Accepted => 1,
            Role::Client => 2,
            Role::Received => 3,
            Role::TcpListener => 4,
            Role::OtherListener => 5,
            Role::EpollSet => 6,
        };
        Facts(self.0 & !ROLE | number)
    }

    fn with_epoll(self, epoll: Fd) -> Facts {
        let Some(value) = u64::try_from(epoll).ok().map(|e| e + 1).filter(|e| *e <= EPOLL_BITS) else {
            return Facts(self.0 | MANY_EPOLLS);
        };
        let held = EPOLL_SHIFTS.map(|shift| (self.0 >> shift) & EPOLL_BITS);
        if held.contains(&value) {
            return self;
        }
        match EPOLL_SHIFTS.into_iter().zip(held).find(|(_, epoll)| *epoll == 0) {
            Some((shift, _)) => {
                let mine = generation() << GENERATION_SHIFT;
                Facts(self.0 & !(GENERATION_BITS << GENERATION_SHIFT) | mine | value << shift)
            }
            None => Facts(self.0 | MANY_EPOLLS),
        }
    }

    fn without_epoll(self, epoll: Fd) -> Facts {
        let mut facts = self.0;
        for shift in EPOLL_SHIFTS {
            if (facts >> shift) & EPOLL_BITS == epoll as u64 + 1 {
                facts &= !(EPOLL_BITS << shift);
            }
        }
        Facts(facts)
    }

    fn without_epolls(self) -> Facts {
        let sets = EPOLL_SHIFTS.iter().fold(MANY_EPOLLS, |bits, shift| bits | EPOLL_BITS << shift);
        Facts(self.0 & !(sets | GENERATION_BITS << GENERATION_SHIFT))
    }
}

fn generation() -> u64 {
    u64::from(GENERATION.load(Ordering::Relaxed)) & GENERATION_BITS
}

fn place(fd: Fd) -> Option<&'static AtomicU64> {
    usize::try_from(fd).ok().and_then(|n| FACTS.get(n))
}

/// What is known of `fd`.
#[inline]
pub(crate) fn facts(fd: Fd) -> Facts {
    Facts(place(fd).map_or(0, |p| p.load(Ordering::Relaxed)))
}

/// Takes the facts away: the number is about to be free, or to mean something else.
pub(crate) fn take(fd: Fd) -> Facts {
    Facts(place(fd).map_or(0, |p| p.swap(0, Ordering::Relaxed)))
}

/// Whether no fork has happened since the connection came to this process, and none is happening.
pub(crate) fn unforked(fd: Fd) -> bool {
    forked_nothing_since(birth(fd))
}

fn birth(fd: Fd) -> u32 {
    usize::try_from(fd).ok().and_then(|n| BORN.get(n)).map_or(0, |b| b.load(Ordering::Relaxed))
}

/// Whether there were so many forks, and none is happening.
pub(crate) fn forked_nothing_since(forks: u32) -> bool {
    // In this order: whoever ends a fork counts it first.
    FORKING.load(Ordering::SeqCst) == 0 && forks == FORKS.load(Ordering::SeqCst)
}

/// How many forks there were, if since the connection came here, or to the process this one was forked from, there was just one. In the
/// child it is the same number. `facts` are those of `fd`.
///
/// Each fork adds 1 before and 1 after, and vfork(2) 1 in all: where none was happening at either end, 2 are one fork. (Or two of
/// vfork(2): there is no child then that could ask.)
pub(crate) fn forked_once(fd: Fd, facts: Facts) -> Option<u32> {
    let once = birth(fd).wrapping_add(2);
    (facts.born_in_peace() && forked_nothing_since(once)).then_some(once)
}

/// Whether this process was forked when there were so many forks.
pub(crate) fn is_child_of(forks: u32) -> bool {
    OWN_FORK.load(Ordering::Relaxed) == forks
}

/// Whether all forks were made by this thread, or by any one.
pub(crate) fn all_forked_by(thread: Option<u64>) -> bool {
    let forker = FORKER.load(Ordering::SeqCst);
    let by_one = forker != SEVERAL && thread.is_none_or(|thread| thread == forker);
    // In this order: each fork is counted among all of them first.
    let counted = COUNTED.load(Ordering::SeqCst);
    by_one && counted == FORKS.load(Ordering::SeqCst)
}

/// The forks there were at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Forks {
    count: u32,
    /// None was happening.
    peace: bool,
}

/// How many forks there were, for [`born_after`].
pub(crate) fn forks() -> Forks {
    let count = FORKS.load(Ordering::SeqCst);
    let none_happens = FORKING.load(Ordering::SeqCst) == 0;
    // Whoever begins a fork, or ends it, counts it: the same number twice means that none did in between.
    Forks { count, peace: none_happens && FORKS.load(Ordering::SeqCst) == count }
}

/// A new descriptor with a role; all older facts of the number are gone.
pub(crate) fn born(fd: Fd, role: Role) {
    born_after(forks(), fd, role);
}

/// [`born`], where `forks` were counted before the call that made the descriptor: a fork during that call may have copied it.
pub(crate) fn born_after(forks: Forks, fd: Fd, role: Role) {
    if let Some(b) = usize::try_from(fd).ok().and_then(|n| BORN.get(n)) {
        b.store(forks.count, Ordering::Relaxed);
    }
    if let Some(p) = place(fd) {
        let peace = if forks.peace { BORN_IN_PEACE } else { 0 };
        p.store(Facts(peace).with_role(role).0, Ordering::Relaxed);
        raise_highest(fd);
    }
}

fn raise_highest(fd: Fd) {
    let fd = fd.unsigned_abs();
    if fd > HIGHEST.load(Ordering::Relaxed) {
        HIGHEST.fetch_max(fd, Ordering::Relaxed);
    }
}

fn update(fd: Fd, change: impl Fn(Facts) -> Facts) {
    if let Some(p) = place(fd) {
        let _ = p.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |f| Some(change(Facts(f)).0));
    }
}

/// A listener turned out to be one for TCP, or not.
pub(crate) fn set_role(fd: Fd, role: Role) {
    update(fd, |f| f.with_role(role));
}

/// See [`LISTENS`].
pub(crate) fn listens() -> bool {
    LISTENS.load(Ordering::Relaxed) != 0
}

/// `fd` is about to listen: for what, is asked anew.
pub(crate) fn before_listening(fd: Fd) {
    LISTENS.store(1, Ordering::Relaxed);
    if matches!(facts(fd).role(), Role::TcpListener | Role::OtherListener) {
        set_role(fd, Role::Unknown);
    }
}

/// Another number for what `fd` refers to is about to be made: whoever closes `fd` from now on must not take it for the only one.
pub(crate) fn before_duplicate(fd: Fd) {
    if facts(fd).connection() {
        update(fd, |f| if f.connection() { Facts(f.0 | DUPLICATED) } else { f });
    }
}

/// `new` now refers to what `old` refers to. Nothing happens where `old` is no connection.
pub(crate) fn duplicate(old: Fd, new: Fd) {
    let from = facts(old);
    if !from.connection() {
        take(new);
        return;
    }
    update(old, |f| Facts(f.0 | DUPLICATED));
    let birth = |n: Fd| usize::try_from(n).ok().and_then(|n| BORN.get(n));
    if let (Some(a), Some(b)) = (birth(old), birth(new)) {
        b.store(a.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    match place(new) {
        Some(p) => {
            p.store(from.without_epolls().0 | DUPLICATED, Ordering::Relaxed);
            raise_highest(new);
        }
        // Nobody sees what becomes of it.
        None => DUPLICATE_SENT.store(1, Ordering::SeqCst),
    }
}

/// A reference is sent to another process. False where nothing is known of `fd`, or one was before.
pub(crate) fn mark_sent(fd: Fd) -> bool {
    let before = facts(fd);
    if !before.none() {
        update(fd, |f| Facts(f.0 | SENT));
        // Also where it is being duplicated: that is marked first.
        if facts(fd).duplicated() {
            DUPLICATE_SENT.store(1, Ordering::SeqCst);
        }
    }
    !before.none() && !before.sent()
}

/// See [`DUPLICATE_SENT`].
pub(crate) fn duplicate_was_sent() -> bool {
    DUPLICATE_SENT.load(Ordering::SeqCst) != 0
}

/// It was not sent after all.
pub(crate) fn unmark_sent(fd: Fd) {
    update(fd, |f| Facts(f.0 & !SENT));
}

/// A stream was opened over `fd`, and there is no room to remember it.
pub(crate) fn mark_unflushable(fd: Fd) {
    update(fd, |f| Facts(f.0 | UNFLUSHABLE));
}

/// Calls `visit` with every number of a range of which anything is known.
pub(crate) fn each_known(first: u32, last: u32, visit: &mut dyn FnMut(Fd)) {
    let last = last.min(HIGHEST.load(Ordering::Relaxed));
    for fd in first..=last {
        if let Ok(fd) = Fd::try_from(fd) {
            if !facts(fd).none() {
                visit(fd);
            }
        }
    }
}

/// The read half of `fd` was shut, or is going to be.
pub(crate) fn mark_read_shut(fd: Fd) {
    update(fd, |f| Facts(f.0 | READ_SHUT));
}

/// `fd` is registered in `epoll`, or about to be. False where that was known.
pub(crate) fn enter_epoll(fd: Fd, epoll: Fd) -> bool {
    let before = facts(fd);
    update(fd, |f| f.with_epoll(epoll));
    before.with_epoll(epoll) != before
}

/// `fd` was removed from `epoll`.
pub(crate) fn leave_epoll(fd: Fd, epoll: Fd) {
    update(fd, |f| f.without_epoll(epoll));
}

/// A fork is about to happen in this thread: what lives now may be shared from now on.
pub(crate) fn before_fork(thread: u64) {
    let first = FORKER.compare_exchange(0, thread, Ordering::SeqCst, Ordering::SeqCst);
    if first.is_err_and(|forker| forker != thread) {
        FORKER.store(SEVERAL, Ordering::SeqCst);
    }
    FORKING.fetch_add(1, Ordering::SeqCst);
    count_fork();
}

fn count_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    COUNTED.fetch_add(1, Ordering::SeqCst);
}

/// The fork has happened, in the parent: what was given out while it was about to happen may be shared, too.
pub(crate) fn after_fork() {
    count_fork();
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

/// In the child: nothing here was born in it, no epoll registration is its own, and whoever else forked stayed behind.
pub(crate) fn in_child() {
    TABLES_DIFFER.store(0, Ordering::Relaxed);
    count_fork();
    let own = FORKS.load(Ordering::SeqCst);
    OWN_FORK.store(own, Ordering::Relaxed);
    COUNTED.store(own, Ordering::SeqCst);
    FORKER.store(0, Ordering::SeqCst);
    FORKING.store(0, Ordering::SeqCst);
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A thread is about to get a table of its own.
pub(crate) fn one_more_table() {
    TABLES_DIFFER.fetch_add(1, Ordering::SeqCst);
}

/// It was refused.
pub(crate) fn no_more_table() {
    TABLES_DIFFER.fetch_sub(1, Ordering::SeqCst);
}

/// Whether some thread has one.
pub(crate) fn tables_differ() -> bool {
    TABLES_DIFFER.load(Ordering::Relaxed) != 0
}

/// Whether this process knows of any connection at all.
pub(crate) fn any_connection() -> bool {
    let mut any = false;
    each_known(0, u32::MAX, &mut |fd| any |= facts(fd).connection());
    any
}
