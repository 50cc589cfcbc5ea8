//! Finding records by time within a batch (ListOffsets).
//!
//! Invariant: an answer is the offset of a record that is really there. Source: KIP-79 (first
//! record at or after a time), KIP-734 (the first record with the latest time).

use std::ops::ControlFlow;

use base::{Offset, Timestamp};

use crate::batch::BatchView;
use crate::codec::stream::Opener;
use crate::header::NO_TIMESTAMP;
use crate::record::OpenError;
use crate::scan::Glance;

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub offset: Offset,
    /// When; for a LogAppendTime batch the time of the whole batch.
    pub timestamp: Timestamp,
}

impl Found {
    fn of(record: &Glance) -> Self {
        Self { offset: record.offset, timestamp: record.timestamp }
    }
}

impl BatchView {
    /// The first record, at or beyond offset `from`, whose timestamp is `time` or later. The batch
    /// is looked into only if its header says that such a record may be there.
    ///
    /// # Errors
    /// [`OpenError`] if the batch cannot be opened (within `bytes_max`) or walked.
    pub fn first_at_or_after(
        &self,
        time: Timestamp,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<Found>, OpenError> {
        if self.header().max_timestamp < time || self.header().last_offset() < from {
            return Ok(None);
        }
        let mut found = None;
        self.scan(&mut Opener::default(), bytes_max, |record| {
            if record.offset < from || record.timestamp < time {
                return ControlFlow::Continue(());
            }
            found = Some(Found::of(&record));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Of the records at or beyond offset `from`, the first one with their latest timestamp; `None` if
    /// none of them has one.
    ///
    /// # Errors
    /// [`OpenError`] if the batch cannot be opened (within `bytes_max`) or walked.
    pub fn latest(&self, from: Offset, bytes_max: usize) -> Result<Option<Found>, OpenError> {
        if self.header().max_timestamp == NO_TIMESTAMP {
            return Ok(None);
        }
        let mut latest: Option<Found> = None;
        self.scan(&mut Opener::default(), bytes_max, |record| {
            let later = record.timestamp > latest.map_or(NO_TIMESTAMP, |latest| latest.timestamp);
            if later && record.offset >= from {
                latest = Some(Found::of(&record));
            }
            ControlFlow::Continue(())
        })?;
        Ok(latest)
    }
}

#[cfg(test)]
mod tests {
    use base::LeaderEpoch;

    use super::*;
    use crate::build::{BatchBuilder, NewRecord};
    use crate::codec::OPEN_BYTES_MAX;
    use crate::header::Compression;

    fn batch(codec: Compression, times: &[i64]) -> BatchView {
        let mut batch =
            BatchBuilder::new().compression(codec).assigned(Offset(100), LeaderEpoch(0));
        for time in times {
            let timestamp = Timestamp(*time);
            batch.push(&NewRecord { timestamp, ..NewRecord::default() }).unwrap();
        }
        batch.finish().unwrap()
    }

    fn found(offset: i64, timestamp: i64) -> Option<Found> {
        Some(Found { offset: Offset(offset), timestamp: Timestamp(timestamp) })
    }

    #[test]
    fn the_first_record_late_enough_is_found_in_every_codec() {
        for codec in Compression::ALL {
            let batch = batch(codec, &[10, 30, 20, 30, 5]);
            let at = |time, from| {
                batch.first_at_or_after(Timestamp(time), Offset(from), OPEN_BYTES_MAX).unwrap()
            };

            assert_eq!(at(0, 0), found(100, 10));
            assert_eq!(at(11, 0), found(101, 30));
            assert_eq!(at(11, 102), found(102, 20));
            assert_eq!(at(25, 102), found(103, 30));
            assert_eq!(at(31, 0), None);
            assert_eq!(at(0, 105), None);
            assert_eq!(batch.latest(Offset(0), OPEN_BYTES_MAX), Ok(found(101, 30)));
        }
    }

    #[test]
    fn a_batch_without_times_has_no_latest_record() {
        assert_eq!(batch(Compression::None, &[-1, -1]).latest(Offset(0), OPEN_BYTES_MAX), Ok(None));
    }
}
