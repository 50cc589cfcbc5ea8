//! The `state` file of a log: what its segments and envelopes do not say.
//!
//! Invariants: replaced atomically, never changed in place; everything it says about bytes was
//! durable before it was written; the producer snapshot holds no batch at or above
//! `producers_upto`, and `producers_upto <= flushed_end`.

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex, ReplicaGen, SegGen, Timestamp};
use base::{TopicId, Uuid};

use crate::codec::{FormatError, Reader, frame, put_count, unframe};
use crate::epochs::{EpochHistory, EpochStart};
use crate::log::FaultyRange;
use crate::names::SegmentName;
use crate::producers::ProducerStates;

const MAGIC: [u8; 8] = *b"GRGSTATE";
const VERSION: u16 = 1;
const NO_TIMESTAMP: i64 = i64::MIN;

/// A segment as it was when the state was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its name.
    pub name: SegmentName,
    /// One past its last durable offset.
    pub end: Offset,
    /// Durable bytes.
    pub bytes: u32,
    /// Largest timestamp, and the base offset of the batch that has it.
    pub max_timestamp: Option<(Timestamp, Offset)>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which partition.
    pub partition: PartitionId,
    /// Which incarnation of the replica.
    pub replica_gen: ReplicaGen,
    /// The process that wrote it.
    pub start_id: Uuid,
    /// Whether that process wrote it as its last act for this log.
    pub sealed: bool,
    /// First offset that may be read.
    pub log_start: Offset,
    /// Everything below was durable.
    pub flushed_end: Offset,
    /// A hint.
    pub high_watermark: Offset,
    /// Which epoch began where.
    pub epochs: EpochHistory,
    /// All segments, oldest first.
    pub segments: Vec<SegmentSummary>,
    /// Known damage.
    pub faulty: Vec<FaultyRange>,
    /// The producer snapshot holds every batch below this and none above.
    pub producers_upto: Offset,
    /// The snapshot.
    pub producers: ProducerStates,
}

/// The whole file.
pub fn encode_state(state: &State) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(&state.partition.topic.0.0);
    body.extend_from_slice(&state.partition.index.0.to_le_bytes());
    body.extend_from_slice(&u32::from(state.sealed).to_le_bytes());
    body.extend_from_slice(&state.replica_gen.0.to_le_bytes());
    body.extend_from_slice(&state.start_id.0);
    body.extend_from_slice(&state.log_start.0.to_le_bytes());
    body.extend_from_slice(&state.flushed_end.0.to_le_bytes());
    body.extend_from_slice(&state.high_watermark.0.to_le_bytes());
    body.extend_from_slice(&state.producers_upto.0.to_le_bytes());
    put_count(&mut body, state.epochs.entries().len());
    for entry in state.epochs.entries() {
        body.extend_from_slice(&entry.epoch.0.to_le_bytes());
        body.extend_from_slice(&entry.start.0.to_le_bytes());
    }
    put_count(&mut body, state.segments.len());
    for segment in &state.segments {
        let (max, batch) = segment.max_timestamp.map_or((NO_TIMESTAMP, 0), |(at, o)| (at.0, o.0));
        body.extend_from_slice(&segment.name.base.0.to_le_bytes());
        body.extend_from_slice(&segment.name.seg_gen.0.to_le_bytes());
        body.extend_from_slice(&segment.end.0.to_le_bytes());
        body.extend_from_slice(&segment.bytes.to_le_bytes());
        body.extend_from_slice(&max.to_le_bytes());
        body.extend_from_slice(&batch.to_le_bytes());
    }
    put_count(&mut body, state.faulty.len());
    for range in &state.faulty {
        body.extend_from_slice(&range.from.0.to_le_bytes());
        body.extend_from_slice(&range.to.0.to_le_bytes());
    }
    state.producers.encode(&mut body);
    frame(MAGIC, VERSION, &body)
}

/// Reads the whole file.
///
/// # Errors
/// [`FormatError`] if it is not exactly what [`encode_state`] writes.
pub fn decode_state(bytes: &[u8]) -> Result<State, FormatError> {
    let mut reader = Reader::new(unframe(bytes, MAGIC, VERSION)?);
    let topic = TopicId(Uuid(reader.array()?));
    let index = PartitionIndex(reader.i32()?);
    let sealed = match reader.u32()? {
        0 => false,
        1 => true,
        _ => return Err(FormatError::Field("flags")),
    };
    let replica_gen = ReplicaGen(reader.u64()?);
    let start_id = Uuid(reader.array()?);
    let log_start = offset(&mut reader)?;
    let flushed_end = offset(&mut reader)?;
    let high_watermark = offset(&mut reader)?;
    let producers_upto = offset(&mut reader)?;
    let epochs = read_epochs(&mut reader)?;
    let segments = read_segments(&mut reader)?;
    let mut faulty = Vec::new();
    for _ in 0..reader.count(16)? {
        faulty.push(FaultyRange { from: offset(&mut reader)?, to: offset(&mut reader)? });
    }
    let producers = ProducerStates::read(&mut reader)?;
    reader.finish()?;
    Ok(State {
        partition: PartitionId { topic, index },
        replica_gen,
        start_id,
        sealed,
        log_start,
        flushed_end,
        high_watermark,
        epochs,
        segments,
        faulty,
        producers_upto,
        producers,
    })
}

fn offset(reader: &mut Reader<'_>) -> Result<Offset, FormatError> {
    let value = reader.i64()?;
    if value < 0 { Err(FormatError::Field("offset")) } else { Ok(Offset(value)) }
}

fn read_epochs(reader: &mut Reader<'_>) -> Result<EpochHistory, FormatError> {
    let mut epochs = EpochHistory::default();
    let count = reader.count(12)?;
    for _ in 0..count {
        let entry = EpochStart { epoch: LeaderEpoch(reader.i32()?), start: offset(reader)? };
        epochs.begin(entry.epoch, entry.start);
    }
    if epochs.entries().len() == count { Ok(epochs) } else { Err(FormatError::Field("epochs")) }
}

fn read_segments(reader: &mut Reader<'_>) -> Result<Vec<SegmentSummary>, FormatError> {
    let mut segments: Vec<SegmentSummary> = Vec::new();
    for _ in 0..reader.count(44)? {
        let name = SegmentName { base: offset(reader)?, seg_gen: SegGen(reader.u64()?) };
        let end = offset(reader)?;
        let bytes = reader.u32()?;
        let (max, batch) = (reader.i64()?, offset(reader)?);
        let max_timestamp = (max != NO_TIMESTAMP).then_some((Timestamp(max), batch));
        let follows = segments.last().is_none_or(|last| last.end <= name.base);
        if end < name.base || !follows {
            return Err(FormatError::Field("segments"));
        }
        segments.push(SegmentSummary { name, end, bytes, max_timestamp });
    }
    if segments.is_empty() { Err(FormatError::Field("segments")) } else { Ok(segments) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> State {
        let mut epochs = EpochHistory::default();
        epochs.begin(LeaderEpoch(0), Offset(0));
        epochs.begin(LeaderEpoch(4), Offset(20));
        let name = |base: i64, number| SegmentName { base: Offset(base), seg_gen: SegGen(number) };
        let max = Some((Timestamp(5), Offset(3)));
        State {
            partition: PartitionId { topic: TopicId(Uuid([1; 16])), index: PartitionIndex(2) },
            replica_gen: ReplicaGen(3),
            start_id: Uuid([4; 16]),
            sealed: true,
            log_start: Offset(5),
            flushed_end: Offset(30),
            high_watermark: Offset(30),
            epochs,
            segments: vec![
                SegmentSummary { name: name(0, 1), end: Offset(10), bytes: 99, max_timestamp: max },
                SegmentSummary {
                    name: name(10, 2),
                    end: Offset(30),
                    bytes: 7,
                    max_timestamp: None,
                },
            ],
            faulty: vec![FaultyRange { from: Offset(6), to: Offset(8) }],
            producers_upto: Offset(30),
            producers: ProducerStates::default(),
        }
    }

    #[test]
    fn a_state_gives_back_what_was_written() {
        assert_eq!(decode_state(&encode_state(&sample())), Ok(sample()));
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_noticed(at in any::<prop::sample::Index>(), with in 1_u8..) {
            let mut bytes = encode_state(&sample());
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            prop_assert!(decode_state(&bytes).is_err());
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(decode_state(&frame(MAGIC, VERSION, &body)));
        }
    }
}
