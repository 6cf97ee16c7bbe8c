//! Every interleaving of threads that send, hurry and end with the drain thread's turns.

use super::*;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// Wakes nobody to collect anything.
const NUDGE: u32 = 0;

/// The kernel's part: a queue whose reader sleeps while it is empty (epoll(7), level-triggered), and a word to sleep on
/// (futex(2)).
struct World {
    pace: Pace,
    room: usize,
    queue: Mutex<Vec<u32>>,
    news: Condvar,
    futex: Mutex<()>,
    woken: Condvar,
    ending: AtomicU32,
}

impl World {
    fn new(room: usize) -> Arc<World> {
        Arc::new(World {
            pace: Pace::new(),
            room,
            queue: Mutex::new(Vec::new()),
            news: Condvar::new(),
            futex: Mutex::new(()),
            woken: Condvar::new(),
            ending: AtomicU32::new(0),
        })
    }

    fn push(&self, message: u32) -> bool {
        let mut queue = self.queue.lock().unwrap();
        let found_room = queue.len() < self.room;
        if found_room {
            queue.push(message);
            self.news.notify_all();
        }
        found_room
    }

    /// As `handover::send`. Whether it is in the queue.
    fn send(&self, message: u32) -> bool {
        let found_room = self.push(message);
        self.pace.sent(found_room, |_| self.wake());
        found_room
    }

    /// As `engine::retire` and `handover::nudge`.
    fn end(&self) {
        self.ending.store(1, Ordering::SeqCst);
        self.pace.hurry(|_| self.wake());
        self.push(NUDGE);
    }

    fn wake(&self) {
        let _held = self.futex.lock().unwrap();
        self.woken.notify_all();
    }

    /// A tick that never ends by itself.
    fn endless_tick(&self) {
        self.pace.tick(|word| {
            let held = self.futex.lock().unwrap();
            if word.load(Ordering::SeqCst) == 0 {
                drop(self.woken.wait(held).unwrap());
            }
        });
    }

    fn take(&self, most: usize, into: &mut Vec<u32>) -> Taken {
        let mut queue = self.queue.lock().unwrap();
        let count = most.min(queue.len());
        into.extend(queue.drain(..count));
        // As in reality, where only a batch that is not full says so.
        Taken { count, all: count < most }
    }
}

/// A drain thread that ends when it is asked to, or has collected so many.
struct Thread {
    world: Arc<World>,
    ripe: Ripe,
    collected: Vec<u32>,
    enough: usize,
    endless_ticks: bool,
}

impl Thread {
    fn new(world: &Arc<World>, enough: usize) -> Thread {
        let ripe = Ripe::NONE;
        Thread { world: world.clone(), ripe, collected: Vec::new(), enough, endless_ticks: false }
    }
}

impl Turns for Thread {
    fn ends(&self) -> bool {
        self.world.ending.load(Ordering::SeqCst) != 0 || self.collected.len() == self.enough
    }

    fn listen(&mut self) -> bool {
        true
    }

    fn tick(&mut self) {
        if self.endless_ticks {
            self.world.endless_tick();
        }
    }

    fn collect(&mut self) -> bool {
        let Thread { world, collected, ripe, .. } = self;
        ripe.collect(&world.pace, |most| world.take(most, collected))
    }

    fn work(&mut self) {
        self.collected.retain(|message| *message != NUDGE);
    }

    fn wait(&mut self, more: bool) -> bool {
        let mut queue = self.world.queue.lock().unwrap();
        while !more && queue.is_empty() {
            queue = self.world.news.wait(queue).unwrap();
        }
        !queue.is_empty()
    }
}

/// Of three threads all interleavings would take minutes: those with at most three preemptions.
fn three_threads(check: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

fn sending(world: &Arc<World>, message: u32) -> thread::JoinHandle<bool> {
    let world = world.clone();
    thread::spawn(move || world.send(message))
}

/// However the counts lag behind the queue, the thread neither sleeps nor turns for ever while a message waits.
#[test]
fn every_message_is_collected_and_once() {
    three_threads(|| {
        let world = World::new(4);
        let senders = [sending(&world, 1), sending(&world, 2)];
        let mut thread = Thread::new(&world, 2);
        live(&mut thread);
        assert!(senders.into_iter().all(|sender| sender.join().unwrap()));
        thread.collected.sort_unstable();
        assert_eq!(thread.collected, [1, 2]);
        assert!(world.queue.lock().unwrap().is_empty());
    });
}

/// With a turn that cannot take all that is there.
#[test]
fn what_one_turn_leaves_the_next_one_takes() {
    loom::model(|| {
        let world = World::new(4);
        world.send(1);
        world.send(2);
        let third = sending(&world, 3);
        let mut thread = Thread::new(&world, 3);
        live(&mut thread);
        third.join().unwrap();
        assert_eq!(thread.collected, [1, 2, 3]);
    });
}

/// Closes that find no room drain in their caller: the fewer the better.
#[test]
fn a_full_queue_ends_the_tick() {
    loom::model(|| {
        let world = World::new(1);
        world.push(1);
        let refused = sending(&world, 2);
        let mut thread = Thread::new(&world, 1);
        world.endless_tick();
        thread.collect();
        assert!(!refused.join().unwrap());
        assert_eq!(thread.collected, [1]);
    });
}

#[test]
fn a_queue_filled_to_the_mark_ends_the_tick() {
    three_threads(|| {
        let world = World::new(4);
        let senders = [sending(&world, 1), sending(&world, 2)];
        let mut thread = Thread::new(&world, 2);
        world.endless_tick();
        thread.collect();
        thread.collected.sort_unstable();
        assert_eq!(thread.collected, [1, 2], "both were in the queue when the second was counted");
        senders.into_iter().for_each(|sender| assert!(sender.join().unwrap()));
    });
}

/// Wherever it sleeps, even where the queue has no room for a nudge; and a message is collected, or left for the one who
/// empties the queue.
#[test]
fn a_thread_that_is_asked_to_end_does() {
    three_threads(|| {
        let world = World::new(1);
        let sender = sending(&world, 1);
        let ending = {
            let world = world.clone();
            thread::spawn(move || world.end())
        };
        let mut thread = Thread { endless_ticks: true, ..Thread::new(&world, usize::MAX) };
        live(&mut thread);
        ending.join().unwrap();
        let sent = sender.join().unwrap();
        world.take(usize::MAX, &mut thread.collected);
        thread.work();
        assert_eq!(thread.collected.len(), usize::from(sent), "{:?}", thread.collected);
    });
}
