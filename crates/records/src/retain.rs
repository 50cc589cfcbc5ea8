//! Leaving records out of a stored batch, as compaction does.
//!
//! Invariants: the span of offsets, the leader epoch, the producer with its sequence, the codec and
//! the order of the records stay; so do offset and time of every record that is kept. A batch that
//! keeps everything is not written again. Source: KIP-98 (empty batches keep a producer's last
//! sequence), KIP-534 (delete horizon).

use base::Timestamp;
use bytes::BytesMut;
use thiserror::Error;

use crate::batch::BatchView;
use crate::build::{BuildError, NewRecord, put_record, seal};
use crate::header::{BatchHeader, Compression, HEADER_LEN, NO_TIMESTAMP, TimestampType};
use crate::record::{Header, OpenError, Record};

/// Why records cannot be left out of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RetainError {
    /// Its records cannot be reached: the batch is damaged and has to stay as it is.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is left cannot be put together.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retained {
    /// All of it, unchanged.
    Whole,
    /// Some records, or all of them with a delete horizon that is new.
    Part(BatchView),
    /// No record. The batch is its header alone, for whoever has to keep a producer's last
    /// sequence or a log's last offset.
    Nothing(BatchView),
}

/// Leaves out the records for which `keep` is false.
///
/// `horizon` is the time from which on tombstones in the batch, or all of it if it is a control batch,
/// may be removed; it is written into a batch that has none yet and keeps a tombstone or a mark. `bytes_max` bounds what a compressed batch may
/// hold.
///
/// # Errors
/// [`RetainError`]; `keep` may have seen some of the records by then.
pub fn retain(
    batch: &BatchView,
    horizon: Option<Timestamp>,
    bytes_max: usize,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Retained, RetainError> {
    let old = batch.header();
    let records = batch.open(bytes_max).map_err(OpenError::from)?;
    let mut kept = Vec::new();
    let mut tombstone = false;
    for record in &records {
        let record = record.map_err(OpenError::from)?;
        if keep(&record) {
            kept.push(record);
            tombstone |= record.value.is_none() || old.attributes.is_control();
        }
    }
    if kept.is_empty() {
        return Ok(Retained::Nothing(empty(old)?));
    }
    let horizon = horizon.filter(|_| tombstone && !old.attributes.has_delete_horizon());
    let all = usize::try_from(old.record_count).is_ok_and(|count| count == kept.len());
    if all && horizon.is_none() {
        return Ok(Retained::Whole);
    }
    let base_timestamp = horizon.unwrap_or(old.base_timestamp);
    let mut left = Left::new(base_timestamp);
    let mut headers: Vec<Header<'_>> = Vec::new();
    for record in &kept {
        headers.clear();
        headers.extend(record.headers);
        left.push(old, record, &headers)?;
    }
    let attributes = old.attributes;
    let compression = attributes.compression().unwrap_or_default();
    let header = BatchHeader {
        attributes: if horizon.is_some() { attributes.with_delete_horizon() } else { attributes },
        base_timestamp,
        max_timestamp: match attributes.timestamp_type() {
            TimestampType::CreateTime => left.max_timestamp,
            TimestampType::LogAppendTime => old.max_timestamp,
        },
        record_count: left.count,
        ..*old
    };
    Ok(Retained::Part(seal(header, compression, left.bytes)?))
}

/// The batch without records; uncompressed, and with the latest time it ever had.
fn empty(old: &BatchHeader) -> Result<BatchView, BuildError> {
    let header = BatchHeader {
        attributes: old.attributes.with_compression(Compression::None),
        base_timestamp: if old.attributes.has_delete_horizon() {
            old.base_timestamp
        } else {
            NO_TIMESTAMP
        },
        record_count: 0,
        ..*old
    };
    seal(header, Compression::None, BytesMut::zeroed(HEADER_LEN))
}

/// The records that are kept, put together anew.
struct Left {
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: i32,
    /// Room for the header, then the records.
    bytes: BytesMut,
}

impl Left {
    fn new(base_timestamp: Timestamp) -> Self {
        let bytes = BytesMut::zeroed(HEADER_LEN);
        Self { base_timestamp, max_timestamp: NO_TIMESTAMP, count: 0, bytes }
    }

    fn push(
        &mut self,
        old: &BatchHeader,
        record: &Record<'_>,
        headers: &[Header<'_>],
    ) -> Result<(), BuildError> {
        let moved = i128::from(old.base_timestamp.0) - i128::from(self.base_timestamp.0);
        let delta = i64::try_from(i128::from(record.timestamp_delta) + moved)
            .map_err(|_| BuildError::TooLarge)?;
        let again = NewRecord {
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers,
        };
        put_record(&mut self.bytes, delta, record.offset_delta, &again)?;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
    use proptest::prelude::*;

    use super::*;
    use crate::build::BatchBuilder;
    use crate::codec::OPEN_BYTES_MAX;
    use crate::header::Producer;

    const PRODUCER: Producer =
        Producer { id: ProducerId(7), epoch: ProducerEpoch(1), base_sequence: Some(40) };

    fn stored(times: &[i32], codec: Compression, append_time: Option<Timestamp>) -> BatchView {
        let mut batch = BatchBuilder::new()
            .compression(codec)
            .assigned(Offset(100), LeaderEpoch(3))
            .producer(PRODUCER);
        if let Some(time) = append_time {
            batch = batch.log_append_time(time);
        }
        let headers = [Header { key: b"h", value: None }, Header { key: b"i", value: Some(b"v") }];
        for (at, time) in times.iter().enumerate() {
            let key = at.to_be_bytes();
            let record = NewRecord {
                timestamp: Timestamp(i64::from(*time)),
                key: Some(&key),
                value: (at % 3 != 0).then_some(&b"value"[..]),
                headers: &headers[..at % 3],
            };
            batch.push(&record).unwrap();
        }
        batch.finish().unwrap()
    }

    /// Everything of a batch's records that a reader sees.
    fn seen(batch: &BatchView) -> Vec<String> {
        let records = batch.open(OPEN_BYTES_MAX).unwrap();
        records
            .iter()
            .map(|record| {
                let Record { offset, timestamp, key, value, headers, .. } = record.unwrap();
                let headers: Vec<_> = headers.collect();
                format!("{offset:?} {timestamp:?} {key:?} {value:?} {headers:?}")
            })
            .collect()
    }

    fn even(record: &Record<'_>) -> bool {
        record.offset.0 % 2 == 0
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_as_before_and_the_span_stays(
            times in prop::collection::vec(any::<i32>(), 1..40),
            codec in prop::sample::select(Compression::ALL.to_vec()),
            mask in any::<u64>(),
            append_time in prop::option::of((0..1_000_000_i64).prop_map(Timestamp)),
            horizon in prop::option::of((0..i64::MAX).prop_map(Timestamp)),
        ) {
            let batch = stored(&times, codec, append_time);
            let kept = |offset: Offset| mask >> (offset.0 % 64) & 1 == 1;
            let retained =
                retain(&batch, horizon, OPEN_BYTES_MAX, |record| kept(record.offset)).unwrap();
            let all = seen(&batch);
            let wanted: Vec<String> = (100..)
                .zip(&all)
                .filter(|(offset, _)| kept(Offset(*offset)))
                .map(|(_, record)| record.clone())
                .collect();
            let (left, is_empty) = match retained {
                Retained::Whole => (batch.clone(), false),
                Retained::Part(left) => (left, false),
                Retained::Nothing(left) => (left, true),
            };

            prop_assert_eq!(left.verify_stored(), Ok(()));
            prop_assert_eq!(is_empty, wanted.is_empty());
            // Every third record is a tombstone.
            let tombstone = (100..).zip(&all).step_by(3).any(|(offset, _)| kept(Offset(offset)));
            let marked = horizon.is_some() && tombstone;
            prop_assert_eq!(left == batch, wanted.len() == all.len() && !marked);
            prop_assert_eq!(left.header().attributes.has_delete_horizon(), marked);
            prop_assert_eq!(seen(&left), wanted);
            let (old, new) = (batch.header(), left.header());
            prop_assert_eq!(new.base_offset, old.base_offset);
            prop_assert_eq!(new.last_offset(), old.last_offset());
            prop_assert_eq!(new.partition_leader_epoch, old.partition_leader_epoch);
            prop_assert_eq!(new.producer(), old.producer());
            prop_assert_eq!(
                new.attributes.timestamp_type(),
                old.attributes.timestamp_type(),
            );
        }
    }

    #[test]
    fn a_batch_that_keeps_everything_is_not_written_again() {
        let batch = stored(&[1, 2, 3], Compression::Gzip, None);
        assert_eq!(retain(&batch, None, OPEN_BYTES_MAX, |_| true), Ok(Retained::Whole));
    }

    #[test]
    fn a_delete_horizon_is_written_once() {
        let batch = stored(&[1, 2, 3], Compression::None, None);
        let first = retain(&batch, Some(Timestamp(5_000)), OPEN_BYTES_MAX, |_| true);
        let Ok(Retained::Part(first)) = first else { panic!("written again: {first:?}") };
        assert!(first.header().attributes.has_delete_horizon());
        assert_eq!(first.header().base_timestamp, Timestamp(5_000));

        let second = retain(&first, Some(Timestamp(9_000)), OPEN_BYTES_MAX, even);
        let Ok(Retained::Part(second)) = second else { panic!("a part: {second:?}") };
        assert_eq!(second.header().base_timestamp, Timestamp(5_000));
        assert_eq!(seen(&second), [seen(&batch)[0].clone(), seen(&batch)[2].clone()]);
    }

    #[test]
    fn an_empty_batch_keeps_the_producer_and_the_latest_time() {
        let batch = stored(&[4, 9, 3], Compression::Zstd, None);
        let left = retain(&batch, None, OPEN_BYTES_MAX, |_| false);
        let Ok(Retained::Nothing(left)) = left else { panic!("nothing: {left:?}") };

        assert_eq!(left.bytes().len(), HEADER_LEN);
        assert_eq!(left.header().max_timestamp, Timestamp(9));
        assert_eq!(left.header().producer(), Some(PRODUCER));
        assert_eq!(left.header().last_offset(), Offset(102));
    }

    #[test]
    fn a_damaged_batch_is_an_error() {
        let batch = stored(&[1, 2], Compression::None, None);
        let mut bytes = batch.bytes().to_vec();
        bytes[HEADER_LEN] = 0x7e;
        let damaged = BatchView::parse(&bytes.into()).unwrap();
        let left = retain(&damaged, None, OPEN_BYTES_MAX, |_| true);
        assert!(matches!(left, Err(RetainError::Open(OpenError::Record(_)))), "{left:?}");
    }
}
