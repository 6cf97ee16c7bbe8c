//! What is known of descriptor numbers, under every interleaving of the threads that make, mark and close them.
//!
//! The kernel's part is played: a number belongs to whoever accepted it until it is closed, and a fork is a moment at which
//! what is open becomes shared.

#![cfg(loom)]

#[allow(dead_code)]
#[path = "../src/fds.rs"]
mod fds;

use fds::Role;
use loom::sync::atomic::{fence, AtomicBool, Ordering};
use loom::sync::Arc;
use loom::thread;

/// Two threads close one number: the facts go to one of them, so that it is half-closed and handed over once.
#[test]
fn of_two_that_close_one_number_one_gets_the_facts() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        let other = thread::spawn(|| fds::take(1).connection());
        let here = fds::take(1).connection();
        assert!(other.join().unwrap() ^ here);
        assert!(fds::facts(1).none());
    });
}

/// A thread that marks a number while another closes it: either the one that closes sees the mark, or nothing is left that
/// would pass for a connection.
#[test]
fn a_mark_that_comes_late_makes_no_connection() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        let marking = thread::spawn(|| fds::mark_sent(1));
        let taken = fds::take(1);
        marking.join().unwrap();
        assert!(taken.connection());
        assert!(!fds::facts(1).connection());
        assert!(taken.sent() || fds::facts(1).none() || fds::facts(1).sent());
    });
}

/// Marks of different threads do not undo each other.
#[test]
fn no_mark_is_lost() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        let other = thread::spawn(|| fds::mark_sent(1));
        fds::mark_read_shut(1);
        fds::enter_epoll(1, 3);
        other.join().unwrap();
        let facts = fds::facts(1);
        assert!(facts.sent() && facts.read_shut() && facts.connection());
        assert_eq!(facts.epolls(), fds::Epolls::Known([Some(3), None]));
    });
}

/// A program may close a number that another thread has duplicated, once dup(2) has returned there: both are then known to
/// be shared, even where the duplicate is being closed at the same time.
#[test]
fn a_duplicate_is_never_taken_for_the_only_one() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        let returned = Arc::new(AtomicBool::new(false));
        let duplicating = {
            let returned = returned.clone();
            thread::spawn(move || {
                fds::duplicate(1, 2); // the dup hook, after the call
                returned.store(true, Ordering::Release);
                fds::take(2)
            })
        };
        if returned.load(Ordering::Acquire) {
            let first = fds::take(1);
            assert!(first.duplicated() && first.connection());
        }
        let second = duplicating.join().unwrap();
        assert!(second.duplicated() && second.connection());
    });
}

/// A number that one thread closes in the middle of another's dup(2) may go as the only one: nobody can tell whether the
/// program meant it to be duplicated first. But what came of the dup(2) does not, whatever was seen of the number.
#[test]
fn what_was_duplicated_while_it_was_closed_is_not_the_only_one() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        let duplicating = thread::spawn(|| fds::duplicate(1, 2));
        let first = fds::take(1);
        let second = fds::facts(2);
        assert!(second.duplicated() || !second.connection());
        duplicating.join().unwrap();
        let second = fds::take(2);
        assert!(second.duplicated() || !second.connection());
        assert!(first.connection() && !fds::facts(1).connection());
    });
}

/// A connection that was accepted before a fork is known to be shared from the moment the child may have it.
#[test]
fn a_fork_is_seen_by_whoever_closes_after_it() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        let child_has_it = Arc::new(AtomicBool::new(false));
        let forking = {
            let child_has_it = child_has_it.clone();
            thread::spawn(move || {
                fds::before_fork(1);
                child_has_it.store(true, Ordering::SeqCst);
            })
        };
        let shared = child_has_it.load(Ordering::SeqCst);
        if shared {
            assert!(!fds::unforked(1), "the child has it, too");
        }
        forking.join().unwrap();
        assert!(!fds::unforked(1));
    });
}

/// A number that was closed and accepted anew knows nothing of what it was.
#[test]
fn a_number_born_anew_is_unforked_again() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        fds::before_fork(1);
        fds::after_fork();
        let other = thread::spawn(|| fds::born(2, Role::Accepted));
        fds::take(1);
        fds::born(1, Role::Accepted);
        other.join().unwrap();
        assert!(fds::unforked(1) && fds::unforked(2));
    });
}

/// A connection that the kernel gives out around a fork, whose accept(2) hook notes it whenever it comes to it.
#[test]
fn a_fork_between_accept_and_its_note_is_seen() {
    loom::model(|| {
        let open = Arc::new(AtomicBool::new(false));
        let accepting = {
            let open = open.clone();
            thread::spawn(move || {
                let forks = fds::forks(); // the accept hook, before the call
                open.store(true, Ordering::SeqCst); // real::accept returns
                fds::born_after(forks, 1, Role::Accepted); // after_accept
            })
        };
        fds::before_fork(1); // the atfork handler
        let child_has_it = open.load(Ordering::SeqCst); // fork(2) copies the table
        fds::after_fork(); // the atfork handler of the parent
        accepting.join().unwrap();
        assert!(!(child_has_it && fds::unforked(1)), "taken for exclusive, though the child has it");
    });
}

/// A connection that came after the fork was counted, and is closed before the call that forks returns.
#[test]
fn a_fork_is_seen_before_it_returns() {
    loom::model(|| {
        let child_has_it = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicBool::new(false));
        let forking = {
            let (child_has_it, accepted) = (child_has_it.clone(), accepted.clone());
            thread::spawn(move || {
                fds::before_fork(1);
                child_has_it.store(accepted.load(Ordering::SeqCst), Ordering::SeqCst);
                fds::after_fork();
            })
        };
        let forks = fds::forks();
        accepted.store(true, Ordering::SeqCst);
        fds::born_after(forks, 1, Role::Accepted);
        let shared = child_has_it.load(Ordering::SeqCst);
        assert!(!(shared && fds::unforked(1)), "taken for exclusive, though the child has it");
        forking.join().unwrap();
    });
}

/// A number that is closed while it is being duplicated: where the duplicate was made before the close began, it is known.
#[test]
fn a_duplicate_is_known_before_it_is_made() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        let made = Arc::new(AtomicBool::new(false));
        let duplicating = {
            let made = made.clone();
            thread::spawn(move || {
                fds::before_duplicate(1); // the dup hook, before the call
                made.store(true, Ordering::SeqCst); // real::dup returns
                fds::duplicate(1, 2);
            })
        };
        let shared = made.load(Ordering::SeqCst);
        let taken = fds::take(1);
        assert!(taken.connection());
        assert!(taken.duplicated() || !shared, "taken for the only one");
        duplicating.join().unwrap();
    });
}

/// A parent of one child lets go of the connection, and says so, while another thread forks: not if that child has it, too.
#[test]
fn a_second_child_is_seen_by_a_parent_that_departs() {
    loom::model(|| {
        fds::born(1, Role::Accepted);
        fds::before_fork(1);
        fds::after_fork();
        let open = Arc::new(AtomicBool::new(true));
        let forking = {
            let open = open.clone();
            thread::spawn(move || {
                fds::before_fork(2);
                fence(Ordering::SeqCst); // as calls of the kernel are
                let second_child_has_it = open.load(Ordering::SeqCst); // fork(2) copies the table
                fds::after_fork();
                second_child_has_it
            })
        };
        let once = fds::forked_once(1, fds::facts(1)); // the close hook, before the call
        let in_order = fds::all_forked_by(Some(1));
        open.store(false, Ordering::SeqCst); // real::close
        fence(Ordering::SeqCst);
        let departs = |forks| fds::forked_nothing_since(forks) || in_order && fds::all_forked_by(None);
        let departs = once.is_some_and(departs); // the drain thread
        let second_child_has_it = forking.join().unwrap();
        assert!(!(departs && second_child_has_it));
    });
}

/// A connection that came while one thread forked and another began to: two children may have it, though the forks that
/// began and ended since are as many as one makes.
#[test]
fn a_connection_born_during_a_fork_has_no_only_child() {
    loom::model(|| {
        fds::before_fork(3);
        fds::before_fork(1);
        let forks = fds::forks(); // accept(2)
        fds::born_after(forks, 1, Role::Accepted);
        let others = [(); 2].map(|()| thread::spawn(fds::after_fork));
        for other in others {
            other.join().unwrap();
        }
        assert!(fds::forked_once(1, fds::facts(1)).is_none());
    });
}

/// One that came in peace, before or after the fork of another thread.
#[test]
fn a_connection_that_a_fork_may_have_missed_has_an_only_child_at_most() {
    loom::model(|| {
        let open = Arc::new(AtomicBool::new(false));
        let forking = {
            let open = open.clone();
            thread::spawn(move || {
                fds::before_fork(2);
                fence(Ordering::SeqCst); // as calls of the kernel are
                let child_has_it = open.load(Ordering::SeqCst); // fork(2) copies the table
                fds::after_fork();
                child_has_it
            })
        };
        let forks = fds::forks();
        open.store(true, Ordering::SeqCst); // accept(2)
        fence(Ordering::SeqCst);
        fds::born_after(forks, 1, Role::Accepted);
        fds::before_fork(1);
        fds::after_fork(); // this thread's child has it for certain
        let child_has_it = forking.join().unwrap();
        assert!(!(child_has_it && fds::forked_once(1, fds::facts(1)).is_some()), "both have it");
    });
}
