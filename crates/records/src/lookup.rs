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
