//! The 61 bytes in front of every batch.
//!
//! Invariant: `parse` followed by `encode` gives back the same bytes, whatever they were, so a
//! header keeps wire numbers; accessors turn sentinels (`-1`) into `None`.
//!
//! ```text
//!  0 base offset        8   12 leader epoch 4   21 attributes        2   35 max timestamp   8   57 record count 4
//!  8 length after here  4   16 magic = 2    1   23 last offset delta 4   43 producer id     8   61 records …
//!                           17 CRC-32C      4   27 base timestamp    8   51 producer epoch  2
//!                                                                        53 base sequence   4
//! ```
//! All big-endian. The CRC covers 21 to the end: base offset and leader epoch may be assigned
//! without computing it again.

use base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::batch::FrameError;

/// Where `baseOffset` starts.
pub const BASE_OFFSET_AT: usize = 0;
/// Where `batchLength` starts; it counts the bytes after itself.
pub const LENGTH_AT: usize = 8;
/// Where `partitionLeaderEpoch` starts.
pub const LEADER_EPOCH_AT: usize = 12;
/// Where the magic byte is.
pub const MAGIC_AT: usize = 16;
/// Where the CRC-32C starts.
pub const CRC_AT: usize = 17;
/// Where the attributes start, and with them the bytes that the CRC covers.
pub const ATTRIBUTES_AT: usize = 21;
/// Where `lastOffsetDelta` starts.
pub const LAST_OFFSET_DELTA_AT: usize = 23;
/// Where `baseTimestamp` starts.
pub const BASE_TIMESTAMP_AT: usize = 27;
/// Where `maxTimestamp` starts.
pub const MAX_TIMESTAMP_AT: usize = 35;
/// Where `producerId` starts.
pub const PRODUCER_ID_AT: usize = 43;
/// Where `producerEpoch` starts.
pub const PRODUCER_EPOCH_AT: usize = 51;
/// Where `baseSequence` starts.
pub const BASE_SEQUENCE_AT: usize = 53;
/// Where `recordsCount` starts.
pub const RECORD_COUNT_AT: usize = 57;
/// Bytes of a header; the first record (or the compressed block) starts here.
pub const HEADER_LEN: usize = 61;
/// Bytes in front of what `batchLength` counts: the base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;
/// The only magic this log holds.
pub const MAGIC: u8 = 2;
/// "No timestamp" on the wire.
pub const NO_TIMESTAMP: Timestamp = Timestamp(-1);

/// `batchLength` of a batch that is a header and nothing else.
const LENGTH_MIN: i32 = 49;
const _: () = assert!(HEADER_LEN - LOG_OVERHEAD == 49);
/// The smallest `batchLength` of any magic (a v0 message without key and value): anything below
/// is damage, not an old format.
const LENGTH_MIN_ANY_MAGIC: i32 = 14;

/// How the records after the header are compressed (attribute bits 0–2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952 members.
    Gzip,
    /// Snappy blocks in xerial framing (Java), or one raw block (librdkafka).
    Snappy,
    /// One LZ4 frame.
    Lz4,
    /// Zstandard frames (KIP-110).
    Zstd,
}

impl Compression {
    /// Every codec, in the order of its number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this number; `None` for the unassigned 5 to 7 and anything larger.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The number in attribute bits 0–2.
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Kafka's word for it, as in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose clock a batch's timestamps are from (attribute bit 3, KIP-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's, one per record.
    #[default]
    CreateTime,
    /// The broker's: `maxTimestamp` stands for every record of the batch.
    LogAppendTime,
}

/// The 16 attribute bits of a batch. Bits 7–15 mean nothing yet and are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub u16);

impl Attributes {
    const CODEC: u16 = 0b111;
    const LOG_APPEND_TIME: u16 = 1 << 3;
    const TRANSACTIONAL: u16 = 1 << 4;
    const CONTROL: u16 = 1 << 5;
    const DELETE_HORIZON: u16 = 1 << 6;

    /// The codec's number, 0 to 7.
    pub fn codec_id(self) -> u8 {
        let [_, low] = (self.0 & Self::CODEC).to_be_bytes();
        low
    }

    /// The codec; `None` for the numbers 5 to 7, which nobody assigned.
    pub fn compression(self) -> Option<Compression> {
        Compression::from_id(self.codec_id())
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the records belong to a transaction (KIP-98).
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which no consumer delivers (KIP-98).
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether `baseTimestamp` is a delete horizon (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same bits with another codec.
    #[must_use]
    pub fn with_compression(self, codec: Compression) -> Self {
        Self((self.0 & !Self::CODEC) | u16::from(codec.id()))
    }

    /// The same bits with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamps: TimestampType) -> Self {
        match timestamps {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// The same bits, marked as part of a transaction.
    #[must_use]
    pub fn with_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    /// The same bits, marked as a control batch.
    #[must_use]
    pub fn with_control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    /// The same bits, saying that `baseTimestamp` is a delete horizon.
    #[must_use]
    pub fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }
}

/// Who produced an idempotent or transactional batch (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Who.
    pub id: ProducerId,
    /// Which incarnation.
    pub epoch: ProducerEpoch,
    /// The number of the batch's first record, 0 to `i32::MAX`, then 0 again; `None` in the
    /// control batches that coordinators write.
    pub base_sequence: Option<i32>,
}

/// A parsed header: the wire's numbers, and accessors that know what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 in a produce request.
    pub base_offset: Offset,
    /// Bytes after the length field: at least 49.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; −1 from a producer.
    pub partition_leader_epoch: i32,
    /// CRC-32C over the bytes from the attributes on, as claimed.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: i32,
    /// What record timestamps are relative to; −1 if the producer knew no time.
    pub base_timestamp: Timestamp,
    /// The latest record timestamp, or the append time; −1 if the producer knew no time.
    pub max_timestamp: Timestamp,
    /// Producer id; −1 for none.
    pub producer_id: i64,
    /// Producer epoch; −1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record; −1 for none.
    pub base_sequence: i32,
    /// Records in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// Bytes of a header.
    pub const LEN: usize = HEADER_LEN;

    /// Reads the header at the front of `bytes`, which may stop before the batch ends.
    ///
    /// Afterwards the magic is 2 and `batch_length` at least 49; nothing else is judged.
    ///
    /// # Errors
    /// [`FrameError`], looked for in the order in which Kafka does: length, magic, end of bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let truncated = FrameError::Truncated { need: HEADER_LEN, have: bytes.len() };
        let batch_length = i32::from_be_bytes(field(bytes, LENGTH_AT).ok_or(truncated.clone())?);
        if batch_length < LENGTH_MIN_ANY_MAGIC {
            return Err(FrameError::Length(batch_length));
        }
        let magic = *bytes.get(MAGIC_AT).ok_or(truncated.clone())?;
        if magic != MAGIC {
            return Err(FrameError::Magic(magic));
        }
        if batch_length < LENGTH_MIN {
            return Err(FrameError::Length(batch_length));
        }
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(truncated)?;
        Ok(Self::read(header, batch_length))
    }

    fn read(h: &[u8; HEADER_LEN], batch_length: i32) -> Self {
        Self {
            base_offset: Offset(i64::from_be_bytes(at(h, BASE_OFFSET_AT))),
            batch_length,
            partition_leader_epoch: i32::from_be_bytes(at(h, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(at(h, CRC_AT)),
            attributes: Attributes(u16::from_be_bytes(at(h, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(at(h, LAST_OFFSET_DELTA_AT)),
            base_timestamp: Timestamp(i64::from_be_bytes(at(h, BASE_TIMESTAMP_AT))),
            max_timestamp: Timestamp(i64::from_be_bytes(at(h, MAX_TIMESTAMP_AT))),
            producer_id: i64::from_be_bytes(at(h, PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(at(h, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(at(h, BASE_SEQUENCE_AT)),
            record_count: i32::from_be_bytes(at(h, RECORD_COUNT_AT)),
        }
    }

    /// The 61 bytes of this header.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        put(&mut h, BASE_OFFSET_AT, self.base_offset.0.to_be_bytes());
        put(&mut h, LENGTH_AT, self.batch_length.to_be_bytes());
        put(&mut h, LEADER_EPOCH_AT, self.partition_leader_epoch.to_be_bytes());
        put(&mut h, MAGIC_AT, [MAGIC]);
        put(&mut h, CRC_AT, self.crc.to_be_bytes());
        put(&mut h, ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        put(&mut h, LAST_OFFSET_DELTA_AT, self.last_offset_delta.to_be_bytes());
        put(&mut h, BASE_TIMESTAMP_AT, self.base_timestamp.0.to_be_bytes());
        put(&mut h, MAX_TIMESTAMP_AT, self.max_timestamp.0.to_be_bytes());
        put(&mut h, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(&mut h, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(&mut h, BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(&mut h, RECORD_COUNT_AT, self.record_count.to_be_bytes());
        h
    }

    /// Bytes of the whole batch, header included: at least 61.
    pub fn len_bytes(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0).saturating_add(LOG_OVERHEAD)
    }

    /// Offset of the last record (an empty batch left by compaction keeps it too). Saturates, so
    /// that a hostile header cannot overflow it.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// One past the last record's offset: where the next batch goes. Saturates.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Epoch of the leader that appended the batch; `None` straight from a producer.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        (self.partition_leader_epoch >= 0).then_some(LeaderEpoch(self.partition_leader_epoch))
    }

    /// The producer of an idempotent or transactional batch.
    pub fn producer(&self) -> Option<Producer> {
        (self.producer_id >= 0).then_some(Producer {
            id: ProducerId(self.producer_id),
            epoch: ProducerEpoch(self.producer_epoch),
            base_sequence: (self.base_sequence >= 0).then_some(self.base_sequence),
        })
    }

    /// Sequence of the last record, wrapped past `i32::MAX` to 0; `None` without a base sequence.
    pub fn last_sequence(&self) -> Option<i32> {
        (self.base_sequence >= 0)
            .then(|| sequence_after(self.base_sequence, self.last_offset_delta.max(0)))
    }
}

/// The sequence `records` after `sequence` (both at least 0): after `i32::MAX` comes 0.
pub fn sequence_after(sequence: i32, records: i32) -> i32 {
    let modulus = i64::from(i32::MAX) + 1;
    let sum = i64::from(sequence.max(0)) + i64::from(records.max(0));
    i32::try_from(sum % modulus).unwrap_or(0)
}

/// CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32C of the bytes of `first` followed by those of `second`.
pub(crate) fn crc32c_of_two(first: &[u8], second: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(first);
    digest.update(second);
    u32::try_from(digest.finalize()).unwrap_or(0)
}

/// The `N` bytes at `at`, if there are as many.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The `N` bytes at the constant `at` of a header.
fn at<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}

fn put<const N: usize>(header: &mut [u8; HEADER_LEN], at: usize, bytes: [u8; N]) {
    header[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parsing_and_encoding_give_the_same_bytes(mut bytes in any::<[u8; 32]>(), rest in any::<[u8; 29]>(), length in 49..i32::MAX) {
            bytes[LENGTH_AT..LEADER_EPOCH_AT].copy_from_slice(&length.to_be_bytes());
            bytes[MAGIC_AT] = MAGIC;
            let whole = [bytes.as_slice(), rest.as_slice()].concat();

            let header = BatchHeader::parse(&whole).unwrap();

            prop_assert_eq!(header.encode().to_vec(), whole);
            let _ = (header.last_offset(), header.next_offset(), header.len_bytes(), header.last_sequence());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(BatchHeader::parse(&bytes));
        }
    }

    #[test]
    fn errors_come_in_kafkas_order() {
        let mut bytes = [0; HEADER_LEN];
        assert_eq!(BatchHeader::parse(&bytes), Err(FrameError::Length(0)));

        bytes[LENGTH_AT..LEADER_EPOCH_AT].copy_from_slice(&20_i32.to_be_bytes());
        assert_eq!(BatchHeader::parse(&bytes), Err(FrameError::Magic(0)));

        bytes[MAGIC_AT] = MAGIC;
        assert_eq!(BatchHeader::parse(&bytes), Err(FrameError::Length(20)));

        bytes[LENGTH_AT..LEADER_EPOCH_AT].copy_from_slice(&49_i32.to_be_bytes());
        assert!(BatchHeader::parse(&bytes).is_ok());
        assert_eq!(
            BatchHeader::parse(&bytes[..60]),
            Err(FrameError::Truncated { need: HEADER_LEN, have: 60 })
        );
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX, 0), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn the_crc_is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_of_two(b"1234", b"56789"), 0xe306_9283);
    }
}
