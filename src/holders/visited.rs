//! The processes that one look has been to.

/// Their numbers, in ascending order.
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

    proptest! {
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
