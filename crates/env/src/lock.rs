//! A mutex that checks the order in which locks are taken.
//!
//! Invariant: a thread that holds a lock takes only locks of a higher [`Rank`]; checked whenever
//! debug assertions are on, so in every simulated run. A guard is never held across an await
//! (`Guard` is not `Send`, so such a future does not compile where it is spawned).
#![expect(clippy::disallowed_types, reason = "the one place that owns the std mutex")]

#[cfg(debug_assertions)]
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
#[cfg(not(feature = "shuttle"))]
use std::sync::{Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
use shuttle::sync::{Mutex, MutexGuard};
#[cfg(all(feature = "shuttle", debug_assertions))]
use shuttle::thread_local;

/// A lock's place in the order; lower ranks are taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub u8);

#[cfg(debug_assertions)]
thread_local! {
    static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
}

/// A rank where it is checked, and nothing where it is not: every log and every partition has locks.
#[derive(Clone, Copy, Debug)]
struct Checked {
    #[cfg(debug_assertions)]
    rank: Rank,
}

#[cfg(debug_assertions)]
impl Checked {
    const fn new(rank: Rank) -> Self {
        Self { rank }
    }

    fn take(self) {
        HELD.with(|held| {
            let mut held = held.borrow_mut();
            if let Some(top) = held.last() {
                assert!(*top < self.rank, "lock order: {:?} taken under {top:?}", self.rank);
            }
            held.push(self.rank);
        });
    }

    fn give_back(self) {
        // A thread that ends has nothing left to check: an error is no news.
        let _ended = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(at) = held.iter().rposition(|rank| *rank == self.rank) {
                held.remove(at);
            }
        });
    }
}

#[cfg(not(debug_assertions))]
impl Checked {
    const fn new(_: Rank) -> Self {
        Self {}
    }

    fn take(self) {}

    fn give_back(self) {}
}

/// A mutex with a rank. A holder that panicked leaves the state as it was; production aborts and
/// the simulator ends the node, so nobody sees it.
#[derive(Debug)]
pub struct Lock<T> {
    rank: Checked,
    inner: Mutex<T>,
}

/// Exclusive access until dropped.
#[derive(Debug)]
pub struct Guard<'a, T> {
    rank: Checked,
    inner: MutexGuard<'a, T>,
}

impl<T> Lock<T> {
    /// A lock of the given rank.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { rank: Checked::new(rank), inner: Mutex::new(value) }
    }

    /// Waits for exclusive access. Hold it for nanoseconds: no await, no system call.
    pub fn lock(&self) -> Guard<'_, T> {
        self.rank.take();
        Guard { rank: self.rank, inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.rank.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_taken_in_rank_order_pass() {
        let (outer, inner) = (Lock::new(Rank(1), 1), Lock::new(Rank(2), 2));
        let first = outer.lock();
        let second = inner.lock();
        assert_eq!(*first + *second, 3);
    }

    #[test]
    #[should_panic(expected = "lock order")]
    fn a_lower_rank_under_a_higher_one_is_caught() {
        let (outer, inner) = (Lock::new(Rank(1), ()), Lock::new(Rank(2), ()));
        let _second = inner.lock();
        let _first = outer.lock();
    }
}
