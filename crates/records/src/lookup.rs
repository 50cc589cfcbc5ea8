//! Finding records by time within a batch (ListOffsets).
//!
//! Invariant: an answer is the offset of a record that is really there. Source: KIP-79 (first
//! record at or after a time), KIP-734 (the first record with the latest time).

use base::{Offset, Timestamp};

use crate::batch::BatchView;
use crate::header::NO_TIMESTAMP;
use crate::record::{OpenError, RecordError, RecordSet};

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub offset: Offset,
    /// When; for a LogAppendTime batch the time of the whole batch.
    pub timestamp: Timestamp,
}

impl RecordSet {
    /// The first record, at or beyond offset `from`, whose timestamp is `time` or later.
    ///
    /// # Errors
    /// [`RecordError`] if the records before it are malformed.
    pub fn first_at_or_after(
        &self,
        time: Timestamp,
        from: Offset,
    ) -> Result<Option<Found>, RecordError> {
        for record in self {
            let record = record?;
            if record.offset >= from && record.timestamp >= time {
                return Ok(Some(Found { offset: record.offset, timestamp: record.timestamp }));
            }
        }
        Ok(None)
    }

    /// The first record with the latest timestamp; `None` if no record has one.
    ///
    /// # Errors
    /// [`RecordError`] if a record is malformed.
    pub fn latest(&self) -> Result<Option<Found>, RecordError> {
        let mut latest: Option<Found> = None;
        for record in self {
            let record = record?;
            if record.timestamp > latest.map_or(NO_TIMESTAMP, |latest| latest.timestamp) {
                latest = Some(Found { offset: record.offset, timestamp: record.timestamp });
            }
        }
        Ok(latest)
    }
}

impl BatchView {
    /// [`RecordSet::first_at_or_after`], opening the batch only if its header says that such a
    /// record may be there.
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
        Ok(self.open(bytes_max)?.first_at_or_after(time, from)?)
    }

    /// [`RecordSet::latest`].
    ///
    /// # Errors
    /// [`OpenError`] if the batch cannot be opened (within `bytes_max`) or walked.
    pub fn latest(&self, bytes_max: usize) -> Result<Option<Found>, OpenError> {
        if self.header().max_timestamp == NO_TIMESTAMP {
            return Ok(None);
        }
        Ok(self.open(bytes_max)?.latest()?)
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
            assert_eq!(batch.latest(OPEN_BYTES_MAX), Ok(found(101, 30)));
        }
    }

    #[test]
    fn a_batch_without_times_has_no_latest_record() {
        assert_eq!(batch(Compression::None, &[-1, -1]).latest(OPEN_BYTES_MAX), Ok(None));
    }
}
