//! Every interleaving of threads that make, use and lose the channel.

use super::*;
use loom::sync::{Arc, Mutex};
use loom::thread;

/// The kernel's part: which socket is behind each number of the program's table, 0 for none.
struct Table(Mutex<([u64; 3], u64)>);

impl Table {
    fn identify(&self, fd: Fd) -> sys::Result<Identity> {
        match self.0.lock().unwrap().0[fd as usize] {
            0 => Err(Errno(libc::EBADF)),
            inode => Ok(Identity { device: 1, inode }),
        }
    }

    /// A new socket under the lowest number that is free.
    fn make(&self) -> Option<(Fd, Identity)> {
        let (numbers, sockets_made) = &mut *self.0.lock().unwrap();
        let fd = numbers.iter().position(|inode| *inode == 0)?;
        *sockets_made += 1;
        numbers[fd] = *sockets_made;
        Some((fd as Fd, Identity { device: 1, inode: *sockets_made }))
    }

    fn close(&self, fd: Fd) {
        self.0.lock().unwrap().0[fd as usize] = 0;
    }

    fn open(&self) -> usize {
        self.0.lock().unwrap().0.iter().filter(|inode| **inode != 0).count()
    }
}

struct World {
    number: Number,
    table: Table,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World { number: Number::new(), table: Table(Mutex::new(([0; 3], 0))) })
    }

    fn reserve(&self) -> Reserved {
        self.number.reserve(|fd| self.table.identify(fd), || self.table.make())
    }

    fn checked(&self) -> Option<Fd> {
        self.number.checked(|fd| self.table.identify(fd))
    }
}

fn in_thread<T: 'static>(
    world: &Arc<World>,
    act: impl FnOnce(&World) -> T + 'static,
) -> thread::JoinHandle<T> {
    let world = world.clone();
    thread::spawn(move || act(&world))
}

/// One is told that it made the channel, so that one starts the drain thread anew; and no socket is left over.
#[test]
fn two_makers_make_one_channel() {
    loom::model(|| {
        let world = World::new();
        let other = in_thread(&world, World::reserve);
        let both = [world.reserve(), other.join().unwrap()];
        assert_eq!(both.iter().filter(|reserved| **reserved == Reserved::Made).count(), 1, "{both:?}");
        assert_eq!(world.table.open(), 1);
        assert_eq!(world.reserve(), Reserved::Kept);
    });
}

/// A channel that cannot be made now is made by whoever asks next.
#[test]
fn who_cannot_make_it_keeps_nobody_from_it() {
    loom::model(|| {
        let world = World::new();
        let failing = in_thread(&world, |world| world.number.reserve(|fd| world.table.identify(fd), || None));
        let here = world.reserve();
        let there = failing.join().unwrap();
        assert_ne!(there, Reserved::Made);
        assert_eq!(here == Reserved::Made, world.checked().is_some());
        assert_ne!(world.reserve(), Reserved::Refused);
        assert_eq!(world.table.open(), 1);
    });
}

/// Whoever sees the number sees whose it is: a channel just made is not taken for another's.
#[test]
fn a_channel_just_made_is_ours_for_everybody() {
    loom::model(|| {
        let world = World::new();
        let sending =
            in_thread(&world, |world| world.number.unchecked().is_some() && world.checked().is_none());
        assert_eq!(world.reserve(), Reserved::Made);
        assert!(!sending.join().unwrap(), "seen, and not known");
        assert!(world.checked().is_some());
    });
}

/// The program sweeps its table while one thread sends: nothing is sent to what has the number now.
#[test]
fn a_number_that_is_another_s_now_is_not_used() {
    loom::model(|| {
        let world = World::new();
        world.reserve();
        let sweeping = in_thread(&world, |world| {
            world.table.close(0);
            world.table.make();
        });
        let _ = world.checked();
        sweeping.join().unwrap();
        assert_eq!(world.checked(), None);
        assert_eq!(world.number.unchecked(), None);
    });
}

/// One thread finds the channel swept away and another makes it anew, under the same number: the new one stays.
#[test]
fn a_channel_made_anew_is_not_taken_for_the_one_that_was_lost() {
    loom::model(|| {
        let world = World::new();
        world.reserve();
        world.table.close(0);
        let finding = in_thread(&world, |world| {
            world.checked();
        });
        let reserved = world.reserve();
        finding.join().unwrap();
        assert_eq!(reserved, Reserved::Made);
        assert_eq!(world.reserve(), Reserved::Kept);
        assert_eq!(world.table.open(), 1);
    });
}
