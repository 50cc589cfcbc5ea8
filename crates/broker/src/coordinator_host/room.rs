//! Room for what members of groups say of themselves, and are given: a share of one bound.
//!
//! Invariants: what is taken with [`Rooms::take`] is never more than the bound; what is taken is given
//! back when it is dropped. What a shard holds is counted as it is ([`Room::becomes`]), so that what a
//! log names is never refused; a request is counted until its shard counts what is left of it.

use std::sync::Arc;

use env::{Lock, Rank};

/// Taken under no other lock, and none under it.
const ROOMS_RANK: Rank = Rank(41);

/// The bound, and what is taken of it.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    bytes_max: usize,
    taken: Arc<Lock<usize>>,
}

/// Some of it.
#[derive(Debug)]
pub(crate) struct Room {
    of: Rooms,
    bytes: usize,
}

impl Rooms {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, taken: Arc::new(Lock::new(ROOMS_RANK, 0)) }
    }

    /// Nothing of it.
    pub(super) fn empty(&self) -> Room {
        Room { of: self.clone(), bytes: 0 }
    }

    /// So many bytes of it, if they are there. Nothing is always there.
    pub(super) fn take(&self, bytes: usize) -> Option<Room> {
        if bytes > 0 {
            let mut taken = self.taken.lock();
            *taken = taken.checked_add(bytes).filter(|taken| *taken <= self.bytes_max)?;
        }
        Some(Room { of: self.clone(), bytes })
    }
}

impl Room {
    /// It is so many bytes now, whether or not they are there.
    pub(super) fn becomes(&mut self, bytes: usize) {
        if bytes != self.bytes {
            let mut taken = self.of.taken.lock();
            *taken = taken.saturating_sub(self.bytes).saturating_add(bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.becomes(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_within_the_bound_and_comes_back() {
        let rooms = Rooms::new(100);
        let first = rooms.take(60).expect("there");
        assert!(rooms.take(41).is_none());
        let second = rooms.take(40).expect("there");
        assert!(rooms.take(1).is_none() && rooms.take(0).is_some());

        drop(first);

        assert!(rooms.take(60).is_some());
        drop(second);
        assert_eq!(*rooms.taken.lock(), 0);
    }

    #[test]
    fn what_is_held_anyway_is_counted_beyond_the_bound() {
        let rooms = Rooms::new(100);
        let mut held = rooms.empty();

        held.becomes(150);

        assert!(rooms.take(1).is_none() && rooms.take(usize::MAX).is_none());
        held.becomes(99);
        assert!(rooms.take(1).is_some());
    }
}
