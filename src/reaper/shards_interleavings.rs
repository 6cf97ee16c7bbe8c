//! Every interleaving of drain threads that recruit, pass on, ask for evictions and end.

use super::*;
use loom::thread;

/// Two threads may both find that they want another one.
#[test]
fn no_two_threads_get_one_seat() {
    loom::model(|| {
        let first = Seat::first();
        let other = thread::spawn(move || first.next());
        let (here, there) = (first.next(), other.join().unwrap());
        assert_ne!(here.unwrap(), there.unwrap());
        assert_eq!(first.next(), None, "the third and last is taken");
    });
}

#[test]
fn a_seat_given_back_is_not_taken_from_who_sits_in_it() {
    loom::model(|| {
        let first = Seat::first();
        let other = thread::spawn(move || first.next().unwrap());
        if let Some(refused) = first.next() {
            refused.give_back();
        }
        let held = other.join().unwrap();
        assert!(first.next().is_none_or(|seat| seat != held));
    });
}

/// Nobody sees STOP until all are gone, and somebody does.
#[test]
fn the_last_to_leave_is_one() {
    loom::model(|| {
        let first = Seat::first();
        let second = first.next().unwrap();
        let other = thread::spawn(move || second.leave());
        let here = first.leave();
        assert!(other.join().unwrap() ^ here);
        assert!(first.left() && second.left());
    });
}

#[test]
fn exactly_one_receives_while_one_passes_on_and_a_recruit_takes_over() {
    loom::model(|| {
        let first = Seat::first();
        let second = first.next().unwrap();
        let recruit = first.next().unwrap();
        second.publish(10, 0, u64::MAX);
        let taking = thread::spawn(move || recruit.take_over());
        first.pass_on(10);
        taking.join().unwrap();
        let receivers = [first, second, recruit].into_iter().filter(|seat| seat.receives());
        assert_eq!(receivers.count(), 1);
        assert!(!first.receives(), "its table is full");
    });
}

/// Each acknowledged connection is asked for once, and each eviction asked for is made.
#[test]
fn evictions_asked_for_are_made_once() {
    loom::model(|| {
        let first = Seat::first();
        let second = first.next().unwrap();
        let asked_of = first.next().unwrap();
        asked_of.publish(0, 2, 0);
        let asking = thread::spawn(move || u32::from(second.ask_eviction(u64::MAX)));
        let evicting = thread::spawn(move || asked_of.take_evictions());
        let here = u32::from(first.ask_eviction(u64::MAX));
        let asked = here + asking.join().unwrap();
        let made = evicting.join().unwrap() + asked_of.take_evictions();
        assert_eq!((asked, made), (2, 2));
    });
}

/// The count of those that linger bounds memory and descriptors: no increment or decrement may be lost.
#[test]
fn who_joins_and_leaves_is_counted() {
    loom::model(|| {
        Seat::first();
        joins();
        let other = thread::spawn(|| {
            joins();
            leaves();
        });
        leaves();
        joins();
        other.join().unwrap();
        assert_eq!(lingering(), 1);
    });
}

/// The program swept the channel away: a thread of the former crew hands nothing to the new one and takes nothing from it.
#[test]
fn a_former_crew_does_not_receive_for_the_new_one() {
    loom::model(|| {
        let former = Seat::first();
        let sibling = former.next().unwrap();
        sibling.publish(10, 1, 0);
        let late = thread::spawn(move || former.ask_eviction(u64::MAX));
        let successor = Seat::first();
        late.join().unwrap();
        assert!(successor.receives());
        assert!(!former.receives() && !sibling.receives());
        assert!(former.next().is_none() && !former.pass_on(0) && !former.leave());
        assert!(successor.leave(), "the one and last of its crew");
    });
}
