//! Making batches from records: for our own logs, the command line, the simulator's clients, tests.
//!
//! Invariant: what `finish` returns passes [`crate::check::validate`] as long as nothing was asked
//! for that only brokers do (an offset, a control batch, an append time, holes).

use base::{LeaderEpoch, Offset, Timestamp};
use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::batch::BatchView;
use crate::codec::{self, CodecError};
use crate::header::{
    ATTRIBUTES_AT, Attributes, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, NO_TIMESTAMP,
    Producer, TimestampType, crc32c_of_two,
};
use crate::record::Header;
use crate::varint::{put_varlong, varlong_len};

/// A record to be put into a batch.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// The producer's time; −1 for none.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header<'a>],
}

impl Default for NewRecord<'_> {
    fn default() -> Self {
        Self { timestamp: NO_TIMESTAMP, key: None, value: None, headers: &[] }
    }
}

/// Why a batch cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A batch has at least one record.
    #[error("a batch without records")]
    Empty,
    /// A length or count beyond what the format's 32 bits hold.
    #[error("a batch beyond 2 GiB")]
    TooLarge,
    /// Offsets in a batch rise.
    #[error("offset delta {0} does not come after the one before")]
    OffsetDelta(i32),
    /// The codec failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Collects records into one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    attributes: Attributes,
    base_offset: Offset,
    leader_epoch: Option<LeaderEpoch>,
    producer: Option<Producer>,
    append_time: Option<Timestamp>,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    last_offset_delta: i32,
    record_count: i32,
    /// Room for the header, then the records, uncompressed.
    bytes: BytesMut,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// A plain batch as a producer sends it: base offset 0, no leader epoch, no producer id.
    pub fn new() -> Self {
        Self {
            compression: Compression::None,
            attributes: Attributes::default(),
            base_offset: Offset::ZERO,
            leader_epoch: None,
            producer: None,
            append_time: None,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            last_offset_delta: -1,
            record_count: 0,
            bytes: BytesMut::zeroed(HEADER_LEN),
        }
    }

    /// Compresses the records.
    #[must_use]
    pub fn compression(mut self, codec: Compression) -> Self {
        self.compression = codec;
        self
    }

    /// Sets the first record's offset and the epoch of the leader that assigned it.
    #[must_use]
    pub fn assigned(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        self.base_offset = base_offset;
        self.leader_epoch = Some(leader_epoch);
        self
    }

    /// Makes the batch idempotent (KIP-98).
    #[must_use]
    pub fn producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// Makes the batch part of its producer's transaction (KIP-98).
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes = self.attributes.with_transactional();
        self
    }

    /// Makes it a control batch (see [`crate::control`]).
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes = self.attributes.with_control();
        self
    }

    /// Stamps all records with the broker's time (KIP-32).
    #[must_use]
    pub fn log_append_time(mut self, now: Timestamp) -> Self {
        self.append_time = Some(now);
        self
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Bytes so far, header included, uncompressed.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record right after the one before.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`] beyond the format's limits; the builder stays as it was.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        let delta = self.last_offset_delta.checked_add(1).ok_or(BuildError::TooLarge)?;
        self.push_at(delta, record)
    }

    /// Adds a record at `offset_delta` from the base offset, leaving a hole as compaction does.
    ///
    /// # Errors
    /// [`BuildError::OffsetDelta`] unless `offset_delta` is beyond the last one,
    /// [`BuildError::TooLarge`] beyond the format's limits; the builder stays as it was.
    pub fn push_at(&mut self, offset_delta: i32, record: &NewRecord<'_>) -> Result<(), BuildError> {
        if offset_delta <= self.last_offset_delta {
            return Err(BuildError::OffsetDelta(offset_delta));
        }
        let first = self.record_count == 0;
        let base = if first { record.timestamp } else { self.base_timestamp };
        let timestamp_delta = record.timestamp.0.checked_sub(base.0).ok_or(BuildError::TooLarge)?;
        put_record(&mut self.bytes, timestamp_delta, offset_delta, record)?;
        self.base_timestamp = base;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.last_offset_delta = offset_delta;
        // Bounded by the bytes: a record has at least seven.
        self.record_count = self.record_count.saturating_add(1);
        Ok(())
    }

    /// The finished batch.
    ///
    /// # Errors
    /// [`BuildError::Empty`] without records, [`BuildError::TooLarge`], [`BuildError::Codec`].
    pub fn finish(self) -> Result<BatchView, BuildError> {
        if self.record_count == 0 {
            return Err(BuildError::Empty);
        }
        seal(self.header(), self.compression, self.bytes)
    }

    /// As [`BatchBuilder::finish`], but only the bytes.
    ///
    /// # Errors
    /// Those of [`BatchBuilder::finish`].
    pub fn finish_bytes(self) -> Result<Bytes, BuildError> {
        self.finish().map(BatchView::into_bytes)
    }

    /// All but length and CRC, which are known last.
    fn header(&self) -> BatchHeader {
        let timestamps = match self.append_time {
            Some(_) => TimestampType::LogAppendTime,
            None => TimestampType::CreateTime,
        };
        BatchHeader {
            base_offset: self.base_offset,
            batch_length: 0,
            partition_leader_epoch: self.leader_epoch.map_or(-1, |epoch| epoch.0),
            crc: 0,
            attributes: self
                .attributes
                .with_compression(self.compression)
                .with_timestamp_type(timestamps),
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.append_time.unwrap_or(self.max_timestamp),
            producer_id: self.producer.map_or(-1, |producer| producer.id.0),
            producer_epoch: self.producer.map_or(-1, |producer| producer.epoch.0),
            base_sequence: self.producer.and_then(|p| p.base_sequence).unwrap_or(-1),
            record_count: self.record_count,
        }
    }
}

/// Puts one record behind the others.
///
/// # Errors
/// [`BuildError::TooLarge`] beyond what the format's 32 bits hold; nothing is put then.
pub(crate) fn put_record(
    out: &mut BytesMut,
    timestamp_delta: i64,
    offset_delta: i32,
    record: &NewRecord<'_>,
) -> Result<(), BuildError> {
    let len = record_len(timestamp_delta, offset_delta, record);
    let whole = len.and_then(|len| out.len().checked_add(len)?.checked_add(5));
    if whole.and_then(|whole| i32::try_from(whole).ok()).is_none() {
        return Err(BuildError::TooLarge);
    }
    let len = len.and_then(|len| i64::try_from(len).ok()).ok_or(BuildError::TooLarge)?;

    put_varlong(out, len);
    out.put_u8(0);
    put_varlong(out, timestamp_delta);
    put_varlong(out, i64::from(offset_delta));
    put_nullable(out, record.key);
    put_nullable(out, record.value);
    put_len(out, record.headers.len());
    for header in record.headers {
        put_nullable(out, Some(header.key));
        put_nullable(out, header.value);
    }
    Ok(())
}

/// Makes a batch of a header whose length and CRC are not known yet and of `bytes`: room for the
/// header, then the records, uncompressed.
///
/// # Errors
/// [`BuildError::TooLarge`], [`BuildError::Codec`].
pub(crate) fn seal(
    header: BatchHeader,
    compression: Compression,
    mut bytes: BytesMut,
) -> Result<BatchView, BuildError> {
    if compression != Compression::None {
        let records = bytes.split_off(HEADER_LEN).freeze();
        bytes.put_slice(&codec::compress(compression, records)?);
    }
    close(header, bytes)
}

/// Makes a batch of a header whose length and CRC are not known yet and of `bytes`: room for the
/// header, then what the header says follows it.
///
/// # Errors
/// [`BuildError::TooLarge`].
pub(crate) fn close(mut header: BatchHeader, mut bytes: BytesMut) -> Result<BatchView, BuildError> {
    let length = bytes.len().saturating_sub(LOG_OVERHEAD);
    header.batch_length = i32::try_from(length).map_err(|_| BuildError::TooLarge)?;
    header.crc = crc32c_of_two(&header.encode()[ATTRIBUTES_AT..], &bytes[HEADER_LEN..]);
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    Ok(BatchView::new(header, bytes.freeze()))
}

/// Bytes of a record after its own length; `None` beyond `usize`.
fn record_len(timestamp_delta: i64, offset_delta: i32, record: &NewRecord<'_>) -> Option<usize> {
    let fixed = 1 + varlong_len(timestamp_delta) + varlong_len(i64::from(offset_delta));
    let mut len = fixed
        .checked_add(nullable_len(record.key)?)?
        .checked_add(nullable_len(record.value)?)?
        .checked_add(varlong_len(i64::try_from(record.headers.len()).ok()?))?;
    for header in record.headers {
        len = len
            .checked_add(nullable_len(Some(header.key))?)?
            .checked_add(nullable_len(header.value)?)?;
    }
    Some(len)
}

fn nullable_len(bytes: Option<&[u8]>) -> Option<usize> {
    let len = bytes.map_or(0, <[u8]>::len);
    let prefix = if bytes.is_some() { varlong_len(i64::try_from(len).ok()?) } else { 1 };
    len.checked_add(prefix)
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_len(out, bytes.len());
            out.put_slice(bytes);
        },
        None => put_varlong(out, -1),
    }
}

/// Lengths were checked by [`record_len`] before anything is put.
fn put_len(out: &mut BytesMut, len: usize) {
    put_varlong(out, i64::try_from(len).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use base::Duration;
    use proptest::prelude::*;

    use super::*;
    use crate::check::{Depth, Policy, validate};
    use crate::codec::OPEN_BYTES_MAX;
    use crate::codec::stream::Opener;

    proptest! {
        #[test]
        fn what_is_built_is_let_in(
            records in prop::collection::vec((any::<i32>(), prop::option::of(0..300_usize), 0..4_usize), 1..50),
            codec in prop::sample::select(Compression::ALL.to_vec()),
        ) {
            let header = Header { key: "clé".as_bytes(), value: Some(&[0; 70]) };
            let headers = [header; 3];
            let bytes = [0xab; 300];
            let mut batch = BatchBuilder::new().compression(codec);
            let mut latest = NO_TIMESTAMP;
            for (timestamp, len, count) in &records {
                let timestamp = Timestamp(i64::from(*timestamp));
                latest = latest.max(timestamp);
                let value = len.map(|len| &bytes[..len]);
                let headers = &headers[..(*count).min(3)];
                batch.push(&NewRecord { timestamp, key: value, value, headers }).unwrap();
            }
            let plain_len = batch.len_bytes();
            let policy = Policy {
                batch_bytes_max: usize::MAX,
                record_bytes_max: usize::MAX,
                depth: Depth::Walk,
                open_bytes_max: OPEN_BYTES_MAX,
                key_required: false,
                timestamp_type: TimestampType::CreateTime,
                now: Timestamp(0),
                before_max: Duration::MAX,
                after_max: Duration::MAX,
            };

            let built = batch.finish().unwrap();
            let validated = validate(built.bytes(), &policy, &mut Opener::default()).unwrap();

            prop_assert_eq!(usize::try_from(validated.record_count).unwrap(), records.len());
            prop_assert_eq!(validated.max_timestamp, latest);
            prop_assert_eq!(validated.stamp, crate::patch::Stamp::Keep);
            prop_assert_eq!(validated.batch.header(), built.header());
            prop_assert_eq!(built.open(OPEN_BYTES_MAX).unwrap().bytes().len() + HEADER_LEN, plain_len);
        }
    }

    #[test]
    fn a_batch_without_records_is_not_built_and_offsets_only_rise() {
        assert_eq!(BatchBuilder::new().finish(), Err(BuildError::Empty));

        let mut batch = BatchBuilder::new();
        batch.push_at(3, &NewRecord::default()).unwrap();
        assert_eq!(batch.push_at(3, &NewRecord::default()), Err(BuildError::OffsetDelta(3)));
        batch.push(&NewRecord::default()).unwrap();
        assert_eq!(batch.finish().unwrap().header().last_offset(), Offset(4));
    }
}
