//! Counting how long things take, without a lock and without memory of its own per event.
//!
//! Owns: one histogram with fixed bounds, for everything that is measured in time, so that whoever
//! reads two of them can compare them. Invariants: a count never falls; a reading may miss what is
//! counted at that moment, and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Duration;

/// Upper bounds of the buckets but the last, which has none; in microseconds.
pub const BOUNDS_MICROS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// How long things took. Threads share it.
#[derive(Debug, Default)]
pub struct Times {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// A reading of [`Times`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeCounts {
    /// How many took at most the bound of the same place, and more than the one before; the last
    /// has those beyond all bounds.
    pub buckets: [u64; BUCKETS],
    /// All of them together; stops at 584 years.
    pub total: Duration,
}

impl Times {
    /// Counts something that took `time`.
    pub fn count(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos.div_ceil(1_000);
        let at = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> TimeCounts {
        let mut counts = TimeCounts::default();
        for (count, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        counts.total = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        counts
    }
}

impl TimeCounts {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_exactly_a_bound_is_in_its_bucket_and_a_nanosecond_more_in_the_next() {
        let times = Times::default();

        for nanos in [0, 50_000, 50_001, 10_000_000_000, 10_000_000_001] {
            times.count(Duration::from_nanos(nanos));
        }

        let read = times.read();
        assert_eq!((read.buckets[0], read.buckets[1]), (2, 1));
        assert_eq!((read.buckets[16], read.buckets[17]), (1, 1));
        assert_eq!(read.count(), 5);
        assert_eq!(read.total, Duration::from_nanos(20_000_100_002));
    }
}
