//! The first batches that were refused, of producers of which the log knows nothing yet.
//!
//! A producer sends up to five batches without waiting for an answer. Of one that the log knows, a
//! refused batch leaves a gap, and what follows it is refused until it has come. Of one that the
//! log does not know any sequence may be the first, so without this list the second batch would be
//! let in where the first one was refused, and the first could never come again.
//!
//! Invariants: bounded; only in memory, for a connection ends with its broker, and a client sends
//! again in order on a new one; a producer leaves the list as soon as a batch of it is let in.
//! Pure. Source: KIP-98; ADR 0012.

use std::collections::BTreeMap;

use base::{Duration, ProducerEpoch, ProducerId, Timestamp};
use storage::ProducerBatch;

/// Producers remembered; the one that was refused the longest time ago makes room.
pub(crate) const AWAITED_MAX: usize = 1024;
/// Half of the sequence numbers: what is further away lies behind, not ahead.
const AHEAD_MAX: u32 = 1 << 30;

#[derive(Clone, Copy, Debug)]
struct First {
    epoch: ProducerEpoch,
    sequence: i32,
    refused: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    by_id: BTreeMap<ProducerId, First>,
}

impl Awaited {
    /// A batch of an unknown producer was refused: unless an earlier one was, it must come first.
    pub(crate) fn refused(&mut self, batch: &ProducerBatch, now: Timestamp) {
        if self.by_id.get(&batch.id).is_some_and(|first| {
            first.epoch > batch.epoch
                || (first.epoch == batch.epoch && !is_ahead(first.sequence, batch.first_sequence))
        }) {
            return;
        }
        let oldest = self.by_id.iter().min_by_key(|(_, first)| first.refused).map(|(id, _)| *id);
        if let Some(oldest) = oldest
            && self.by_id.len() >= AWAITED_MAX
        {
            self.by_id.remove(&oldest);
        }
        let (epoch, sequence) = (batch.epoch, batch.first_sequence);
        self.by_id.insert(batch.id, First { epoch, sequence, refused: now });
    }

    /// Whether an earlier batch of its producer must come first.
    pub(crate) fn holds_back(&self, batch: &ProducerBatch) -> bool {
        self.by_id.get(&batch.id).is_some_and(|first| {
            if batch.epoch == first.epoch {
                return is_ahead(batch.first_sequence, first.sequence);
            }
            // A new incarnation begins at 0, as if the log knew the old one.
            batch.epoch > first.epoch && batch.first_sequence != 0
        })
    }

    /// A batch of this producer was let in.
    pub(crate) fn came(&mut self, batch: &ProducerBatch) {
        self.by_id.remove(&batch.id);
    }

    /// Forgets what was refused at least `after` ago.
    pub(crate) fn expire(&mut self, now: Timestamp, after: Duration) {
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        self.by_id.retain(|_, first| now.0.saturating_sub(first.refused.0) < after);
    }
}

/// Whether `sequence` comes after `other`; after `i32::MAX` comes 0.
fn is_ahead(sequence: i32, other: i32) -> bool {
    let distance = sequence.wrapping_sub(other).cast_unsigned() & 0x7fff_ffff;
    (1..AHEAD_MAX).contains(&distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(id: i64, epoch: i16, first_sequence: i32) -> ProducerBatch {
        let (id, epoch) = (ProducerId(id), ProducerEpoch(epoch));
        ProducerBatch { id, epoch, first_sequence, last_sequence: first_sequence }
    }

    #[test]
    fn what_follows_a_refused_first_batch_is_held_back_until_that_one_came() {
        let mut awaited = Awaited::default();
        awaited.refused(&batch(1, 0, 5), Timestamp(0));
        awaited.refused(&batch(1, 0, 6), Timestamp(0));

        assert!(awaited.holds_back(&batch(1, 0, 6)));
        assert!(awaited.holds_back(&batch(1, 0, 5 + i32::MAX / 4)));
        assert!(!awaited.holds_back(&batch(1, 0, 5)));
        assert!(!awaited.holds_back(&batch(1, 0, 0)), "the client numbered its batches anew");
        assert!(!awaited.holds_back(&batch(2, 0, 6)));
        awaited.came(&batch(1, 0, 5));
        assert!(!awaited.holds_back(&batch(1, 0, 6)));
    }

    #[test]
    fn a_new_incarnation_begins_at_zero_and_an_old_one_is_not_held_back() {
        let mut awaited = Awaited::default();
        awaited.refused(&batch(1, 4, 3), Timestamp(0));
        awaited.refused(&batch(1, 3, 0), Timestamp(0));

        assert!(awaited.holds_back(&batch(1, 5, 9)));
        assert!(!awaited.holds_back(&batch(1, 5, 0)));
        assert!(!awaited.holds_back(&batch(1, 3, 9)));
        assert!(awaited.holds_back(&batch(1, 4, 9)));
    }

    #[test]
    fn sequences_wrap() {
        let mut awaited = Awaited::default();
        awaited.refused(&batch(1, 0, i32::MAX), Timestamp(0));

        assert!(awaited.holds_back(&batch(1, 0, 0)));
        assert!(!awaited.holds_back(&batch(1, 0, i32::MAX - 1)));
    }

    #[test]
    fn the_list_is_bounded_and_forgets_with_time() {
        let mut awaited = Awaited::default();
        for id in 0..=i64::try_from(AWAITED_MAX).unwrap() {
            awaited.refused(&batch(id, 0, 0), Timestamp(id));
        }

        assert_eq!(awaited.by_id.len(), AWAITED_MAX);
        assert!(!awaited.holds_back(&batch(0, 0, 1)) && awaited.holds_back(&batch(1, 0, 1)));
        awaited.expire(Timestamp(1001), Duration::from_millis(1000));
        assert!(!awaited.holds_back(&batch(1, 0, 1)) && awaited.holds_back(&batch(2, 0, 1)));
    }
}
