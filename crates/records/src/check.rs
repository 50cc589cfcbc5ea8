//! What a batch must be before a producer's bytes enter the log.
//!
//! Invariants: nothing is changed and nothing allocated per record but the list of a refused batch's
//! faults; a compressed batch is not held inflated ([`BatchView::scan`]), but for a raw snappy block,
//! which has no stream format and is bounded by what it claims to hold; checks come in the order in which Kafka makes them, so that a batch with two faults gets the
//! same answer. Source: Kafka's produce path (`validateRecords`, `LogValidator`), KIP-32, KIP-467,
//! KIP-937. Where we are stricter: offset deltas must be 0, 1, 2 … (Kafka stores such a batch),
//! and bytes after the one batch are refused (Kafka cuts an incomplete one off).

use std::ops::ControlFlow;

use base::{Duration, LeaderEpoch, Offset, Timestamp};
use bytes::Bytes;
use thiserror::Error;

use crate::batch::{BatchView, CrcMismatch, FrameError};
use crate::codec::CodecError;
use crate::codec::stream::Opener;
use crate::header::{BatchHeader, NO_TIMESTAMP, TimestampType};
use crate::patch::{Patch, Stamp};
use crate::record::{OpenError, RecordError};
use crate::scan::Glance;

/// Faults listed for one batch; further ones are not looked for.
pub const FAULTS_MAX: usize = 1024;

/// How closely to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// CRC and header: for producers whose records are trusted. (Followers and recovery do not
    /// come here at all: [`BatchView::verify_stored`].)
    Header,
    /// Also walk the records, opening a compressed batch for it, as Kafka does.
    #[default]
    Walk,
}

/// The topic's rules and the broker's time.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// `max.message.bytes`: bytes of a whole batch, header included.
    pub batch_bytes_max: usize,
    /// `max.decompressed.message.bytes`: bytes of one record of a compressed batch.
    pub record_bytes_max: usize,
    /// How closely to look.
    pub depth: Depth,
    /// Bytes a compressed batch may inflate to: a bound of time, see
    /// [`crate::codec::inflated_bytes_max`].
    pub open_bytes_max: usize,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub key_required: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// The broker's wall clock.
    pub now: Timestamp,
    /// `message.timestamp.before.max.ms`: how far in the past a CreateTime may lie.
    pub before_max: Duration,
    /// `message.timestamp.after.max.ms`: how far in the future a CreateTime may lie.
    pub after_max: Duration,
}

/// A batch that may enter the log, and what was learnt about it.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The batch, as it came (but for the claim to an append time, which is taken off it).
    pub batch: BatchView,
    /// Records in it, at least 1.
    pub record_count: u32,
    /// Whether the records themselves were seen; if not, the rest repeats the header's claims.
    pub walked: bool,
    /// The latest timestamp as it will be stored: of the records, or `now` under LogAppendTime;
    /// −1 if no record has a time.
    pub max_timestamp: Timestamp,
    /// Offset delta of the first record with that timestamp; `None` if the records were not seen.
    pub max_timestamp_delta: Option<i32>,
    /// What the leader must write over the batch's timestamps.
    pub stamp: Stamp,
}

/// What a producer is told, in Kafka's words; the wire turns it into a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// CORRUPT_MESSAGE (2): the bytes were damaged; sending them again may help.
    Corrupt,
    /// MESSAGE_TOO_LARGE (10).
    TooLarge,
    /// INVALID_TIMESTAMP (32).
    InvalidTimestamp,
    /// UNSUPPORTED_COMPRESSION_TYPE (76).
    UnsupportedCompression,
    /// INVALID_RECORD (87).
    Invalid,
    /// UNKNOWN_SERVER_ERROR (−1): Kafka does not expect it.
    Unexpected,
}

/// Why a batch may not enter the log. [`BatchError::refusal`] says what Kafka answers; the number
/// is repeated here at each variant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// 87: null or empty records.
    #[error("no record batch")]
    Empty,
    /// 2 for an impossible length or an unknown magic; 87 for magic 0 and 1 (message sets) and for
    /// a batch that is not whole.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// 87: a produce request carries one batch per partition.
    #[error("{0} bytes follow the one batch a partition may get")]
    MoreThanOne(usize),
    /// 87: producers count from zero.
    #[error("base offset {0} instead of 0")]
    BaseOffset(Offset),
    /// 10: the batch is larger than `max.message.bytes`.
    #[error("a batch of {bytes} bytes where {bytes_max} are allowed")]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// `max.message.bytes`.
        bytes_max: usize,
    },
    /// 2: damaged on the way.
    #[error(transparent)]
    Crc(#[from] CrcMismatch),
    /// 87: no record, or a header that contradicts itself.
    #[error("{record_count} records, but the last offset delta is {last_offset_delta}")]
    Count {
        /// `recordsCount`.
        record_count: i32,
        /// `lastOffsetDelta`.
        last_offset_delta: i32,
    },
    /// 87: only brokers write control batches.
    #[error("a control batch from a client")]
    Control,
    /// 87: a producer id without an epoch or a sequence.
    #[error("a producer id without epoch or sequence")]
    NoSequence,
    /// 32: only brokers stamp the append time. Where records keep their own times, Kafka overlooks the
    /// claim, and so do we.
    #[error("a batch from a client claims to have an append time")]
    LogAppendTime,
    /// 87: a record of a compressed batch is larger than `max.decompressed.message.bytes`.
    #[error("record {index} has {bytes} bytes where {bytes_max} are allowed")]
    RecordTooLarge {
        /// Which record, from 0.
        index: i32,
        /// Its bytes, uncompressed.
        bytes: usize,
        /// `max.decompressed.message.bytes`.
        bytes_max: usize,
    },
    /// −1 for a codec nobody assigned, 10 for a block that holds too much, 87 for a damaged one: its
    /// CRC is right, so it was sent like this, and sending it again would not help.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// 87: the bytes are not the records that the header claims.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// 87: offset deltas must be 0, 1, 2 and so on.
    #[error("record {index} has offset delta {offset_delta}")]
    OffsetDelta {
        /// Which record, from 0.
        index: i32,
        /// Its delta.
        offset_delta: i32,
    },
    /// 32 if any record's timestamp is out of range, else 87: each record that is at fault
    /// (KIP-467), in order, at most [`FAULTS_MAX`].
    #[error("{} records are not acceptable", .0.len())]
    Faults(Vec<Fault>),
}

/// One record that a topic does not accept (KIP-467).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which record of the batch, from 0.
    pub index: i32,
    /// What is wrong with it.
    pub kind: FaultKind,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// A compacted topic needs keys.
    #[error("compacted topic cannot accept a record without key")]
    NoKey,
    /// Too far from the broker's clock.
    #[error("timestamp {at} is not between {earliest} and {latest}")]
    Timestamp {
        /// What it says.
        at: Timestamp,
        /// The earliest that is accepted now.
        earliest: Timestamp,
        /// The latest.
        latest: Timestamp,
    },
}

impl BatchError {
    /// What Kafka answers.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Crc(_) | Self::Frame(FrameError::Length(_) | FrameError::Magic(2..)) => {
                Refusal::Corrupt
            },
            Self::TooLarge { .. } | Self::Codec(CodecError::TooLarge(_)) => Refusal::TooLarge,
            Self::LogAppendTime => Refusal::InvalidTimestamp,
            Self::Codec(CodecError::Unknown(_)) => Refusal::Unexpected,
            Self::Faults(faults)
                if faults.iter().any(|f| matches!(f.kind, FaultKind::Timestamp { .. })) =>
            {
                Refusal::InvalidTimestamp
            },
            Self::Empty
            | Self::Frame(FrameError::Truncated { .. } | FrameError::Magic(0 | 1))
            | Self::MoreThanOne(_)
            | Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::Control
            | Self::NoSequence
            | Self::Codec(CodecError::Damaged(_))
            | Self::Record(_)
            | Self::OffsetDelta { .. }
            | Self::RecordTooLarge { .. }
            | Self::Faults(_) => Refusal::Invalid,
        }
    }
}

/// The one batch that a partition of a produce request carries; nothing but its frame is checked.
///
/// # Errors
/// [`BatchError::Empty`], [`BatchError::Frame`] or [`BatchError::MoreThanOne`].
pub fn exactly_one(bytes: &Bytes) -> Result<BatchView, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::Empty);
    }
    let batch = BatchView::parse(bytes)?;
    let more = bytes.len().saturating_sub(batch.bytes().len());
    if more == 0 { Ok(batch) } else { Err(BatchError::MoreThanOne(more)) }
}

/// Checks that `bytes` are one batch which `policy` lets into the log. `opener` is what a compressed
/// one is opened with.
///
/// # Errors
/// [`BatchError`], the first one in Kafka's order.
pub fn validate(
    bytes: &Bytes,
    policy: &Policy,
    opener: &mut Opener,
) -> Result<Validated, BatchError> {
    let mut batch = exactly_one(bytes)?;
    check_size(&batch, policy)?;
    batch.verify_crc()?;
    let record_count = check_header(batch.header(), policy)?;
    if batch.header().attributes.timestamp_type() == TimestampType::LogAppendTime {
        // From here on its records have the times they came with; no known client sends this.
        let stamp = Stamp::Max(batch.header().max_timestamp);
        let (base_offset, leader_epoch) = (Offset::ZERO, LeaderEpoch::default());
        batch = batch.patched(&Patch { base_offset, leader_epoch, stamp }).to_view();
    }
    let header = *batch.header();
    if header.attributes.compression().is_none() {
        return Err(CodecError::Unknown(header.attributes.codec_id()).into());
    }
    let latest = match policy.depth {
        Depth::Header => None,
        Depth::Walk => Some(walk_records(&batch, policy, opener)?),
    };
    let walked = latest.is_some();
    let (max_timestamp, max_timestamp_delta, stamp) = match (policy.timestamp_type, latest) {
        (TimestampType::LogAppendTime, _) => (policy.now, Some(0), Stamp::LogAppend(policy.now)),
        (TimestampType::CreateTime, None) => (header.max_timestamp, None, Stamp::Keep),
        (TimestampType::CreateTime, Some(latest)) => {
            let stamp = if latest.timestamp == header.max_timestamp {
                Stamp::Keep
            } else {
                Stamp::Max(latest.timestamp)
            };
            (latest.timestamp, Some(latest.offset_delta), stamp)
        },
    };
    Ok(Validated { batch, record_count, walked, max_timestamp, max_timestamp_delta, stamp })
}

fn check_size(batch: &BatchView, policy: &Policy) -> Result<(), BatchError> {
    if batch.header().base_offset != Offset::ZERO {
        return Err(BatchError::BaseOffset(batch.header().base_offset));
    }
    let (bytes, bytes_max) = (batch.bytes().len(), policy.batch_bytes_max);
    if bytes > bytes_max { Err(BatchError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
}

fn check_header(header: &BatchHeader, policy: &Policy) -> Result<u32, BatchError> {
    let (record_count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    let dense = record_count >= 1 && last_offset_delta == record_count - 1;
    let count = u32::try_from(record_count).ok().filter(|_| dense);
    let count = count.ok_or(BatchError::Count { record_count, last_offset_delta })?;
    if header.attributes.is_control() {
        return Err(BatchError::Control);
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(BatchError::NoSequence);
    }
    match (header.attributes.timestamp_type(), policy.timestamp_type) {
        (TimestampType::LogAppendTime, TimestampType::LogAppendTime) => {
            Err(BatchError::LogAppendTime)
        },
        (TimestampType::CreateTime, _) | (_, TimestampType::CreateTime) => Ok(count),
    }
}

/// The first record with the latest timestamp.
#[derive(Clone, Copy)]
struct Latest {
    timestamp: Timestamp,
    offset_delta: i32,
}

fn walk_records(
    batch: &BatchView,
    policy: &Policy,
    opener: &mut Opener,
) -> Result<Latest, BatchError> {
    let mut latest = Latest { timestamp: NO_TIMESTAMP, offset_delta: 0 };
    let mut faults = Vec::new();
    let mut index = 0;
    let mut refused = None;
    let (earliest, latest_allowed) = policy.times();
    let scanned = batch.scan(opener, policy.open_bytes_max, |record| {
        if record.offset_delta != index {
            refused = Some(BatchError::OffsetDelta { index, offset_delta: record.offset_delta });
            return ControlFlow::Break(());
        }
        if record.inflated_bytes > policy.record_bytes_max {
            let (bytes, bytes_max) = (record.inflated_bytes, policy.record_bytes_max);
            refused = Some(BatchError::RecordTooLarge { index, bytes, bytes_max });
            return ControlFlow::Break(());
        }
        if record.timestamp > latest.timestamp {
            latest = Latest { timestamp: record.timestamp, offset_delta: index };
        }
        if let Some(kind) = policy.fault(&record, earliest, latest_allowed)
            && faults.len() < FAULTS_MAX
        {
            faults.push(Fault { index, kind });
        }
        index += 1;
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| match error {
        OpenError::Codec(error) => BatchError::Codec(error),
        OpenError::Record(error) => BatchError::Record(error),
    })?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    if faults.is_empty() { Ok(latest) } else { Err(BatchError::Faults(faults)) }
}

impl Policy {
    fn fault(&self, record: &Glance, earliest: Timestamp, latest: Timestamp) -> Option<FaultKind> {
        if self.key_required && !record.has_key {
            return Some(FaultKind::NoKey);
        }
        let at = record.timestamp;
        match self.timestamp_type {
            TimestampType::LogAppendTime => None,
            // No time at all is always fine.
            TimestampType::CreateTime if at == NO_TIMESTAMP => None,
            TimestampType::CreateTime => {
                let inside = (earliest..=latest).contains(&at);
                (!inside).then_some(FaultKind::Timestamp { at, earliest, latest })
            },
        }
    }

    /// From when to when a CreateTime is near enough to the broker's clock.
    fn times(&self) -> (Timestamp, Timestamp) {
        let millis = |of: Duration| i64::try_from(of.as_millis()).unwrap_or(i64::MAX);
        let earliest = self.now.0.saturating_sub(millis(self.before_max));
        let latest = self.now.0.saturating_add(millis(self.after_max));
        (Timestamp(earliest), Timestamp(latest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::build::{BatchBuilder, NewRecord};
    use crate::codec::OPEN_BYTES_MAX;
    use crate::header::{
        ATTRIBUTES_AT, BASE_OFFSET_AT, CRC_AT, Compression, HEADER_LEN, LAST_OFFSET_DELTA_AT,
        MAGIC_AT, MAX_TIMESTAMP_AT, RECORD_COUNT_AT, crc32c,
    };

    const NOW: Timestamp = Timestamp(1_000_000);

    fn validate(bytes: &Bytes, policy: &Policy) -> Result<Validated, BatchError> {
        super::validate(bytes, policy, &mut Opener::default())
    }

    fn policy() -> Policy {
        Policy {
            batch_bytes_max: 1 << 20,
            record_bytes_max: usize::MAX,
            depth: Depth::Walk,
            open_bytes_max: OPEN_BYTES_MAX,
            key_required: false,
            timestamp_type: TimestampType::CreateTime,
            now: NOW,
            before_max: Duration::from_millis(5000),
            after_max: Duration::from_millis(1000),
        }
    }

    fn batch_of(codec: Compression, records: &[(i64, Option<&[u8]>)]) -> Bytes {
        let mut batch = BatchBuilder::new().compression(codec);
        for (timestamp, key) in records {
            let timestamp = Timestamp(*timestamp);
            batch.push(&NewRecord { timestamp, key: *key, ..NewRecord::default() }).unwrap();
        }
        batch.finish_bytes().unwrap()
    }

    fn three() -> Bytes {
        batch_of(Compression::None, &[(NOW.0, None), (NOW.0 + 7, None), (NOW.0 + 7, Some(b"k"))])
    }

    /// The batch with other bytes at `at`, and a CRC that fits them.
    fn altered(batch: &Bytes, at: usize, with: &[u8]) -> Bytes {
        let mut bytes = batch.to_vec();
        bytes[at..at + with.len()].copy_from_slice(with);
        let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    }

    fn refused(bytes: &Bytes, policy: &Policy) -> (BatchError, Refusal) {
        let error = validate(bytes, policy).map(|v| v.record_count).unwrap_err();
        let refusal = error.refusal();
        (error, refusal)
    }

    #[test]
    fn a_sound_batch_tells_its_count_and_its_first_latest_record() {
        let validated = validate(&three(), &policy()).unwrap();

        assert_eq!(validated.record_count, 3);
        assert!(validated.walked);
        assert_eq!(validated.max_timestamp, Timestamp(NOW.0 + 7));
        assert_eq!(validated.max_timestamp_delta, Some(1));
        assert_eq!(validated.stamp, Stamp::Keep);
        assert_eq!(validated.batch.bytes(), &three());
    }

    #[test]
    fn nothing_zeros_old_formats_and_half_batches_get_kafkas_answers() {
        let mut old = three().to_vec();
        old[MAGIC_AT] = 1;
        let mut unknown = three().to_vec();
        unknown[MAGIC_AT] = 9;
        let half = three().slice(..80);
        for (bytes, refusal) in [
            (Bytes::new(), Refusal::Invalid),
            (Bytes::from(vec![0; 200]), Refusal::Corrupt),
            (Bytes::from(old), Refusal::Invalid),
            (Bytes::from(unknown), Refusal::Corrupt),
            (half, Refusal::Invalid),
            (Bytes::from([three(), three()].concat()), Refusal::Invalid),
        ] {
            assert_eq!(refused(&bytes, &policy()).1, refusal);
        }
    }

    #[test]
    fn a_wrong_base_offset_comes_before_size_and_size_before_the_crc() {
        let small = Policy { batch_bytes_max: 61, ..policy() };
        let mut bytes = three().to_vec();
        bytes[CRC_AT] ^= 1;
        let damaged = Bytes::from(bytes.clone());
        bytes[BASE_OFFSET_AT + 7] = 1;

        let moved = Bytes::from(bytes);
        assert_eq!(refused(&moved, &small).0, BatchError::BaseOffset(Offset(1)));
        assert_eq!(refused(&damaged, &small).1, Refusal::TooLarge);
        assert_eq!(refused(&damaged, &policy()).1, Refusal::Corrupt);
    }

    #[test]
    fn counts_that_disagree_are_refused_whether_walked_or_not() {
        for depth in [Depth::Header, Depth::Walk] {
            let policy = Policy { depth, ..policy() };
            for (at, value) in [
                (LAST_OFFSET_DELTA_AT, 1_i32),
                (LAST_OFFSET_DELTA_AT, -1),
                (RECORD_COUNT_AT, 4),
                (RECORD_COUNT_AT, 0),
                (RECORD_COUNT_AT, -1),
                (RECORD_COUNT_AT, i32::MIN),
            ] {
                let (error, refusal) =
                    refused(&altered(&three(), at, &value.to_be_bytes()), &policy);
                assert!(matches!(error, BatchError::Count { .. }));
                assert_eq!(refusal, Refusal::Invalid);
            }
        }
    }

    #[test]
    fn fewer_or_more_records_than_both_counts_say_are_found_by_walking() {
        for (count, error) in
            [(2_i32, RecordError::Trailing(8)), (4, RecordError::Malformed { index: 3 })]
        {
            let bytes = altered(&three(), RECORD_COUNT_AT, &count.to_be_bytes());
            let bytes = altered(&bytes, LAST_OFFSET_DELTA_AT, &(count - 1).to_be_bytes());

            assert_eq!(refused(&bytes, &policy()), (error.into(), Refusal::Invalid));
        }
    }

    #[test]
    fn flags_that_only_brokers_set_and_unknown_codecs_are_refused() {
        for (attributes, refusal) in
            [(0x20_u16, Refusal::Invalid), (0x05, Refusal::Unexpected), (0x07, Refusal::Unexpected)]
        {
            let bytes = altered(&three(), ATTRIBUTES_AT, &attributes.to_be_bytes());
            assert_eq!(refused(&bytes, &policy()).1, refusal, "{attributes:#x}");
        }
    }

    #[test]
    fn an_append_time_of_a_client_is_refused_only_where_the_broker_stamps_its_own() {
        let claimed = altered(&three(), ATTRIBUTES_AT, &8_u16.to_be_bytes());
        let stamping = Policy { timestamp_type: TimestampType::LogAppendTime, ..policy() };

        assert_eq!(refused(&claimed, &stamping).0, BatchError::LogAppendTime);
        let validated = validate(&claimed, &policy()).unwrap();
        // The leader's epoch is not the client's to say.
        assert_eq!(validated.batch.bytes()[MAGIC_AT..], three()[MAGIC_AT..]);
        assert_eq!(validated.max_timestamp, Timestamp(NOW.0 + 7));
    }

    #[test]
    fn a_record_that_inflates_too_far_is_refused_and_one_that_came_as_it_is_is_not() {
        let small = Policy { record_bytes_max: 1000, ..policy() };
        for codec in Compression::ALL {
            let of =
                |len: usize| batch_of(codec, &[(NOW.0, Some(&vec![7; len][..])), (NOW.0, None)]);
            assert!(validate(&of(900), &small).is_ok());
            let outcome = validate(&of(1200), &small).map(|_| ());
            if codec == Compression::None {
                assert_eq!(outcome, Ok(()));
            } else {
                let error = outcome.expect_err("too large");
                assert!(matches!(error, BatchError::RecordTooLarge { index: 0, .. }), "{error}");
                assert_eq!(error.refusal(), Refusal::Invalid);
            }
        }
    }

    #[test]
    fn a_producer_id_needs_a_sequence() {
        let bytes = altered(&three(), crate::header::PRODUCER_ID_AT, &5_i64.to_be_bytes());

        assert_eq!(refused(&bytes, &policy()), (BatchError::NoSequence, Refusal::Invalid));
    }

    #[test]
    fn holes_between_offsets_are_refused() {
        let mut batch = BatchBuilder::new();
        for delta in [0, 2, 3] {
            batch.push_at(delta, &NewRecord::default()).unwrap();
        }
        let bytes = batch.finish_bytes().unwrap();
        let bytes = altered(&bytes, LAST_OFFSET_DELTA_AT, &2_i32.to_be_bytes());

        let error = BatchError::OffsetDelta { index: 1, offset_delta: 2 };
        assert_eq!(refused(&bytes, &policy()), (error, Refusal::Invalid));
    }

    #[test]
    fn keys_are_missed_even_in_a_compressed_batch() {
        let policy = Policy { key_required: true, ..policy() };
        for codec in Compression::ALL {
            let records = [(NOW.0, None), (NOW.0, Some(&b"k"[..])), (NOW.0, None)];

            let (error, refusal) = refused(&batch_of(codec, &records), &policy);

            let faults = [0, 2].map(|index| Fault { index, kind: FaultKind::NoKey });
            assert_eq!(error, BatchError::Faults(faults.to_vec()));
            assert_eq!(refusal, Refusal::Invalid);
        }
    }

    #[test]
    fn each_record_out_of_time_is_listed_and_one_without_time_is_not() {
        let early = NOW.0 - 5001;
        let late = NOW.0 + 1001;
        let records =
            [(early, None), (NOW.0 - 5000, None), (-1, None), (NOW.0 + 1000, None), (late, None)];
        let (earliest, latest) = (Timestamp(NOW.0 - 5000), Timestamp(NOW.0 + 1000));
        let kind = |at| FaultKind::Timestamp { at: Timestamp(at), earliest, latest };
        let fault = |index, at| Fault { index, kind: kind(at) };
        for codec in Compression::ALL {
            let (error, refusal) = refused(&batch_of(codec, &records), &policy());

            assert_eq!(error, BatchError::Faults(vec![fault(0, early), fault(4, late)]));
            assert_eq!(refusal, Refusal::InvalidTimestamp);
        }
        let packed = batch_of(Compression::Zstd, &records);
        let stamped = Policy { timestamp_type: TimestampType::LogAppendTime, ..policy() };
        let validated = validate(&packed, &stamped).unwrap();
        assert_eq!(validated.stamp, Stamp::LogAppend(NOW));
        assert_eq!(validated.max_timestamp, NOW);
    }

    #[test]
    fn a_false_max_timestamp_is_to_be_overwritten() {
        let records = [(NOW.0, None), (NOW.0 + 7, None)];
        for codec in Compression::ALL {
            let max = (NOW.0 + 900).to_be_bytes();
            let bytes = altered(&batch_of(codec, &records), MAX_TIMESTAMP_AT, &max);

            let validated = validate(&bytes, &policy()).unwrap();

            assert_eq!(validated.stamp, Stamp::Max(Timestamp(NOW.0 + 7)));
            assert_eq!(validated.max_timestamp_delta, Some(1));
        }
    }

    #[test]
    fn a_damaged_block_behind_a_right_crc_is_refused_for_good() {
        for codec in Compression::ALL.into_iter().filter(|codec| *codec != Compression::None) {
            let bytes = batch_of(codec, &[(NOW.0, Some(&[7; 90][..])); 50]);
            let cut = altered(&bytes, 8, &i32::try_from(bytes.len() - 15).unwrap().to_be_bytes());
            for damaged in [
                altered(&bytes, HEADER_LEN, &[0; 4]),
                altered(&bytes, bytes.len() - 3, &[0x55; 3]),
                altered(&cut.slice(..bytes.len() - 3), HEADER_LEN, &bytes[HEADER_LEN..][..1]),
            ] {
                let (_, refusal) = refused(&damaged, &policy());
                assert_eq!(refusal, Refusal::Invalid, "{codec}");
                let header_only = Policy { depth: Depth::Header, ..policy() };
                assert!(!validate(&damaged, &header_only).unwrap().walked);
            }
        }
    }

    #[test]
    fn an_opener_is_as_good_after_a_damaged_block_as_before() {
        let mut opener = Opener::default();
        for codec in Compression::ALL {
            let sound = batch_of(codec, &[(NOW.0, Some(&[7; 90][..])); 50]);
            let damaged = altered(&sound, sound.len() - 3, &[0x55; 3]);
            for _ in 0..3 {
                drop(super::validate(&damaged, &policy(), &mut opener));
                let validated = super::validate(&sound, &policy(), &mut opener).unwrap();
                assert_eq!(validated.max_timestamp, NOW);
            }
        }
    }

    #[test]
    fn a_block_that_holds_too_much_is_too_large() {
        let packed = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        for codec in packed {
            let bytes = batch_of(codec, &[(NOW.0, Some(&[0; 50_000][..])); 5]);
            let within = |open_bytes_max| Policy { open_bytes_max, ..policy() };

            assert_eq!(refused(&bytes, &within(200_000)).1, Refusal::TooLarge);
            assert!(validate(&bytes, &within(251_000)).is_ok());
        }
    }

    #[test]
    fn times_at_the_ends_of_the_scale_do_not_overflow() {
        let wide = Policy { before_max: Duration::MAX, after_max: Duration::MAX, ..policy() };
        for timestamp in [i64::MIN, NOW.0 - i64::MAX, i64::MAX] {
            let bytes = batch_of(Compression::None, &[(timestamp, None)]);

            assert_eq!(refused(&bytes, &policy()).1, Refusal::InvalidTimestamp);
            assert_eq!(validate(&bytes, &wide).is_ok(), timestamp != i64::MIN);
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_never_gets_in(at in any::<prop::sample::Index>(), bit in 0..8_u32, codec in prop::sample::select(Compression::ALL.to_vec())) {
            let mut bytes = batch_of(codec, &[(NOW.0, Some(&b"key"[..])); 9]).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;

            let accepted = validate(&Bytes::from(bytes), &policy()).is_ok();

            // The leader epoch is the leader's to write; nobody looks at what a client says.
            prop_assert_eq!(accepted, (12..16).contains(&at));
        }

        #[test]
        fn no_body_makes_the_walk_panic(
            body in prop::collection::vec(any::<u8>(), 0..120),
            count in 1..40_i32,
            attributes in 0..=4_u16,
            base in any::<i64>(),
        ) {
            let mut bytes = three()[..HEADER_LEN].to_vec();
            bytes.extend(&body);
            let length = i32::try_from(bytes.len() - 12).unwrap();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[27..35].copy_from_slice(&base.to_be_bytes());
            let bytes = altered(&Bytes::from(bytes), ATTRIBUTES_AT, &attributes.to_be_bytes());
            let bytes = altered(&bytes, RECORD_COUNT_AT, &count.to_be_bytes());
            let bytes = altered(&bytes, LAST_OFFSET_DELTA_AT, &(count - 1).to_be_bytes());
            drop(validate(&bytes, &Policy { key_required: true, ..policy() }));
        }
    }
}
