//! What to do with a connection that its program lets go of: a pure function of what was observed.
//!
//! **Promises:** no system call, no clock, no state. Whoever observes may stop early: an observation that was
//! not made is `None`, and the verdict then does not depend on it.
//!
//! **Invariant:** doubt means [`Verdict::Close`]: what the program asked for.

use crate::config::When;
use crate::sys::socket::TcpState;

/// What is known of a connection at the moment it is let go of.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// The state, or `None` where the descriptor is no TCP socket.
    pub state: Option<TcpState>,
    /// `SO_LINGER`, where it is on: its seconds.
    pub linger_seconds: Option<i32>,
    /// Bytes waiting to be read, where anybody asked.
    pub unread: Option<u32>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The plain close, untouched.
    Close(Reason),
    /// The peer's FIN is here, nothing can arrive any more: discard what is queued, then the plain close.
    Discard,
    /// Half-close, drain, close.
    Linger,
}

/// Why a descriptor gets the plain close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Not TCP: a file, a pipe, UDP, a Unix socket, or not open at all.
    NotTcp,
    /// Never connected, listening, or already gone (reset).
    NotConnected,
    /// The program set `SO_LINGER{1,0}`: it asked for an abort.
    Abort,
    /// Nothing unread as far as can be told, and the operator asked for `LINGER_WHEN=unread`.
    NothingUnread,
}

/// The half of the verdict that needs the state alone; `None` when the connection is open towards us and the
/// other observations matter.
pub fn by_state(state: Option<TcpState>) -> Option<Verdict> {
    match state {
        None => Some(Verdict::Close(Reason::NotTcp)),
        Some(TcpState::Established | TcpState::SynReceived | TcpState::FinWait1 | TcpState::FinWait2) => None,
        Some(TcpState::CloseWait | TcpState::LastAck | TcpState::Closing) => Some(Verdict::Discard),
        Some(
            TcpState::Closed | TcpState::Listen | TcpState::SynSent | TcpState::TimeWait | TcpState::Unknown,
        ) => Some(Verdict::Close(Reason::NotConnected)),
    }
}

/// The whole verdict (RFC 9112 section 9.6; DESIGN "What close() becomes").
pub fn decide(observed: &Observed, when: When) -> Verdict {
    let early = by_state(observed.state);
    if let Some(Verdict::Close(reason)) = early {
        return Verdict::Close(reason);
    }
    if observed.linger_seconds == Some(0) {
        return Verdict::Close(Reason::Abort);
    }
    if let Some(verdict) = early {
        return verdict;
    }
    if when == When::Unread && observed.unread.unwrap_or(0) == 0 {
        return Verdict::Close(Reason::NothingUnread);
    }
    Verdict::Linger
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::*;

    fn observed(state: TcpState) -> Observed {
        Observed { state: Some(state), linger_seconds: None, unread: None }
    }

    #[test]
    fn every_state_has_its_verdict() {
        let close = Verdict::Close(Reason::NotConnected);
        let table = [
            (Established, Verdict::Linger),
            (SynReceived, Verdict::Linger),
            (FinWait1, Verdict::Linger),
            (FinWait2, Verdict::Linger),
            (CloseWait, Verdict::Discard),
            (LastAck, Verdict::Discard),
            (Closing, Verdict::Discard),
            (Closed, close),
            (Listen, close),
            (SynSent, close),
            (TimeWait, close),
            (Unknown, close),
        ];
        for (state, verdict) in table {
            assert_eq!(decide(&observed(state), When::Open), verdict, "{state:?}");
        }
        let file = Observed { state: None, linger_seconds: None, unread: None };
        assert_eq!(decide(&file, When::Open), Verdict::Close(Reason::NotTcp));
    }

    #[test]
    fn an_abort_is_kept_even_when_the_fin_is_here() {
        for state in [Established, FinWait2, CloseWait] {
            let o = Observed { linger_seconds: Some(0), ..observed(state) };
            assert_eq!(decide(&o, When::Open), Verdict::Close(Reason::Abort));
        }
    }

    #[test]
    fn so_linger_with_a_time_is_no_abort() {
        let o = Observed { linger_seconds: Some(5), ..observed(Established) };
        assert_eq!(decide(&o, When::Open), Verdict::Linger);
    }

    #[test]
    fn when_unread_narrows_the_open_row_only() {
        let none = Observed { unread: Some(0), ..observed(Established) };
        let some = Observed { unread: Some(1), ..observed(Established) };
        assert_eq!(decide(&none, When::Unread), Verdict::Close(Reason::NothingUnread));
        assert_eq!(decide(&some, When::Unread), Verdict::Linger);
        assert_eq!(decide(&none, When::Open), Verdict::Linger);
        let fin = Observed { unread: Some(0), ..observed(CloseWait) };
        assert_eq!(decide(&fin, When::Unread), Verdict::Discard);
    }

    /// The table of "What close() becomes", told once more, by the kernel's own numbers of the states (`net/tcp_states.h`).
    fn rule(state: Option<u8>, linger: Option<i32>, unread: Option<u32>, when: When) -> Verdict {
        const ESTABLISHED: u8 = 1;
        const SYN_RECV: [u8; 2] = [3, 12];
        const FIN_WAIT: [u8; 2] = [4, 5];
        const FIN_HAS_COME: [u8; 3] = [8, 9, 11];
        let Some(state) = state else { return Verdict::Close(Reason::NotTcp) };
        let open = state == ESTABLISHED || SYN_RECV.contains(&state) || FIN_WAIT.contains(&state);
        let over = FIN_HAS_COME.contains(&state);
        if !open && !over {
            Verdict::Close(Reason::NotConnected)
        } else if linger == Some(0) {
            Verdict::Close(Reason::Abort)
        } else if over {
            Verdict::Discard
        } else if when == When::Open || unread > Some(0) {
            Verdict::Linger
        } else {
            Verdict::Close(Reason::NothingUnread)
        }
    }

    /// Every state the kernel has (13), every number it may have one day, and no TCP at all; with every option.
    #[test]
    fn whatever_is_observed_the_table_decides() {
        let states = (0..=u8::MAX).map(Some).chain([None]);
        let lingers = [None, Some(0), Some(1), Some(5), Some(i32::MAX), Some(-1)];
        let unreads = [None, Some(0), Some(1), Some(1000), Some(u32::MAX)];
        let mut combinations = 0;
        for state in states {
            for (linger, unread) in lingers.into_iter().flat_map(|l| unreads.map(|u| (l, u))) {
                for when in [When::Open, When::Unread] {
                    let known = state.map(TcpState::from_kernel);
                    let observed = Observed { state: known, linger_seconds: linger, unread };
                    let expected = rule(state, linger, unread, when);
                    assert_eq!(decide(&observed, when), expected, "{state:?} {observed:?} {when:?}");
                    combinations += 1;
                }
            }
        }
        assert_eq!(combinations, 257 * 6 * 5 * 2);
    }
}
