//! Envelopes: what is known about a run of whole batches once its bytes are durable.
//!
//! Owns the `.env` file: one slot of [`SLOT`] bytes per run, in order. It is the offset and time
//! index of its segment, and its last valid slot is the recovery point.
//! Invariants: a slot is written only after the run's bytes were synced in the segment file, so
//! bytes that do not match a valid slot are damage and not a torn write; a slot never straddles a
//! sector. Digests of the bytes are reserved (zero, flag clear).

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex, ReplicaGen, SegGen, Timestamp};
use base::{TopicId, Uuid};
use records::BatchHeader;

use crate::codec::{FormatError, Reader};
use crate::config::RUN_BYTES;

/// Bytes of a slot.
pub const SLOT: usize = 128;
/// In front of every slot.
const MAGIC: [u8; 4] = *b"GENV";
const VERSION: u16 = 1;
/// A flag; the one before it is reserved for digests.
const HAS_HOLES: u16 = 1 << 1;
const _: () = assert!(512 % SLOT == 0);

/// Consecutive whole batches of one segment and one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Offset of its first record.
    pub base: Offset,
    /// Offset of its last record.
    pub last: Offset,
    /// Epoch of all its batches.
    pub epoch: LeaderEpoch,
    /// Largest timestamp of its batches.
    pub max_timestamp: Timestamp,
    /// First byte in the segment file.
    pub position: u32,
    /// Bytes.
    pub bytes: u32,
    /// Batches.
    pub batches: u32,
    /// Whether offsets are missing between its batches: compaction took them.
    pub has_holes: bool,
}

impl Run {
    /// The run that is just this batch.
    pub(crate) fn of(header: &BatchHeader, position: u32, bytes: u32) -> Self {
        Self {
            base: header.base_offset,
            last: header.last_offset(),
            epoch: LeaderEpoch(header.partition_leader_epoch),
            max_timestamp: header.max_timestamp,
            position,
            bytes,
            batches: 1,
            has_holes: false,
        }
    }

    /// One past its last byte in the segment file. Saturates.
    pub fn end_position(&self) -> u32 {
        self.position.saturating_add(self.bytes)
    }

    /// One past its last offset. Saturates.
    pub fn end(&self) -> Offset {
        Offset(self.last.0.saturating_add(1))
    }

    /// Takes in the batch that follows, if it belongs: same epoch, and not too large together.
    pub(crate) fn extend(&mut self, header: &BatchHeader, bytes: u32, bytes_max: u32) -> bool {
        let Some(together) = self.bytes.checked_add(bytes).filter(|sum| *sum <= bytes_max) else {
            return false;
        };
        if header.partition_leader_epoch != self.epoch.0 {
            return false;
        }
        self.has_holes |= header.base_offset != self.end();
        self.last = header.last_offset();
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        self.bytes = together;
        self.batches = self.batches.saturating_add(1);
        true
    }

    /// Takes in the run that follows, if the two may be one.
    fn join(&mut self, next: &Self) -> bool {
        let together = self.bytes.checked_add(next.bytes).filter(|sum| *sum <= RUN_BYTES);
        let follows = next.position == self.end_position() && next.base >= self.end();
        let Some(together) = together.filter(|_| follows && next.epoch == self.epoch) else {
            return false;
        };
        self.has_holes |= next.has_holes || next.base != self.end();
        self.last = next.last;
        self.max_timestamp = self.max_timestamp.max(next.max_timestamp);
        self.bytes = together;
        self.batches = self.batches.saturating_add(next.batches);
        true
    }
}

/// The runs with neighbours put together where they may be one: of one epoch, without a gap in the
/// file, and not larger together than [`RUN_BYTES`].
pub(crate) fn merged(runs: &[Run]) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::new();
    for run in runs {
        if !merged.last_mut().is_some_and(|last| last.join(run)) {
            merged.push(*run);
        }
    }
    merged
}

/// Adds a batch to the runs of a segment, opening a new run where needed.
pub(crate) fn add_batch(
    runs: &mut Vec<Run>,
    open: &mut bool,
    header: &BatchHeader,
    position: u32,
    bytes: u32,
) {
    if *open && runs.last_mut().is_some_and(|run| run.extend(header, bytes, RUN_BYTES)) {
        return;
    }
    runs.push(Run::of(header, position, bytes));
    *open = true;
}

/// Whose runs a file of envelopes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which partition.
    pub partition: PartitionId,
    /// Which incarnation of the replica.
    pub replica_gen: ReplicaGen,
    /// Which segment.
    pub seg_gen: SegGen,
}

/// The slot of `run`.
///
/// ```text
///   0 magic "GENV"     8 topic id      16   40 seg gen   8   64 max timestamp 8   80 batches     4   120 reserved 4
///   4 version u16     24 partition      4   48 base      8   72 position      4   84 reserved    4   124 CRC-32   4
///   6 flags u16       28 leader epoch   4   56 last      8   76 bytes         4   88 digest     16
///                     32 replica gen    8                                        104 chain      16
/// ```
pub fn encode_slot(owner: &Owner, run: &Run) -> [u8; SLOT] {
    let mut out = Vec::with_capacity(SLOT);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(if run.has_holes { HAS_HOLES } else { 0 }).to_le_bytes());
    out.extend_from_slice(&owner.partition.topic.0.0);
    out.extend_from_slice(&owner.partition.index.0.to_le_bytes());
    out.extend_from_slice(&run.epoch.0.to_le_bytes());
    out.extend_from_slice(&owner.replica_gen.0.to_le_bytes());
    out.extend_from_slice(&owner.seg_gen.0.to_le_bytes());
    out.extend_from_slice(&run.base.0.to_le_bytes());
    out.extend_from_slice(&run.last.0.to_le_bytes());
    out.extend_from_slice(&run.max_timestamp.0.to_le_bytes());
    out.extend_from_slice(&run.position.to_le_bytes());
    out.extend_from_slice(&run.bytes.to_le_bytes());
    out.extend_from_slice(&run.batches.to_le_bytes());
    out.extend_from_slice(&[0; 40]);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    let mut slot = [0; SLOT];
    slot.copy_from_slice(&out);
    slot
}

/// Reads one slot.
///
/// # Errors
/// [`FormatError`] if it is not whole and ours, or its fields contradict each other.
pub fn decode_slot(bytes: &[u8]) -> Result<(Owner, Run), FormatError> {
    let mut reader = Reader::new(bytes);
    if reader.array::<4>()? != MAGIC {
        return Err(FormatError::Magic);
    }
    let version = reader.u16()?;
    let flags = reader.u16()?;
    let topic = TopicId(Uuid(reader.array()?));
    let index = PartitionIndex(reader.i32()?);
    let epoch = LeaderEpoch(reader.i32()?);
    let replica_gen = ReplicaGen(reader.u64()?);
    let seg_gen = SegGen(reader.u64()?);
    let run = Run {
        base: Offset(reader.i64()?),
        last: Offset(reader.i64()?),
        epoch,
        max_timestamp: Timestamp(reader.i64()?),
        position: reader.u32()?,
        bytes: reader.u32()?,
        batches: reader.u32()?,
        has_holes: flags & HAS_HOLES != 0,
    };
    reader.take(40)?;
    let crc = reader.u32()?;
    reader.finish()?;
    if crc32fast::hash(&bytes[..SLOT - 4]) != crc {
        return Err(FormatError::Checksum);
    }
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let in_order = run.base.0 >= 0 && run.last >= run.base && run.last.0 < i64::MAX;
    let has_bytes = run.batches > 0 && run.position.checked_add(run.bytes).is_some();
    if !in_order || !has_bytes || run.bytes == 0 {
        return Err(FormatError::Field("run"));
    }
    Ok((Owner { partition: PartitionId { topic, index }, replica_gen, seg_gen }, run))
}

/// What a file of envelopes holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelopes {
    /// The runs from the segment's first byte on, without a gap.
    pub runs: Vec<Run>,
    /// The last valid run of the file, even if it lies behind a gap: up to its end the segment was
    /// durable.
    pub last_valid: Option<Run>,
    /// Whether the file is longer than `runs`, so that it must be written anew.
    pub damaged: bool,
    /// Whether there is no file: somebody took it away, for it is made before the journal names its
    /// segment.
    pub lost: bool,
}

/// Reads a file of envelopes, skipping what is not valid or belongs to another segment.
pub fn decode_file(owner: &Owner, base: Offset, bytes: &[u8]) -> Envelopes {
    let mut found = Envelopes::default();
    let (mut position, mut next) = (0, base);
    for slot in bytes.chunks(SLOT) {
        let valid = decode_slot(slot).ok().filter(|(whose, _)| whose == owner).map(|(_, run)| run);
        let Some(run) = valid else {
            found.damaged = true;
            continue;
        };
        if run.position == position && run.base >= next && !found.damaged {
            position = run.end_position();
            next = run.end();
            found.runs.push(run);
        } else {
            found.damaged = true;
        }
        let later = |last: Run| run.end_position() > last.end_position();
        if found.last_valid.is_none_or(later) {
            found.last_valid = Some(run);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner() -> Owner {
        let topic = TopicId(Uuid([7; 16]));
        let partition = PartitionId { topic, index: PartitionIndex(3) };
        Owner { partition, replica_gen: ReplicaGen(1), seg_gen: SegGen(9) }
    }

    fn run(at: u32) -> Run {
        Run {
            base: Offset(i64::from(at) * 10),
            last: Offset(i64::from(at) * 10 + 9),
            epoch: LeaderEpoch(2),
            max_timestamp: Timestamp(1000),
            position: at * 100,
            bytes: 100,
            batches: 2,
            has_holes: at % 2 == 1,
        }
    }

    fn file(count: u32) -> Vec<u8> {
        (0..count).flat_map(|at| encode_slot(&owner(), &run(at))).collect()
    }

    #[test]
    fn a_slot_gives_back_its_run() {
        assert_eq!(decode_slot(&encode_slot(&owner(), &run(4))), Ok((owner(), run(4))));
    }

    #[test]
    fn neighbours_of_one_epoch_become_one_run_up_to_its_largest_size() {
        let later = Run { epoch: LeaderEpoch(3), ..run(3) };
        let large = Run { bytes: RUN_BYTES - 150, ..run(4) };
        let behind = |run: &Run, base| Run { position: run.end_position(), base, ..*run };
        let next = Run { last: Offset(60), bytes: 100, ..behind(&large, Offset(55)) };
        let next = Run { epoch: large.epoch, ..next };
        let too_much = Run { last: Offset(70), ..behind(&next, Offset(61)) };
        let gap = Run { position: too_much.end_position() + 1, base: Offset(71), ..run(8) };

        let merged = merged(&[run(0), run(1), run(2), later, large, next, too_much, gap]);

        let first = Run { last: Offset(29), bytes: 300, batches: 6, has_holes: true, ..run(0) };
        let holes =
            Run { last: Offset(60), bytes: RUN_BYTES - 50, batches: 4, has_holes: true, ..large };
        assert_eq!(merged, vec![first, later, holes, too_much, gap]);
    }

    #[test]
    fn a_torn_last_slot_is_left_out() {
        let bytes = file(3);

        let found = decode_file(&owner(), Offset(0), &bytes[..2 * SLOT + 60]);

        assert_eq!(found.runs, vec![run(0), run(1)]);
        assert_eq!(found.last_valid, Some(run(1)));
        assert!(found.damaged);
    }

    #[test]
    fn a_hole_ends_the_index_but_not_the_recovery_point() {
        let mut bytes = file(4);
        bytes[SLOT + 50] ^= 1;

        let found = decode_file(&owner(), Offset(0), &bytes);

        assert_eq!(found.runs, vec![run(0)]);
        assert_eq!(found.last_valid, Some(run(3)));
    }

    #[test]
    fn slots_of_another_segment_count_for_nothing() {
        let other = Owner { seg_gen: SegGen(8), ..owner() };

        let found = decode_file(&other, Offset(0), &file(2));

        assert_eq!(found.last_valid, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _checked = decode_slot(&bytes);
            decode_file(&owner(), Offset(0), &bytes);
        }
    }
}
