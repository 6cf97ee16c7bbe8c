//! Who goes first when too many connections linger: acknowledged before not, longest quiet before recent.
//!
//! **Promises:** every operation costs the same whatever the number of connections; no allocation after
//! construction.
//!
//! **Invariants:** an id is in at most one of the two lists, each ordered by last activity, oldest first. Ids are
//! indices; one out of range is ignored.

use crate::sys::memory::{Region, Zeroed};
use crate::sys::Result;

/// Which list a connection is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Response and FIN have arrived: closing it loses least.
    Acknowledged,
    /// The response is still on its way.
    Sending,
}

/// Neighbours by index + 1, so that zeros mean "none"; `list` 0 means "in none".
#[derive(Clone, Copy)]
struct Node {
    next: u32,
    previous: u32,
    list: u32,
}

// SAFETY: integers only; zero means "in no list".
unsafe impl Zeroed for Node {}

/// Both lists.
pub struct Order {
    nodes: Region<Node>,
    heads: [u32; 2],
    tails: [u32; 2],
    counts: [usize; 2],
}

impl Order {
    /// For ids `0..ids`.
    pub fn new(ids: usize) -> Result<Order> {
        Ok(Order { nodes: Region::new(ids)?, heads: [0; 2], tails: [0; 2], counts: [0; 2] })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// How many of them are of that standing.
    pub fn of(&self, standing: Standing) -> usize {
        self.counts.get(standing as usize).copied().unwrap_or(0)
    }

    /// Puts `id` at the recent end of its list, wherever it was.
    pub fn touch(&mut self, id: u32, standing: Standing) {
        self.remove(id);
        let list = standing as usize;
        let (Some(tail), Some(head)) = (self.tails.get_mut(list), self.heads.get_mut(list)) else {
            return;
        };
        let previous = *tail;
        let Some(node) = self.nodes.get_mut(id as usize) else {
            return;
        };
        *node = Node { next: 0, previous, list: list as u32 + 1 };
        *tail = id + 1;
        if previous == 0 {
            *head = id + 1;
        } else if let Some(node) = self.nodes.get_mut(previous as usize - 1) {
            node.next = id + 1;
        }
        if let Some(count) = self.counts.get_mut(list) {
            *count += 1;
        }
    }

    /// `id` has that standing, as was seen without its doing anything: it keeps its place where that is not new.
    pub fn classify(&mut self, id: u32, standing: Standing) {
        if self.nodes.get(id as usize).is_none_or(|node| node.list != standing as u32 + 1) {
            self.touch(id, standing);
        }
    }

    /// Takes `id` out, if it is in.
    pub fn remove(&mut self, id: u32) {
        let Some(node) = self.nodes.get(id as usize).copied().filter(|n| n.list != 0) else {
            return;
        };
        let list = node.list as usize - 1;
        match self.nodes.get_mut((node.previous as usize).wrapping_sub(1)) {
            Some(previous) => previous.next = node.next,
            None => self.heads.get_mut(list).map_or((), |head| *head = node.next),
        }
        match self.nodes.get_mut((node.next as usize).wrapping_sub(1)) {
            Some(next) => next.previous = node.previous,
            None => self.tails.get_mut(list).map_or((), |tail| *tail = node.previous),
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.list = 0;
        }
        if let Some(count) = self.counts.get_mut(list) {
            *count -= 1;
        }
    }

    /// The one of that standing that has been quiet for longest.
    pub fn quietest(&self, standing: Standing) -> Option<u32> {
        self.heads.get(standing as usize).filter(|head| **head != 0).map(|head| head - 1)
    }

    /// The one to close first.
    pub fn first(&self) -> Option<u32> {
        self.heads.iter().find(|head| **head != 0).map(|head| head - 1)
    }

    /// All of them, in the order of [`Order::first`].
    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.heads;
        core::iter::from_fn(move || {
            let head = at.iter_mut().find(|head| **head != 0)?;
            let id = *head - 1;
            *head = self.nodes.get(id as usize).map_or(0, |n| n.next);
            Some(id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use Standing::*;

    proptest! {
        /// Against two plain vectors.
        #[test]
        fn orders_as_two_vectors_would(
            actions in proptest::collection::vec((0u32..12, 0u8..4), 0..200),
        ) {
            let mut order = Order::new(12).unwrap();
            let mut model: [Vec<u32>; 2] = [Vec::new(), Vec::new()];
            for (id, what) in actions {
                if what == 3 && model[1].contains(&id) {
                    order.classify(id, Sending);
                    prop_assert_eq!(order.all().collect::<Vec<_>>(), model.concat());
                    continue;
                }
                model.iter_mut().for_each(|list| list.retain(|other| *other != id));
                match what {
                    3 => { order.classify(id, Sending); model[1].push(id) }
                    0 => order.remove(id),
                    1 => { order.touch(id, Acknowledged); model[0].push(id) }
                    _ => { order.touch(id, Sending); model[1].push(id) }
                }
                let expected: Vec<u32> = model.concat();
                prop_assert_eq!(order.all().collect::<Vec<_>>(), expected.clone());
                prop_assert_eq!(order.first(), expected.first().copied());
                prop_assert_eq!(order.len(), expected.len());
                prop_assert_eq!(order.of(Acknowledged), model[0].len());
                prop_assert_eq!(order.quietest(Sending), model[1].first().copied());
            }
        }
    }

    #[test]
    fn an_id_out_of_range_is_ignored() {
        let mut order = Order::new(1).unwrap();
        order.touch(9, Sending);
        order.remove(9);
        assert_eq!((order.len(), order.first()), (0, None));
    }
}
