//! One partition's log: what is in memory about it, and the questions that need no disk.
//!
//! Invariants: `start <= flushed_end <= end`; segments are in order, with holes only where compaction
//! left nothing, and only the last one may be open; every closed one is durable; there is no segment
//! before the first append, and none open after a cut or once its last record was too old; the lock
//! is never held across an await.
//! Driven by: `broker`, one appender at a time; readers and flushers at any time.

mod append;
mod batches;
mod checkpoint;
mod compact;
mod files;
mod flush;
mod merge;
mod read;
mod rebuild;
mod recover;
mod reindex;
mod reserve;
mod roll;
mod run_walk;
mod scan;
mod segments;
mod swap;
mod time;
mod truncate;

use std::path::PathBuf;
use std::sync::Arc;

use base::{Instant, LeaderEpoch, Offset, PartitionId, ProducerId, ReplicaGen, Timestamp};
use env::{Disk, Env, IoBufs, Lock, Rank, Segment};
use records::BatchHeader;
use smallvec::SmallVec;

use crate::config::{COPY_BYTES_BELOW, Durability, JOINED_BYTES_BELOW, LogConfig};
use crate::dir::{DirShared, Found};
use crate::envelope::Run;
use crate::epochs::{EpochHistory, EpochStart};
use crate::names::SegmentName;
use crate::producers::ProducerStates;
use crate::tail::Tail;

pub use compact::{CompactError, Compacted, Compaction};
pub use recover::{Cut, FaultyRange, Recovery};
pub use run_walk::Untold;
pub use segments::SegmentExtent;
pub use time::TimestampHit;

/// Taken inside a partition's lock, before the directory's.
const LOG_RANK: Rank = Rank(200);

/// The files of one process.
pub(crate) type FileOf<E> = <<E as Env>::Disk as Disk>::File;

/// Whole batches to append: their bytes, and what their headers say.
#[derive(Clone, Debug)]
pub struct Append {
    /// The batches one after the other, offsets and epochs already in their headers.
    pub bufs: IoBufs,
    /// Their headers, in order. Offsets continue where the log ends, epochs never fall.
    pub batches: SmallVec<[BatchHeader; 4]>,
    /// When the append is done.
    pub durability: Durability,
    /// Whether little but batches of this log lies in the memory of `bufs`: then they are kept as they
    /// are, however small.
    pub owned: bool,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// One past the last record: written, readable, and durable if that was asked for.
    pub end: Offset,
}

/// Whole batches read from a log.
#[derive(Clone, Debug)]
pub struct ReadSlice<F> {
    /// Their bytes, in order. Empty at the log's end.
    pub segments: SmallVec<[Segment<F>; 4]>,
    /// How many bytes that are.
    pub bytes: usize,
    /// Offset of the first record of the first batch; at most the offset asked for.
    pub first_base: Option<Offset>,
    /// One past the last record of the last batch.
    pub next: Option<Offset>,
}

impl<F> Default for ReadSlice<F> {
    fn default() -> Self {
        Self { segments: SmallVec::new(), bytes: 0, first_base: None, next: None }
    }
}

/// One partition's log. Clones share it.
pub struct Log<E: Env> {
    pub(crate) inner: Arc<LogInner<E>>,
}

impl<E: Env> Clone for Log<E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<E: Env> std::fmt::Debug for Log<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({}-{})", self.inner.partition, self.inner.replica_gen)
    }
}

pub(crate) struct LogInner<E: Env> {
    pub(crate) dir: Arc<DirShared<E>>,
    pub(crate) partition: PartitionId,
    pub(crate) replica_gen: ReplicaGen,
    pub(crate) shared: Lock<Shared<FileOf<E>>>,
    /// Held by whoever writes envelopes or producers, or changes the set of segments.
    pub(crate) upkeep: tokio::sync::Mutex<Upkeep>,
}

impl<E: Env> LogInner<E> {
    /// Made when it is asked for: most logs are at rest, and it would be a fifth of what they take.
    pub(crate) fn folder(&self) -> PathBuf {
        let (partition, replica_gen) = (self.partition, self.replica_gen);
        self.dir.folder(Found { partition, replica_gen })
    }
}

/// What only the holder of the upkeep lock touches.
#[derive(Default)]
pub(crate) struct Upkeep {
    /// Length of the envelope file of the open segment: envelopes written so far times their size.
    pub(crate) env_bytes: u64,
    /// With so many envelopes in that file it is time to see whether fewer would do.
    pub(crate) merge_at: u32,
    /// Whether the log has a folder.
    pub(crate) has_folder: bool,
}

/// What the lock guards.
pub(crate) struct Shared<F> {
    pub(crate) limits: Limits,
    /// Oldest first; the last one may be open.
    pub(crate) segments: Vec<SegmentState<F>>,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// Everything below is durable in segments.
    pub(crate) flushed_end: Offset,
    /// Everything below is durable in segments or in the journal.
    pub(crate) journaled_end: Offset,
    pub(crate) high_watermark: Offset,
    /// Everything below was compacted.
    pub(crate) cleaned: Offset,
    /// What most logs never have.
    pub(crate) rare: Option<Box<Rare>>,
    pub(crate) epochs: EpochHistory,
    pub(crate) producers: ProducerStates,
    /// Whether the log may hold less than it was promised to.
    pub(crate) uncertain: bool,
    pub(crate) tail: Tail,
    /// Whether the tail keeps next to nothing, to meet its end more often.
    pub(crate) tiny_tail: bool,
    /// When the oldest byte without an envelope was appended.
    pub(crate) dirty_since: Option<Instant>,
    /// Bytes without an envelope.
    pub(crate) dirty_bytes: u64,
    /// Bytes appended since the producers were last written.
    pub(crate) state_age_bytes: u64,
    /// Whether an append is under way.
    pub(crate) appending: bool,
    /// Whether the open segment is being closed: an append begins the next one.
    pub(crate) closing: bool,
    pub(crate) closed: bool,
}

/// [`LogConfig`] as it is compared, in less room.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
}

impl From<&LogConfig> for Limits {
    fn from(config: &LogConfig) -> Self {
        let segment_ms = i64::try_from(config.segment_age.as_millis()).unwrap_or(i64::MAX);
        Self { segment_bytes: config.segment_bytes, segment_ms }
    }
}

/// What most logs never have.
#[derive(Default)]
pub(crate) struct Rare {
    pub(crate) faulty: Vec<FaultyRange>,
    /// Where a cleaning met a batch that it could not read.
    pub(crate) unreadable: Option<Offset>,
    /// Where a cleaning met a transaction without an end, and whose it is; until its marker comes.
    pub(crate) undecided: Option<(Offset, ProducerId)>,
    /// How many markers were appended.
    pub(crate) marked: u64,
    /// How often the log was cut: what was chosen for a cleaning before that may be something else now.
    pub(crate) cuts: u64,
    /// Held by whoever compacts, or cuts; taken before the upkeep lock.
    pub(crate) cleaning: Arc<tokio::sync::Mutex<()>>,
    /// Whether somebody waits for that lock who cannot wait long.
    pub(crate) cleaning_ends: bool,
}

/// One segment.
#[derive(Clone)]
pub(crate) struct SegmentState<F> {
    pub(crate) name: SegmentName,
    /// One past its last offset.
    pub(crate) end: Offset,
    pub(crate) bytes: u32,
    /// Whether batches are still added to it.
    pub(crate) open: bool,
    /// Largest timestamp, and the base offset of the batch that has it.
    pub(crate) max_timestamp: Option<(Timestamp, Offset)>,
    /// Largest timestamp of its first batch, or of its creation if that had none.
    pub(crate) first_timestamp: Option<Timestamp>,
    pub(crate) file: Option<F>,
    /// Its runs, once somebody needed them; always there for the open segment.
    pub(crate) runs: Option<Vec<Run>>,
    /// How many of the runs have their envelope on disk.
    pub(crate) enveloped: usize,
    /// Whether the last run may still grow.
    pub(crate) run_open: bool,
    /// Whether bytes that nobody counts lie behind its end: nothing is added to it any more.
    pub(crate) spoiled: bool,
    /// Up to here room was reserved in its file, as far as this process knows.
    pub(crate) reserved: u32,
}

impl<F> Shared<F> {
    /// Ranges known to be damaged.
    pub(crate) fn faulty(&self) -> &[FaultyRange] {
        self.rare.as_deref().map_or(&[], |rare| &rare.faulty)
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The segment that grows.
    pub(crate) fn active(&self) -> Option<&SegmentState<F>> {
        self.segments.last().filter(|segment| segment.open)
    }

    pub(crate) fn active_mut(&mut self) -> Option<&mut SegmentState<F>> {
        self.segments.last_mut().filter(|segment| segment.open)
    }

    /// Whether bytes that nobody counts lie behind the segment that grows.
    pub(crate) fn is_spoiled(&self) -> bool {
        !self.closed && self.active().is_some_and(|segment| segment.spoiled)
    }

    pub(crate) fn durable_end(&self) -> Offset {
        self.flushed_end.max(self.journaled_end)
    }

    /// The segment that holds `offset`, or would.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        let after = self.segments.partition_point(|segment| segment.name.base <= offset);
        after.saturating_sub(1)
    }
}

impl<E: Env> Log<E> {
    pub(crate) fn new(inner: LogInner<E>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Which partition this is.
    pub fn partition(&self) -> PartitionId {
        self.inner.partition
    }

    /// Which incarnation of the replica this is.
    pub fn replica_gen(&self) -> ReplicaGen {
        self.inner.replica_gen
    }

    /// First offset that may be read.
    pub fn start(&self) -> Offset {
        self.inner.shared.lock().start
    }

    /// One past the last written record.
    pub fn end(&self) -> Offset {
        self.inner.shared.lock().end
    }

    /// One past the last record that is durable with everything before it.
    pub fn flushed_end(&self) -> Offset {
        self.inner.shared.lock().durable_end()
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        let shared = self.inner.shared.lock();
        shared.segments.iter().map(|segment| u64::from(segment.bytes)).sum()
    }

    /// Which epoch began where.
    pub fn epochs(&self) -> EpochHistory {
        self.inner.shared.lock().epochs.clone()
    }

    /// The newest epoch and where it began.
    pub fn latest_epoch(&self) -> Option<EpochStart> {
        self.inner.shared.lock().epochs.latest()
    }

    /// Where `epoch` ended; see [`EpochHistory::end_of`].
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let shared = self.inner.shared.lock();
        shared.epochs.end_of(epoch, shared.end)
    }

    /// The producers of the batches that are in the log, as they are in the log.
    pub fn producers(&self) -> ProducerStates {
        self.inner.shared.lock().producers.clone()
    }

    /// Ranges known to be damaged.
    pub fn faulty(&self) -> Vec<FaultyRange> {
        self.inner.shared.lock().faulty().to_vec()
    }

    /// Batches below this size had better not share the memory of what they came in: they would keep
    /// much more of it alive than they are, or are so small that it costs more to name them.
    pub fn copies_below(&self) -> usize {
        let now = self.inner.dir.env.now();
        let keeps = self.inner.shared.lock().tail.is_wanted(now);
        if keeps { COPY_BYTES_BELOW } else { JOINED_BYTES_BELOW }
    }

    /// The high watermark last noted: a hint for the next start, capped by the log's end.
    pub fn high_watermark_hint(&self) -> Offset {
        let shared = self.inner.shared.lock();
        shared.high_watermark.min(shared.end)
    }

    /// Notes the high watermark; journaled with the log's next change.
    pub fn note_high_watermark(&self, offset: Offset) {
        let mut shared = self.inner.shared.lock();
        shared.high_watermark = shared.high_watermark.max(offset.min(shared.end));
    }

    /// Changes what may be chosen; from the next append on.
    pub fn set_config(&self, config: LogConfig) {
        self.inner.shared.lock().limits = Limits::from(&config);
    }

    /// The folder of this log.
    pub fn folder(&self) -> PathBuf {
        self.inner.folder()
    }

    /// The world it lives in.
    pub fn env(&self) -> &E {
        &self.inner.dir.env
    }
}
