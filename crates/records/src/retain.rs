//! Leaving records out of a stored batch, as compaction does.
//!
//! Invariants: the span of offsets, the leader epoch, the producer with its sequence, the codec and
//! the order of the records stay; so do offset and time of every record that is kept. A batch that
//! keeps everything is not written again. A batch is never held uncompressed: it passes through the
//! opener's window, once to see what is kept and once to write it, so that memory is what is stored, what
//! comes out, and the key of one record. Source: KIP-98 (empty batches keep a producer's last sequence),
//! KIP-534 (delete horizon).

use std::io::{self, Write};
use std::ops::ControlFlow;

use base::Timestamp;
use bytes::BytesMut;
use thiserror::Error;

use crate::batch::BatchView;
use crate::build::{BuildError, close};
use crate::codec::CodecError;
use crate::codec::stream::{Opener, Window};
use crate::convert::{Encoder, encode};
use crate::header::{BatchHeader, Compression, HEADER_LEN, NO_TIMESTAMP, TimestampType};
use crate::record::OpenError;
use crate::scan::{Glance, Pieces};
use crate::varint::{put_varlong, varlong_len};

/// A batch's length has 31 bits.
const BATCH_BYTES_MAX: usize = 0x7fff_ffff;

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

impl From<CodecError> for RetainError {
    fn from(error: CodecError) -> Self {
        Self::Open(error.into())
    }
}

/// Leaves out the records for which `keep`, which is shown each with its key, is false.
///
/// `horizon` is the time from which on tombstones in the batch, or all of it if it is a control batch,
/// may be removed; it is written into a batch that has none yet and keeps a tombstone or a mark.
/// `bytes_max` bounds what a compressed batch may hold.
///
/// # Errors
/// [`RetainError`]; `keep` may have seen some of the records by then.
pub fn retain(
    batch: &BatchView,
    horizon: Option<Timestamp>,
    opener: &mut Opener,
    bytes_max: usize,
    mut keep: impl FnMut(&Glance, Option<&[u8]>) -> bool,
) -> Result<Retained, RetainError> {
    let old = batch.header();
    let mut kept = Kept::default();
    batch.scan_keys(opener, bytes_max, |record, key| {
        let keeps = keep(&record, key);
        kept.note(&record, keeps);
        ControlFlow::Continue(())
    })?;
    if kept.count == 0 {
        return Ok(Retained::Nothing(empty(old)?));
    }
    let attributes = old.attributes;
    let waits = kept.tombstone || attributes.is_control();
    let horizon = horizon.filter(|_| waits && !attributes.has_delete_horizon());
    if kept.count == old.record_count && horizon.is_none() {
        return Ok(Retained::Whole);
    }
    let header = BatchHeader {
        attributes: if horizon.is_some() { attributes.with_delete_horizon() } else { attributes },
        base_timestamp: horizon.unwrap_or(old.base_timestamp),
        max_timestamp: match attributes.timestamp_type() {
            TimestampType::CreateTime => kept.max_timestamp,
            TimestampType::LogAppendTime => old.max_timestamp,
        },
        record_count: kept.count,
        ..*old
    };
    let codec = attributes.compression().ok_or(CodecError::Unknown(attributes.codec_id()))?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull => RetainError::Build(BuildError::TooLarge),
        _ => CodecError::Damaged(codec).into(),
    };
    let bytes = opener.open(codec, batch.body(), bytes_max, |window| {
        let moved = i128::from(old.base_timestamp.0) - i128::from(header.base_timestamp.0);
        encode(Encoder::of(codec), BATCH_BYTES_MAX, failed, |out| {
            let out = Out { to: out, failed, front: Vec::new() };
            copy(window, &kept, old.record_count, moved, out)
        })
    })?;
    Ok(Retained::Part(close(header, bytes)?))
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
    close(header, BytesMut::zeroed(HEADER_LEN))
}

/// Which records are kept: a bit for each, in order.
struct Kept {
    bits: Vec<u64>,
    seen: usize,
    count: i32,
    max_timestamp: Timestamp,
    tombstone: bool,
}

impl Default for Kept {
    fn default() -> Self {
        let max_timestamp = NO_TIMESTAMP;
        Self { bits: Vec::new(), seen: 0, count: 0, max_timestamp, tombstone: false }
    }
}

impl Kept {
    fn note(&mut self, record: &Glance, keeps: bool) {
        if self.seen.is_multiple_of(64) {
            self.bits.push(0);
        }
        if let (true, Some(bits)) = (keeps, self.bits.last_mut()) {
            *bits |= 1 << (self.seen % 64);
            self.count = self.count.saturating_add(1);
            self.max_timestamp = self.max_timestamp.max(record.timestamp);
            self.tombstone |= !record.has_value;
        }
        self.seen += 1;
    }

    fn has(&self, index: i32) -> bool {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.bits.get(index / 64).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }
}

/// Where records are written.
struct Out<'a, F> {
    to: &'a mut dyn Write,
    failed: F,
    /// Room for what stands at the front of a record.
    front: Vec<u8>,
}

impl<F: Fn(io::Error) -> RetainError> Out<'_, F> {
    /// A record but for its timestamp delta, which is `delta` now.
    fn put(&mut self, mut record: Pieces<'_, '_>, moved: i128) -> Result<(), RetainError> {
        let (attributes, delta) = record.front()?;
        let delta = i64::try_from(i128::from(delta) + moved).map_err(|_| BuildError::TooLarge)?;
        let len = record.left().checked_add(1 + varlong_len(delta));
        let len = len.and_then(|len| i32::try_from(len).ok()).ok_or(BuildError::TooLarge)?;
        self.front.clear();
        put_varlong(&mut self.front, i64::from(len));
        self.front.push(attributes);
        put_varlong(&mut self.front, delta);
        self.to.write_all(&self.front).map_err(&self.failed)?;
        record.rest(|piece| self.to.write_all(piece).map_err(&self.failed))
    }
}

/// Writes the records that are kept, their timestamp deltas `moved` by so much. The rest of them is not
/// touched.
fn copy(
    window: &mut Window<'_>,
    kept: &Kept,
    count: i32,
    moved: i128,
    mut out: Out<'_, impl Fn(io::Error) -> RetainError>,
) -> Result<(), RetainError> {
    for index in 0..count {
        let record = Pieces::begin(window, index)?;
        if kept.has(index) {
            out.put(record, moved)?;
        } else {
            record.rest(|_| Ok::<_, RetainError>(()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
    use proptest::prelude::*;

    use super::*;
    use crate::build::{BatchBuilder, NewRecord};
    use crate::codec::OPEN_BYTES_MAX;
    use crate::header::Producer;
    use crate::record::{Header, Record};

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

    fn left_of(
        batch: &BatchView,
        horizon: Option<Timestamp>,
        mut keep: impl FnMut(Offset) -> bool,
    ) -> Result<Retained, RetainError> {
        let opener = &mut Opener::default();
        retain(batch, horizon, opener, OPEN_BYTES_MAX, |record, _| keep(record.offset))
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
            let retained = left_of(&batch, horizon, kept).unwrap();
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
        assert_eq!(left_of(&batch, None, |_| true), Ok(Retained::Whole));
    }

    #[test]
    fn a_delete_horizon_is_written_once() {
        let batch = stored(&[1, 2, 3], Compression::None, None);
        let first = left_of(&batch, Some(Timestamp(5_000)), |_| true);
        let Ok(Retained::Part(first)) = first else { panic!("written again: {first:?}") };
        assert!(first.header().attributes.has_delete_horizon());
        assert_eq!(first.header().base_timestamp, Timestamp(5_000));

        let second = left_of(&first, Some(Timestamp(9_000)), |offset| offset.0 % 2 == 0);
        let Ok(Retained::Part(second)) = second else { panic!("a part: {second:?}") };
        assert_eq!(second.header().base_timestamp, Timestamp(5_000));
        assert_eq!(seen(&second), [seen(&batch)[0].clone(), seen(&batch)[2].clone()]);
    }

    #[test]
    fn an_empty_batch_keeps_the_producer_and_the_latest_time() {
        let batch = stored(&[4, 9, 3], Compression::Zstd, None);
        let left = left_of(&batch, None, |_| false);
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
        let left = left_of(&damaged, None, |_| true);
        assert!(matches!(left, Err(RetainError::Open(OpenError::Record(_)))), "{left:?}");
    }
}
