//! What a log remembers of its idempotent producers, so that a retried batch is written once.
//!
//! Invariants: [`ProducerStates::apply`] is called with batches that are in the log, in log order,
//! and with nothing else; per producer at most [`BATCHES_KEPT`] batches are remembered, because no
//! producer has more in flight. Pure. Source: KIP-98, KIP-360.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use base::{
    Duration, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, ReplicaGen,
    Timestamp, TopicId, Uuid,
};
use records::BatchHeader;
use records::header::sequence_after;

use crate::codec::{FormatError, Reader, frame, put_count, unframe};
use crate::dir::Found;

/// Batches remembered per producer: `max.in.flight.requests.per.connection` of idempotent ones.
pub const BATCHES_KEPT: usize = 5;

/// A batch as its producer numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Who.
    pub id: ProducerId,
    /// Which incarnation.
    pub epoch: ProducerEpoch,
    /// Number of the first record, from 0; after `i32::MAX` comes 0.
    pub first_sequence: i32,
    /// Number of the last record.
    pub last_sequence: i32,
}

impl ProducerBatch {
    /// What a batch header says of its producer; `None` without an id or sequence.
    pub fn of(header: &BatchHeader) -> Option<Self> {
        let producer = header.producer()?;
        Some(Self {
            id: producer.id,
            epoch: producer.epoch,
            first_sequence: producer.base_sequence?,
            last_sequence: header.last_sequence()?,
        })
    }
}

/// A remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBatch {
    /// Number of its first record.
    pub first_sequence: i32,
    /// Number of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp (the append time, for topics that use it).
    pub timestamp: Timestamp,
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its newest incarnation seen here.
    pub epoch: ProducerEpoch,
    /// Its last batches in that incarnation, oldest first. Never empty.
    pub batches: VecDeque<KeptBatch>,
    /// When it last wrote, by this broker's clock.
    pub last_write: Timestamp,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes next.
    Append,
    /// It is in the log already: answer as the first time.
    Duplicate(KeptBatch),
    /// It does not follow the last one (OUT_OF_ORDER_SEQUENCE_NUMBER).
    OutOfOrder {
        /// The sequence that would follow.
        expected: i32,
    },
    /// A newer incarnation has written here (INVALID_PRODUCER_EPOCH).
    Fenced {
        /// The newest one.
        current: ProducerEpoch,
    },
}

/// All producers of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    /// `None` if there are none: most logs are at rest, and know nobody.
    #[expect(clippy::box_collection, reason = "16 bytes less in every log and every partition")]
    by_id: Option<Box<BTreeMap<ProducerId, ProducerState>>>,
}

impl ProducerStates {
    fn state(&self, id: ProducerId) -> Option<&ProducerState> {
        self.by_id.as_ref()?.get(&id)
    }

    /// Judges a batch; changes nothing.
    pub fn check(&self, batch: &ProducerBatch) -> Verdict {
        let Some(state) = self.state(batch.id) else {
            return Verdict::Append;
        };
        if batch.epoch < state.epoch {
            return Verdict::Fenced { current: state.epoch };
        }
        if batch.epoch > state.epoch {
            return match batch.first_sequence {
                0 => Verdict::Append,
                _ => Verdict::OutOfOrder { expected: 0 },
            };
        }
        let same = |kept: &&KeptBatch| {
            kept.first_sequence == batch.first_sequence && kept.last_sequence == batch.last_sequence
        };
        if let Some(kept) = state.batches.iter().find(same) {
            return Verdict::Duplicate(*kept);
        }
        let last = state.batches.back().map_or(-1, |kept| kept.last_sequence);
        let expected = if last < 0 { 0 } else { sequence_after(last, 1) };
        if batch.first_sequence == expected {
            Verdict::Append
        } else {
            Verdict::OutOfOrder { expected }
        }
    }

    /// Whether anything of this producer is remembered.
    pub fn knows(&self, id: ProducerId) -> bool {
        self.state(id).is_some()
    }

    /// Remembers a batch that is in the log. `now` is this broker's clock.
    pub fn apply(&mut self, header: &BatchHeader, now: Timestamp) {
        let Some(batch) = ProducerBatch::of(header) else {
            return;
        };
        let kept = KeptBatch {
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        };
        let by_id = self.by_id.get_or_insert_default();
        let state = by_id.entry(batch.id).or_insert_with(|| ProducerState {
            epoch: batch.epoch,
            batches: VecDeque::new(),
            last_write: now,
        });
        if state.epoch != batch.epoch {
            state.epoch = batch.epoch;
            state.batches.clear();
        }
        if state.batches.len() >= BATCHES_KEPT {
            state.batches.pop_front();
        }
        state.batches.push_back(kept);
        state.last_write = now;
    }

    /// Forgets producers that have not written for `after`. Their next batch may have any sequence.
    ///
    /// Returns how many were forgotten.
    pub fn expire(&mut self, now: Timestamp, after: Duration) -> usize {
        let Some(by_id) = &mut self.by_id else {
            return 0;
        };
        let before = by_id.len();
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        by_id.retain(|_, state| now.0.saturating_sub(state.last_write.0) < after);
        let left = by_id.len();
        if left == 0 {
            self.by_id = None;
        }
        before - left
    }

    /// Each producer, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerState)> {
        self.by_id.iter().flat_map(|by_id| by_id.iter()).map(|(id, state)| (*id, state))
    }

    /// How many producers there are.
    pub fn len(&self) -> usize {
        self.by_id.as_ref().map_or(0, |by_id| by_id.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_none()
    }

    /// Appends the snapshot: a count, then per producer `id i64, epoch i16, last write i64,
    /// batches u8`, then per batch `first i32, last i32, base offset i64, last offset i64,
    /// timestamp i64`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.len());
        for (id, state) in self.iter() {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&state.epoch.0.to_le_bytes());
            out.extend_from_slice(&state.last_write.0.to_le_bytes());
            out.push(u8::try_from(state.batches.len()).unwrap_or(u8::MAX));
            for kept in &state.batches {
                out.extend_from_slice(&kept.first_sequence.to_le_bytes());
                out.extend_from_slice(&kept.last_sequence.to_le_bytes());
                out.extend_from_slice(&kept.base_offset.0.to_le_bytes());
                out.extend_from_slice(&kept.last_offset.0.to_le_bytes());
                out.extend_from_slice(&kept.timestamp.0.to_le_bytes());
            }
        }
    }

    /// Reads what [`ProducerStates::encode`] wrote, all of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`] if it did not write them.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let states = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(states)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut by_id = BTreeMap::new();
        for _ in 0..reader.count(19)? {
            let id = ProducerId(reader.i64()?);
            let epoch = ProducerEpoch(reader.i16()?);
            let last_write = Timestamp(reader.i64()?);
            let count = usize::from(reader.u8()?);
            if count == 0 || count > BATCHES_KEPT {
                return Err(FormatError::Field("producer batches"));
            }
            let mut batches = VecDeque::with_capacity(count);
            for _ in 0..count {
                batches.push_back(KeptBatch {
                    first_sequence: reader.i32()?,
                    last_sequence: reader.i32()?,
                    base_offset: Offset(reader.i64()?),
                    last_offset: Offset(reader.i64()?),
                    timestamp: Timestamp(reader.i64()?),
                });
            }
            by_id.insert(id, ProducerState { epoch, batches, last_write });
        }
        Ok(Self { by_id: (!by_id.is_empty()).then(|| Box::new(by_id)) })
    }
}

const MAGIC: [u8; 8] = *b"GRGPRODS";
const VERSION: u16 = 1;

/// A log's producers as of one offset: its `producers` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSnapshot {
    /// Which log.
    pub log: Found,
    /// Holds every batch below this offset and none above.
    pub upto: Offset,
    /// The producers.
    pub producers: ProducerStates,
}

/// The whole file.
pub fn encode_snapshot(snapshot: &ProducerSnapshot) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.extend_from_slice(&snapshot.log.partition.topic.0.0);
    body.extend_from_slice(&snapshot.log.partition.index.0.to_le_bytes());
    body.extend_from_slice(&snapshot.log.replica_gen.0.to_le_bytes());
    body.extend_from_slice(&snapshot.upto.0.to_le_bytes());
    snapshot.producers.encode(&mut body);
    frame(MAGIC, VERSION, &body)
}

/// Reads the whole file.
///
/// # Errors
/// [`FormatError`] if it is not exactly what [`encode_snapshot`] writes.
pub fn decode_snapshot(bytes: &[u8]) -> Result<ProducerSnapshot, FormatError> {
    let mut reader = Reader::new(unframe(bytes, MAGIC, VERSION)?);
    let topic = TopicId(Uuid(reader.array()?));
    let index = PartitionIndex(reader.i32()?);
    let replica_gen = ReplicaGen(reader.u64()?);
    let upto = Offset(reader.i64()?);
    let producers = ProducerStates::read(&mut reader)?;
    reader.finish()?;
    if upto < Offset::ZERO {
        return Err(FormatError::Field("offset"));
    }
    let log = Found { partition: PartitionId { topic, index }, replica_gen };
    Ok(ProducerSnapshot { log, upto, producers })
}

#[cfg(test)]
mod tests;
