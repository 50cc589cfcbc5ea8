//! What the journal says: records about logs, and their bytes.
//!
//! Invariants: the codec is total, and what it reads it writes again byte for byte; a record names
//! the log it is about, so that groups can hold records of many logs.
//!
//! ```text
//! record:  0 kind u8 | 1 body length u32 | 5 topic id 16 | 21 partition i32 | 25 replica generation u64 | 33 ...
//! ```

use base::{
    LeaderEpoch, Offset, PartitionId, PartitionIndex, ReplicaGen, SegGen, Timestamp, TopicId, Uuid,
};
use bytes::Bytes;

use crate::codec::{FormatError, Reader, put_count};
use crate::dir::Found;
use crate::log::FaultyRange;
use crate::names::SegmentName;

const NO_TIMESTAMP: i64 = i64::MIN;

/// A segment nothing is added to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its name.
    pub name: SegmentName,
    /// One past its last offset.
    pub end: Offset,
    /// Its bytes; what the file holds behind them counts for nothing.
    pub bytes: u32,
    /// Largest timestamp, and the base offset of the batch that has it.
    pub max_timestamp: Option<(Timestamp, Offset)>,
}

/// Batches that are durable through the journal until their segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalBatch {
    /// The segment they belong in.
    pub seg_gen: SegGen,
    /// Their first byte there.
    pub position: u32,
    /// Offset of their first record.
    pub base: Offset,
    /// One past their last record.
    pub end: Offset,
    /// Whole batches, one after the other.
    pub bytes: Bytes,
}

/// A finding about a log that must not be forgotten, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// What the log holds may be less than what it was promised to hold.
    Uncertain,
    /// These offsets were durable and are not what was written.
    Faulty(FaultyRange),
    /// The log is certain again.
    ClearUncertain,
    /// These offsets are sound again.
    ClearFaulty(FaultyRange),
}

/// What becomes true of a log once the record is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It exists, empty; there may be no folder yet.
    Create,
    /// It is gone; its files may still be there.
    Drop,
    /// Its files are gone too.
    Removed,
    /// A segment was begun; its files and their directory entries are durable.
    SegAdd(SegmentName),
    /// A segment is durable up to this end, and nothing is added to it.
    Close(SegmentSummary),
    /// Everything at this offset and behind it is void.
    Cut(Offset),
    /// Segments were replaced by others, which are durable.
    Swap {
        /// The old ones.
        drop: Vec<SegmentName>,
        /// The new ones.
        add: Vec<SegmentSummary>,
    },
    /// Nothing below this offset may be read.
    LogStart(Offset),
    /// Compaction has been through everything below this offset.
    Cleaned(Offset),
    /// An epoch begins at this offset.
    Epoch {
        /// Which.
        epoch: LeaderEpoch,
        /// Where.
        start: Offset,
    },
    /// Everything below an offset is durable in segments.
    Flushed {
        /// The offset.
        end: Offset,
        /// The high watermark: a hint, at most `end`.
        high_watermark: Offset,
    },
    /// Batches, durable from now on.
    Batch(JournalBatch),
    /// A finding.
    Mark(Mark),
    /// The last act of a process for this log: everything is durable and has its envelope.
    Sealed {
        /// The process.
        start_id: Uuid,
        /// One past the last record.
        end: Offset,
        /// Bytes of the last segment.
        bytes: u32,
    },
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which log.
    pub log: Found,
    /// What becomes true of it.
    pub change: Change,
}

const CREATE: u8 = 1;
const DROP: u8 = 2;
const REMOVED: u8 = 3;
const SEG_ADD: u8 = 4;
const CLOSE: u8 = 5;
const CUT: u8 = 6;
const SWAP: u8 = 7;
const LOG_START: u8 = 8;
const EPOCH: u8 = 9;
const FLUSHED: u8 = 10;
const BATCH: u8 = 11;
const UNCERTAIN: u8 = 12;
const FAULTY: u8 = 13;
const CLEAR_UNCERTAIN: u8 = 14;
const CLEAR_FAULTY: u8 = 15;
const SEALED: u8 = 16;
const CLEANED: u8 = 17;

const SUMMARY: usize = 44;

impl Record {
    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begun = out.len();
        out.push(self.change.kind());
        out.extend_from_slice(&[0; 4]);
        put_log(out, self.log);
        self.change.put_fields(out);
        let len = u32::try_from(out.len() - begun - 5).unwrap_or(u32::MAX);
        out[begun + 1..begun + 5].copy_from_slice(&len.to_le_bytes());
    }
}

/// Reads all records of `bytes`.
///
/// # Errors
/// [`FormatError`] if they are not exactly what [`Record::encode`] writes.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, FormatError> {
    let mut reader = Reader::new(bytes);
    let mut records = Vec::new();
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let len = reader.count(1)?;
        let mut body = Reader::new(reader.take(len)?);
        let log = read_log(&mut body)?;
        let change = Change::read(kind, &mut body)?;
        body.finish()?;
        records.push(Record { log, change });
    }
    Ok(records)
}

fn put_log(out: &mut Vec<u8>, log: Found) {
    out.extend_from_slice(&log.partition.topic.0.0);
    out.extend_from_slice(&log.partition.index.0.to_le_bytes());
    out.extend_from_slice(&log.replica_gen.0.to_le_bytes());
}

fn read_log(reader: &mut Reader<'_>) -> Result<Found, FormatError> {
    let topic = TopicId(Uuid(reader.array()?));
    let index = PartitionIndex(reader.i32()?);
    let replica_gen = ReplicaGen(reader.u64()?);
    if index.0 < 0 {
        return Err(FormatError::Field("partition"));
    }
    Ok(Found { partition: PartitionId { topic, index }, replica_gen })
}

fn put_name(out: &mut Vec<u8>, name: SegmentName) {
    out.extend_from_slice(&name.base.0.to_le_bytes());
    out.extend_from_slice(&name.seg_gen.0.to_le_bytes());
}

fn read_name(reader: &mut Reader<'_>) -> Result<SegmentName, FormatError> {
    Ok(SegmentName { base: read_offset(reader)?, seg_gen: SegGen(reader.u64()?) })
}

fn put_summary(out: &mut Vec<u8>, summary: &SegmentSummary) {
    let (max, batch) = summary.max_timestamp.map_or((NO_TIMESTAMP, 0), |(at, o)| (at.0, o.0));
    put_name(out, summary.name);
    out.extend_from_slice(&summary.end.0.to_le_bytes());
    out.extend_from_slice(&summary.bytes.to_le_bytes());
    out.extend_from_slice(&max.to_le_bytes());
    out.extend_from_slice(&batch.to_le_bytes());
}

fn read_summary(reader: &mut Reader<'_>) -> Result<SegmentSummary, FormatError> {
    let name = read_name(reader)?;
    let end = read_offset(reader)?;
    let bytes = reader.u32()?;
    let (max, batch) = (reader.i64()?, read_offset(reader)?);
    let nothing = max == NO_TIMESTAMP;
    if end < name.base || (nothing && batch != Offset::ZERO) {
        return Err(FormatError::Field("segment"));
    }
    let max_timestamp = (!nothing).then_some((Timestamp(max), batch));
    Ok(SegmentSummary { name, end, bytes, max_timestamp })
}

fn put_range(out: &mut Vec<u8>, range: &FaultyRange) {
    out.extend_from_slice(&range.from.0.to_le_bytes());
    out.extend_from_slice(&range.to.0.to_le_bytes());
}

fn read_range(reader: &mut Reader<'_>) -> Result<FaultyRange, FormatError> {
    let range = FaultyRange { from: read_offset(reader)?, to: read_offset(reader)? };
    if range.from < range.to { Ok(range) } else { Err(FormatError::Field("range")) }
}

fn read_offset(reader: &mut Reader<'_>) -> Result<Offset, FormatError> {
    let value = reader.i64()?;
    if value < 0 { Err(FormatError::Field("offset")) } else { Ok(Offset(value)) }
}

/// What a record means for the life of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It exists from now on.
    Begins,
    /// It is said of a log that exists.
    GoesOn,
    /// It exists no more.
    Ends,
    /// It did not exist any more.
    IsOver,
}

impl Change {
    pub(super) fn life(&self) -> Life {
        match self {
            Self::Create => Life::Begins,
            Self::Drop => Life::Ends,
            Self::Removed => Life::IsOver,
            Self::SegAdd(_)
            | Self::Close(_)
            | Self::Cut(_)
            | Self::Swap { .. }
            | Self::Cleaned(_)
            | Self::LogStart(_)
            | Self::Epoch { .. }
            | Self::Flushed { .. }
            | Self::Batch(_)
            | Self::Mark(_)
            | Self::Sealed { .. } => Life::GoesOn,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Create => CREATE,
            Self::Drop => DROP,
            Self::Removed => REMOVED,
            Self::SegAdd(_) => SEG_ADD,
            Self::Close(_) => CLOSE,
            Self::Cut(_) => CUT,
            Self::Swap { .. } => SWAP,
            Self::LogStart(_) => LOG_START,
            Self::Cleaned(_) => CLEANED,
            Self::Epoch { .. } => EPOCH,
            Self::Flushed { .. } => FLUSHED,
            Self::Batch(_) => BATCH,
            Self::Mark(Mark::Uncertain) => UNCERTAIN,
            Self::Mark(Mark::Faulty(_)) => FAULTY,
            Self::Mark(Mark::ClearUncertain) => CLEAR_UNCERTAIN,
            Self::Mark(Mark::ClearFaulty(_)) => CLEAR_FAULTY,
            Self::Sealed { .. } => SEALED,
        }
    }

    fn put_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create
            | Self::Drop
            | Self::Removed
            | Self::Mark(Mark::Uncertain | Mark::ClearUncertain) => {},
            Self::SegAdd(name) => put_name(out, *name),
            Self::Close(summary) => put_summary(out, summary),
            Self::Cut(at) | Self::LogStart(at) | Self::Cleaned(at) => {
                out.extend_from_slice(&at.0.to_le_bytes());
            },
            Self::Swap { drop, add } => {
                put_count(out, drop.len());
                drop.iter().for_each(|name| put_name(out, *name));
                put_count(out, add.len());
                add.iter().for_each(|summary| put_summary(out, summary));
            },
            Self::Epoch { epoch, start } => {
                out.extend_from_slice(&epoch.0.to_le_bytes());
                out.extend_from_slice(&start.0.to_le_bytes());
            },
            Self::Flushed { end, high_watermark } => {
                out.extend_from_slice(&end.0.to_le_bytes());
                out.extend_from_slice(&high_watermark.0.to_le_bytes());
            },
            Self::Batch(batch) => {
                out.extend_from_slice(&batch.seg_gen.0.to_le_bytes());
                out.extend_from_slice(&batch.position.to_le_bytes());
                out.extend_from_slice(&batch.base.0.to_le_bytes());
                out.extend_from_slice(&batch.end.0.to_le_bytes());
                out.extend_from_slice(&batch.bytes);
            },
            Self::Mark(Mark::Faulty(range) | Mark::ClearFaulty(range)) => put_range(out, range),
            Self::Sealed { start_id, end, bytes } => {
                out.extend_from_slice(&start_id.0);
                out.extend_from_slice(&end.0.to_le_bytes());
                out.extend_from_slice(&bytes.to_le_bytes());
            },
        }
    }

    fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(match kind {
            CREATE => Self::Create,
            DROP => Self::Drop,
            REMOVED => Self::Removed,
            SEG_ADD => Self::SegAdd(read_name(reader)?),
            CLOSE => Self::Close(read_summary(reader)?),
            CUT => Self::Cut(read_offset(reader)?),
            SWAP => {
                let count = reader.count(16)?;
                let drop = (0..count).map(|_| read_name(reader)).collect::<Result<_, _>>()?;
                let count = reader.count(SUMMARY)?;
                let add = (0..count).map(|_| read_summary(reader)).collect::<Result<_, _>>()?;
                Self::Swap { drop, add }
            },
            LOG_START => Self::LogStart(read_offset(reader)?),
            CLEANED => Self::Cleaned(read_offset(reader)?),
            EPOCH => {
                let epoch = LeaderEpoch(reader.i32()?);
                Self::Epoch { epoch, start: read_offset(reader)? }
            },
            FLUSHED => {
                let (end, high_watermark) = (read_offset(reader)?, read_offset(reader)?);
                Self::Flushed { end, high_watermark }
            },
            BATCH => Self::Batch(read_batch(reader)?),
            UNCERTAIN => Self::Mark(Mark::Uncertain),
            FAULTY => Self::Mark(Mark::Faulty(read_range(reader)?)),
            CLEAR_UNCERTAIN => Self::Mark(Mark::ClearUncertain),
            CLEAR_FAULTY => Self::Mark(Mark::ClearFaulty(read_range(reader)?)),
            SEALED => {
                let start_id = Uuid(reader.array()?);
                Self::Sealed { start_id, end: read_offset(reader)?, bytes: reader.u32()? }
            },
            _ => return Err(FormatError::Field("record kind")),
        })
    }
}

fn read_batch(reader: &mut Reader<'_>) -> Result<JournalBatch, FormatError> {
    let seg_gen = SegGen(reader.u64()?);
    let position = reader.u32()?;
    let (base, end) = (read_offset(reader)?, read_offset(reader)?);
    let bytes = Bytes::copy_from_slice(reader.rest());
    if end <= base || bytes.is_empty() {
        return Err(FormatError::Field("batch"));
    }
    Ok(JournalBatch { seg_gen, position, base, end, bytes })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn log(number: u8) -> Found {
        let topic = TopicId(Uuid([number; 16]));
        let partition = PartitionId { topic, index: PartitionIndex(3) };
        Found { partition, replica_gen: ReplicaGen(7) }
    }

    fn name() -> impl Strategy<Value = SegmentName> {
        (0..100_i64, 1..100_u64)
            .prop_map(|(base, number)| SegmentName { base: Offset(base), seg_gen: SegGen(number) })
    }

    fn summary() -> impl Strategy<Value = SegmentSummary> {
        (name(), 0..50_i64, any::<u32>(), prop::option::of((0..9_i64, 0..9_i64))).prop_map(
            |(name, records, bytes, max)| SegmentSummary {
                name,
                end: Offset(name.base.0 + records),
                bytes,
                max_timestamp: max.map(|(time, batch)| (Timestamp(time), Offset(batch))),
            },
        )
    }

    fn range() -> impl Strategy<Value = FaultyRange> {
        (0..100_i64, 1..50_i64)
            .prop_map(|(from, len)| FaultyRange { from: Offset(from), to: Offset(from + len) })
    }

    fn batch() -> impl Strategy<Value = JournalBatch> {
        let bytes = prop::collection::vec(any::<u8>(), 1..60);
        (name(), any::<u32>(), bytes).prop_map(|(name, position, bytes)| JournalBatch {
            seg_gen: name.seg_gen,
            position,
            base: name.base,
            end: Offset(name.base.0 + 1),
            bytes: bytes.into(),
        })
    }

    pub(crate) fn change() -> impl Strategy<Value = Change> {
        let at = || (0..100_i64).prop_map(Offset);
        let names = prop::collection::vec(name(), 0..3);
        prop_oneof![
            Just(Change::Create),
            Just(Change::Drop),
            Just(Change::Removed),
            name().prop_map(Change::SegAdd),
            summary().prop_map(Change::Close),
            at().prop_map(Change::Cut),
            (names, prop::collection::vec(summary(), 0..3))
                .prop_map(|(drop, add)| Change::Swap { drop, add }),
            at().prop_map(Change::LogStart),
            at().prop_map(Change::Cleaned),
            (0..9_i32, at())
                .prop_map(|(epoch, start)| Change::Epoch { epoch: LeaderEpoch(epoch), start }),
            (at(), at()).prop_map(|(end, high_watermark)| Change::Flushed { end, high_watermark }),
            batch().prop_map(Change::Batch),
            range().prop_map(|range| Change::Mark(Mark::Faulty(range))),
            range().prop_map(|range| Change::Mark(Mark::ClearFaulty(range))),
            any::<bool>().prop_map(|set| Change::Mark(if set {
                Mark::Uncertain
            } else {
                Mark::ClearUncertain
            })),
            (at(), any::<u32>()).prop_map(|(end, bytes)| Change::Sealed {
                start_id: Uuid([4; 16]),
                end,
                bytes
            }),
        ]
    }

    pub(crate) fn record() -> impl Strategy<Value = Record> {
        (0..3_u8, change()).prop_map(|(number, change)| Record { log: log(number), change })
    }

    proptest! {
        #[test]
        fn records_give_back_what_was_written(
            records in prop::collection::vec(record(), 0..10),
        ) {
            let mut bytes = Vec::new();
            records.iter().for_each(|record| record.encode(&mut bytes));
            prop_assert_eq!(decode_records(&bytes), Ok(records));
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_is_read_is_written_the_same(
            kind in 0..20_u8,
            body in prop::collection::vec(any::<u8>(), 0..150),
        ) {
            let mut bytes = vec![kind];
            put_count(&mut bytes, body.len());
            bytes.extend_from_slice(&body);
            if let Ok(records) = decode_records(&bytes) {
                let mut again = Vec::new();
                records.iter().for_each(|record| record.encode(&mut again));
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
