//! What one look has been to: processes, and the numbers of a descriptor table; and how much more it may read.

use crate::sys::{self, Errno};

/// A set of numbers, of which only can be said whether it is another one: how many there are, their sum, and the sum of
/// their squares. Sets that differ by one or two numbers each, which is what a move makes, are always told apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Numbers {
    count: u64,
    sum: u64,
    squares: u64,
}

impl Numbers {
    /// In any order, and each once.
    pub(super) fn add(&mut self, number: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(number);
        self.squares = self.squares.wrapping_add(number.wrapping_mul(number));
    }
}

/// How many numbers of descriptor tables a look may still read.
pub(super) struct Effort(usize);

impl Effort {
    pub(super) fn new(numbers: usize) -> Effort {
        Effort(numbers)
    }

    /// ENOBUFS where it is used up.
    pub(super) fn read_one(&mut self) -> sys::Result<()> {
        self.0 = self.0.checked_sub(1).ok_or(Errno(libc::ENOBUFS))?;
        Ok(())
    }
}

/// The numbers of processes, in ascending order.
pub(super) struct Visited<'a> {
    numbers: &'a mut [u32],
    count: usize,
}

/// What a number was when it was noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Visit {
    First,
    Again,
    /// There is no room for another.
    Unnoted,
}

impl Visited<'_> {
    pub(super) fn none(room: &mut [u32]) -> Visited<'_> {
        Visited { numbers: room, count: 0 }
    }

    /// Cheap for one above all others, and those come first: /proc is listed in ascending order.
    pub(super) fn note(&mut self, number: u32) -> Visit {
        let noted = self.numbers.get(..self.count).unwrap_or(&[]);
        let Err(place) = noted.binary_search(&number) else { return Visit::Again };
        if self.count >= self.numbers.len() {
            return Visit::Unnoted;
        }
        self.numbers.copy_within(place..self.count, place + 1);
        if let Some(free) = self.numbers.get_mut(place) {
            *free = number;
        }
        self.count += 1;
        Visit::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(set: &BTreeSet<u64>) -> Numbers {
        let mut numbers = Numbers::default();
        set.iter().for_each(|number| numbers.add(*number));
        numbers
    }

    proptest! {
        #[test]
        fn a_table_in_which_one_or_two_have_moved_is_another(
            common in proptest::collection::btree_set(0u64..24, 0..20),
            before in proptest::collection::btree_set(0u64..24, 0..3),
            after in proptest::collection::btree_set(0u64..24, 0..3),
        ) {
            let (before, after) = (&common | &before, &common | &after);
            prop_assert_eq!(numbers(&before) == numbers(&after), before == after);
        }

        #[test]
        fn a_number_is_noted_once_while_there_is_room(
            numbers in proptest::collection::vec(0u32..40, 0..100),
            room in 0usize..40,
        ) {
            let mut room = vec![0; room];
            let capacity = room.len();
            let mut visited = Visited::none(&mut room);
            let mut model = BTreeSet::new();
            for number in numbers {
                let expected = if model.contains(&number) {
                    Visit::Again
                } else if model.len() == capacity {
                    Visit::Unnoted
                } else {
                    model.insert(number);
                    Visit::First
                };
                prop_assert_eq!(visited.note(number), expected);
            }
        }
    }
}
