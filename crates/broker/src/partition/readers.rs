//! Readers that wait for a partition to grow.
//!
//! Owns: the list of parked readers of one partition, and the signal that the partitions of one
//! fetch share. Invariants: at most [`READERS_MAX`] are parked per partition; a parked reader is
//! woken at most once for all partitions together; waking it only makes it look again.

use env::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

/// Readers parked at one partition; further ones are answered with what there is.
pub(crate) const READERS_MAX: usize = 10_000;

/// Shared by all partitions of one parked fetch.
#[derive(Debug)]
pub(crate) struct Signal {
    /// Bytes still missing; 0 has woken the reader.
    missing: AtomicUsize,
    wake: Notify,
}

impl Signal {
    /// For a reader that misses `missing` bytes.
    pub(crate) fn new(missing: usize) -> Arc<Self> {
        Arc::new(Self { missing: AtomicUsize::new(missing), wake: Notify::new() })
    }

    /// Completes when enough was appended or something else happened. Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Makes the reader look again.
    pub(crate) fn wake(&self) {
        if self.missing.swap(0, Ordering::Relaxed) > 0 {
            self.wake.notify_one();
        }
    }

    fn credit(&self, bytes: usize) {
        let take = |missing: usize| (missing > 0).then(|| missing.saturating_sub(bytes));
        let before = self.missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if before.is_ok_and(|missing| missing <= bytes) {
            self.wake.notify_one();
        }
    }
}

/// The readers parked at one partition.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    next_id: u64,
    /// In the order of arrival.
    parked: BTreeMap<u64, Parked>,
}

#[derive(Debug)]
struct Parked {
    signal: Arc<Signal>,
    /// Bytes of this partition that may still count for the reader: its limit there.
    room: usize,
}

impl Readers {
    /// Parks a reader that takes at most `room` more bytes here; `None` if too many are parked.
    pub(crate) fn park(&mut self, signal: &Arc<Signal>, room: usize) -> Option<u64> {
        if self.parked.len() >= READERS_MAX {
            return None;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.parked.insert(id, Parked { signal: Arc::clone(signal), room });
        Some(id)
    }

    /// Takes a reader off the list.
    pub(crate) fn leave(&mut self, id: u64) {
        self.parked.remove(&id);
    }

    /// `bytes` became readable.
    pub(crate) fn appended(&mut self, bytes: usize) {
        for parked in self.parked.values_mut() {
            // A reader takes a first batch that is larger than its limit, so room never hides it.
            let counts = if parked.room == 0 { 0 } else { bytes.min(parked.room).max(1) };
            parked.room = parked.room.saturating_sub(bytes);
            parked.signal.credit(counts);
        }
    }

    /// Something happened that every reader must see.
    pub(crate) fn wake_all(&mut self) {
        for parked in self.parked.values() {
            parked.signal.wake();
        }
    }

    /// How many are parked.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.parked.len()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_woken(signal: &Signal) -> bool {
        let woken = pin!(signal.woken());
        woken.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_reader_is_woken_once_its_bytes_are_there_over_all_partitions() {
        let (mut one, mut two) = (Readers::default(), Readers::default());
        let signal = Signal::new(100);
        one.park(&signal, 1000);
        two.park(&signal, 1000);

        one.appended(60);
        assert!(!is_woken(&signal));
        two.appended(40);
        assert!(is_woken(&signal));
        one.appended(1000);
        assert!(!is_woken(&signal), "only once");
    }

    #[test]
    fn bytes_beyond_a_partitions_limit_do_not_count() {
        let mut readers = Readers::default();
        let signal = Signal::new(100);
        readers.park(&signal, 30);

        readers.appended(1000);
        assert!(!is_woken(&signal));
        readers.wake_all();
        assert!(is_woken(&signal));
    }

    #[test]
    fn the_list_is_bounded_and_a_leaver_makes_room() {
        let mut readers = Readers::default();
        let signal = Signal::new(1);
        let first = readers.park(&signal, 1).expect("room");
        while readers.park(&signal, 1).is_some() {}
        assert_eq!(readers.len(), READERS_MAX);

        readers.leave(first);
        assert!(readers.park(&signal, 1).is_some());
    }
}
