//! Connections that somebody else may hold: they are left untouched until a look through /proc says that nobody does.
//!
//! **Promises:** looking takes a tenth of the thread's time at most; many connections share one look.
//!
//! **Invariant:** only a look after the caller's own close counts (see [`Found::NotYetClosed`]).

use super::lingering::Reaper;
use crate::closing;
use crate::config;
use crate::drain::Outcome;
use crate::handover::{Input, Origin, Request, Suspicion};
use crate::holders::{self, Found, Search};
use crate::stats;
use crate::sys::{self, process, socket, Fd};
use crate::verdict::{self, Verdict};

/// A caller that was preempted between handing a connection over and closing its number is given so long.
const PATIENCE_MS: u64 = 1000;

/// A connection whose holders are being looked for.
#[derive(Clone, Copy)]
pub(super) struct Searching {
    pub(super) fd: Fd,
    inode: u64,
    suspicion: Suspicion,
    request: Request,
    /// When waiting for the caller's own close ends.
    patience_ms: u64,
}

impl Reaper {
    pub(super) fn search_later(&mut self, fd: Fd, suspicion: Suspicion, request: Request) {
        let Ok(identity) = sys::identity(fd) else {
            return self.drop_as_shared(fd);
        };
        let patience_ms = self.now + PATIENCE_MS;
        let searching = Searching { fd, inode: identity.inode, suspicion, request, patience_ms };
        if self.searching.iter().all(Option::is_some) {
            self.search_now();
        }
        match self.searching.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(searching),
            None => self.drop_as_shared(fd),
        }
    }

    /// Looks for other holders of the connections that wait for that, unless the last look was too recent.
    pub(super) fn search(&mut self) {
        if self.searching.iter().any(Option::is_some) && self.now >= self.search_after_ms {
            self.search_now();
        }
    }

    fn search_now(&mut self) {
        let started = process::now_ms();
        let nobody = Suspicion { origin: Origin::Accepted, number: -1, exiting: false };
        let empty = Search { inode: 0, suspicion: nobody, found: Found::Nobody };
        let mut searches = [empty; holders::BATCH];
        let mut count = 0;
        for (search, searching) in searches.iter_mut().zip(self.searching.iter().flatten()) {
            let Searching { inode, suspicion, .. } = *searching;
            *search = Search { inode, suspicion, ..empty };
            count += 1;
        }
        holders::find(searches.get_mut(..count).unwrap_or(&mut []), self.proc);
        self.now = process::now_ms();
        self.search_after_ms = self.now + ((self.now - started) * 9).max(1);
        let mut again = [None; holders::BATCH];
        let looked_for = core::mem::replace(&mut self.searching, [None; holders::BATCH]);
        for ((searching, search), place) in looked_for.into_iter().flatten().zip(searches).zip(&mut again) {
            match search.found {
                Found::Nobody => self.linger_as_last_holder(searching.fd, searching.request),
                Found::NotYetClosed if self.now < searching.patience_ms => *place = Some(searching),
                Found::NotYetClosed | Found::Somebody => self.drop_as_shared(searching.fd),
            }
        }
        self.searching = again;
    }

    /// Proven to be the last holder: what close(2) would have become in the caller, had that been known there.
    fn linger_as_last_holder(&mut self, fd: Fd, request: Request) {
        let observed = closing::observe(fd);
        match verdict::decide(&observed, config::when()) {
            Verdict::Close(_) => {
                let _ = sys::close(fd);
                stats::finish(Outcome::Closed, 0);
            }
            Verdict::Discard | Verdict::Linger => {
                if observed.linger_seconds.is_some() {
                    let _ = socket::clear_linger(fd);
                }
                let _ = socket::shut_write(fd);
                self.shutting.forget(fd);
                self.linger(fd, request, Input::Unknown, 0);
            }
        }
    }
}
