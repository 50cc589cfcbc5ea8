//! Compaction: closed segments are written anew without what the rules let go of.
//!
//! Invariants: only whole closed segments below what is committed and decided, nothing at or behind
//! damage, and never the last segment that has a batch, so that a log's end is always that of a batch; every batch
//! that is read is checked against its CRC and its run, so that rot is never written again as if it were
//! sound; offsets, epochs and the log's ends stay. Reads one window or
//! one batch at a time; the map of keys has a bound. Driven by: the broker's cleaner. What comes
//! out becomes real in [`super::swap`]. Source: KIP-58, KIP-354, KIP-534; ADR 0015.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use base::{Duration, Instant, Offset, Probe, ProducerId, Timestamp};
use env::{Access, Disk, Env};
use records::header::NO_TIMESTAMP;
use records::{BatchHeader, BatchView, Opener};
use thiserror::Error;

use super::batches::{Walk, WalkError};
use super::run_walk::RunWalk;
use super::swap::Output;
use super::{FileOf, Log, SegmentState, Shared};
use crate::clean::{
    CleanConfig, CleanSegment, Cleaned, Dirty, LastBatch, Rules, Seen, choose, groups,
};
use crate::envelope::decode_file;
use crate::error::{DirectoryFailed, DirectoryFull, ReadError, WriteError};
use crate::names::SegmentName;
use crate::replace::read_whole;

mod noting;

use noting::Noted;

/// After so many bytes other tasks are let in and the reasons to stop are looked at.
const BREATH_BYTES: u64 = 256 * 1024;
/// About so many segments at most take the place of others at once, so that the journal's record of it
/// has a bound; rather they become larger than the topic says.
const SEGMENTS_TOGETHER: u64 = 128;
/// Longest sleep of a cleaning that is held back, so that it notices that it has to end.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// What a cleaning is told.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// What is cleaned: the answer of [`Log::dirty`].
    pub dirty: Dirty,
    /// Now, by the wall clock.
    pub now: Timestamp,
    /// How long a tombstone stays (`delete.retention.ms`).
    pub tombstones_for: Duration,
    /// Bytes that keys and transactions may take (`log.cleaner.dedupe.buffer.size`).
    pub map_bytes_max: usize,
    /// Bytes read and written per second (`log.cleaner.io.max.bytes.per.second`); `None` is no limit.
    pub bytes_per_second: Option<u64>,
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Everything below is clean now.
    pub upto: Offset,
    /// Bytes of the segments that were written anew, before.
    pub bytes_before: u64,
    /// Their bytes now.
    pub bytes_after: u64,
    /// Where something cannot be read, so that less was cleaned than was asked for.
    pub unread: Option<Offset>,
}

/// Why a cleaning ended early. What it had finished by then stays finished; the log is whole.
#[derive(Debug, Error)]
pub enum CompactError {
    /// A batch there cannot be read. It and everything behind it stay as they are until the next
    /// start, which looks again.
    #[error("the batch at offset {at} cannot be read; nothing from there on is compacted")]
    Damaged {
        /// The first offset that is left alone.
        at: Offset,
    },
    /// A transaction begins there, with which the part begins that was never cleaned, and its end is not
    /// known. Nothing is [`Log::dirty`] before that changes.
    #[error("the transaction that begins at offset {at} is not decided")]
    Undecided {
        /// Its first offset.
        at: Offset,
    },
    /// The map of keys does not hold the keys of a single batch.
    #[error("the keys of the batch at offset {at} do not fit into log.cleaner.dedupe.buffer.size")]
    MapTooSmall {
        /// The batch.
        at: Offset,
    },
    /// It was told to stop, or the log is cut, or it or its old segments went meanwhile.
    #[error("the cleaning was interrupted")]
    Interrupted,
    /// The disk has no room for the new segments; the old ones stay.
    #[error(transparent)]
    Full(#[from] DirectoryFull),
    /// The operating system refused a read.
    #[error("cannot read the log: {0}")]
    Io(#[from] io::Error),
    /// A write failed, now or earlier.
    #[error(transparent)]
    Failed(#[from] DirectoryFailed),
}

impl From<WriteError> for CompactError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Full(full) => Self::Full(full),
            WriteError::Failed(failed) => Self::Failed(failed),
        }
    }
}

/// A closed segment that is read.
#[derive(Clone, Copy)]
struct Source {
    name: SegmentName,
    end: Offset,
    bytes: u32,
}

/// One cleaning.
struct Work<'a, E: Env, G> {
    log: &'a Log<E>,
    wish: Compaction,
    go_on: &'a G,
    sources: Vec<Source>,
    /// Segments behind them: the ends of transactions may lie there.
    behind: Vec<Source>,
    producers: BTreeMap<ProducerId, LastBatch>,
    /// Opens compressed batches, one after the other.
    opener: Opener,
    /// How many markers the log had taken when this began.
    marked: u64,
    /// What could not be read, and where: less is cleaned than was asked for.
    unread: Option<(Offset, CompactError)>,
    segment_bytes: u64,
    began: Instant,
    /// Bytes read and written.
    moved: u64,
    /// Bytes since others were let in.
    breath: u64,
}

impl<E: Env> Log<E> {
    /// What of the log can be compacted; `None` if nothing. `stable` is the end of what is committed
    /// and decided.
    ///
    /// # Errors
    /// The times of old segments may have to be read: [`ReadError::Io`].
    pub async fn dirty(
        &self,
        config: &CleanConfig,
        stable: Offset,
        now: Timestamp,
    ) -> Result<Option<Dirty>, ReadError> {
        let config = if self.env().probe().mutant("compaction_ignores_lag") {
            CleanConfig { lag_min: Duration::ZERO, ..*config }
        } else {
            *config
        };
        // With the default of no limit nobody asks for the times.
        let aged = i64::try_from(config.lag_max.as_millis()).is_ok_and(|lag| lag <= now.0);
        let unknown = if aged { self.inner.shared.lock().untimed() } else { Vec::new() };
        for (name, bytes) in unknown {
            let time = self.first_time(name, bytes).await?;
            let mut shared = self.inner.shared.lock();
            if let Some(segment) = shared.segments.iter_mut().find(|s| s.name == name) {
                segment.first_timestamp.get_or_insert(time);
            }
        }
        let shared = self.inner.shared.lock();
        let (closed, Some(last)) = shared.finished() else {
            return Ok(None);
        };
        let closed: Vec<_> = closed.iter().map(SegmentState::as_clean).collect();
        let stable = shared.cleanable_upto(stable);
        let cuts = shared.rare.as_ref().map_or(0, |rare| rare.cuts);
        let dirty = choose(&closed, last.name.base, shared.cleaned, stable, &config, now);
        Ok(dirty.map(|dirty| Dirty { cuts, ..dirty }))
    }

    /// Up to where the log was compacted.
    pub fn cleaned(&self) -> Offset {
        self.inner.shared.lock().cleaned
    }

    /// Compacts what [`Log::dirty`] named: of every key below the end of that range only the newest
    /// record stays. Runs beside appends and reads. `go_on` is asked every now and then. Let it
    /// finish: a dropped one leaves files that the next start removes.
    ///
    /// # Errors
    /// [`CompactError`].
    pub async fn compact<G: Fn() -> bool + Sync>(
        &self,
        wish: &Compaction,
        go_on: &G,
    ) -> Result<Compacted, CompactError> {
        let cleaning = Arc::clone(&self.inner.shared.lock().rare().cleaning);
        let _cleaning = cleaning.lock().await;
        let mut work = Work::begin(self, wish, go_on)?;
        let result = work.run().await;
        if let Err(CompactError::Damaged { at }) = &result {
            self.note_unreadable(*at);
        }
        result
    }

    /// Nothing from `at` on is compacted until the next start.
    fn note_unreadable(&self, at: Offset) {
        self.env().probe().reached("storage_compaction_stopped_by_damage");
        let mut shared = self.inner.shared.lock();
        let unreadable = &mut shared.rare().unreadable;
        *unreadable = Some(unreadable.map_or(at, |known| known.min(at)));
    }

    /// The time of a segment's first batch, as Kafka's `max.compaction.lag.ms` means it; none if its
    /// file is lost, which who compacts it will meet.
    async fn first_time(&self, name: SegmentName, bytes: u32) -> Result<Timestamp, ReadError> {
        let path = self.inner.folder().join(name.log());
        let file = match self.env().disk().open(&path, Access::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(NO_TIMESTAMP),
            opened => opened?,
        };
        let mut walk = Walk::new(file, 0, u64::from(bytes), name.base);
        Ok(walk.header().await.ok().flatten().map_or(NO_TIMESTAMP, |b| b.header.max_timestamp))
    }
}

impl<'a, E: Env, G: Fn() -> bool + Sync> Work<'a, E, G> {
    fn begin(log: &'a Log<E>, wish: &Compaction, go_on: &'a G) -> Result<Self, CompactError> {
        log.check().map_err(|_| CompactError::Interrupted)?;
        let mut shared = log.inner.shared.lock();
        let marked = shared.rare().marked;
        if shared.rare().cuts != wish.dirty.cuts {
            // There may be something else now, which nobody has said is committed.
            return Err(CompactError::Interrupted);
        }
        let finished = shared.finished().0;
        let below = finished.iter().take_while(|segment| segment.name.base < wish.dirty.upto);
        let source = |s: &SegmentState<_>| Source { name: s.name, end: s.end, bytes: s.bytes };
        let sources: Vec<Source> = below.map(source).collect();
        let behind = shared.segments.iter().skip(sources.len()).map(source).collect();
        let newest = |state: &crate::ProducerState| {
            let last_offset = state.batches.back()?.last_offset;
            Some(LastBatch { epoch: state.epoch, last_offset })
        };
        let producers = shared.producers.iter();
        let producers: BTreeMap<_, _> =
            producers.filter_map(|(id, state)| Some((id, newest(state)?))).collect();
        let forgets = log.env().probe().mutant("compaction_forgets_producers");
        Ok(Self {
            log,
            wish: *wish,
            go_on,
            sources,
            behind,
            marked,
            unread: None,
            producers: if forgets { BTreeMap::new() } else { producers },
            opener: Opener::default(),
            segment_bytes: shared.limits.segment_bytes,
            began: log.env().now(),
            moved: 0,
            breath: 0,
        })
    }

    async fn run(&mut self) -> Result<Compacted, CompactError> {
        let Noted { keys, endings, upto, .. } = self.note_all().await?;
        let closed: Vec<_> = self.sources.iter().map(Source::as_clean).collect();
        let groups = groups(&closed, upto, self.segment_bytes);
        let unread = self.unread.as_ref().map(|(at, _)| *at);
        let mut done = Compacted { upto, bytes_before: 0, bytes_after: 0, unread };
        let early = self.log.env().probe().mutant("tombstone_dropped_early");
        let tombstones_for = if early { Duration::ZERO } else { self.wish.tombstones_for };
        let producers = std::mem::take(&mut self.producers);
        let (now, mut seen) = (self.wish.now, Seen::default());
        let (keys, producers, endings) = (&keys, &producers, &endings);
        let rules = Rules { keys, upto, now, tombstones_for, producers, endings };
        for group in groups {
            let (before, after) = self.rewrite(&rules, &mut seen, group).await?;
            done.bytes_before += before;
            done.bytes_after += after;
        }
        Ok(done)
    }

    /// Writes a group of neighbours as one segment (or more, if it grew), and puts it in their
    /// place. Returns the bytes before and after.
    async fn rewrite(
        &mut self,
        rules: &Rules<'_>,
        seen: &mut Seen,
        group: Range<usize>,
    ) -> Result<(u64, u64), CompactError> {
        let sources: Vec<Source> = self.sources.get(group).unwrap_or_default().to_vec();
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
            return Ok((0, 0));
        };
        // In order from the log's start, so everything below has been through this.
        let cleaned = rules.upto.min(last.end);
        let before: u64 = sources.iter().map(|source| u64::from(source.bytes)).sum();
        // The segments may have been larger when they were written.
        let segment_bytes = self.segment_bytes.max(before / SEGMENTS_TOGETHER);
        let mut output = Output::new(self.log, first.name.base, last.end, segment_bytes);
        let changed = self.fill(&mut output, (rules, seen), &sources).await;
        let stays = sources.len() == 1 && matches!(changed, Ok(false));
        let old: Vec<SegmentName> = sources.iter().map(|source| source.name).collect();
        match changed {
            Ok(_) if stays => {
                output.discard().await?;
                self.log.swap(&[], Vec::new(), cleaned).await?;
                Ok((before, before))
            },
            Ok(_) => {
                let new = output.finish().await?;
                let after = new.iter().map(|segment| u64::from(segment.bytes)).sum();
                self.log.swap(&old, new, cleaned).await?;
                Ok((before, after))
            },
            Err(error) => {
                output.discard().await?;
                Err(error)
            },
        }
    }

    /// Puts what stays of the sources into `output`; returns whether anything changed.
    async fn fill(
        &mut self,
        output: &mut Output<'_, E>,
        (rules, seen): (&Rules<'_>, &mut Seen),
        sources: &[Source],
    ) -> Result<bool, CompactError> {
        let mut changed = false;
        for source in sources {
            let mut reader = self.read(*source).await?;
            while let Some(batch) = self.next(&mut reader, *source).await? {
                let at = batch.header().base_offset;
                let cleaned = rules.clean(&batch, seen, &mut self.opener);
                let kept = match cleaned.map_err(|_| CompactError::Damaged { at })? {
                    Cleaned::Whole => batch,
                    Cleaned::Part(left) => {
                        changed = true;
                        left
                    },
                    Cleaned::Gone => {
                        changed = true;
                        continue;
                    },
                };
                let len = u64::try_from(kept.bytes().len()).unwrap_or(0);
                output.push(kept).await?;
                self.pace(len).await?;
            }
        }
        Ok(changed)
    }

    async fn read(&self, source: Source) -> Result<RunWalk<FileOf<E>>, CompactError> {
        let path = self.log.inner.folder().join(source.name.log());
        let file = match self.log.env().disk().open(&path, Access::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Retention was faster, or the file is lost.
                let there = self.log.inner.shared.lock().has(source.name);
                let at = source.name.base;
                return Err(if there {
                    CompactError::Damaged { at }
                } else {
                    CompactError::Interrupted
                });
            },
            opened => opened?,
        };
        // Offset and epoch of a batch are under no checksum of its own.
        let path = self.log.inner.folder().join(source.name.env());
        let slots = read_whole(self.log.env(), &path).await?.unwrap_or_default();
        let owner = self.log.owner(source.name);
        let mut runs = decode_file(&owner, source.name.base, &slots).runs;
        runs.retain(|run| run.end_position() <= source.bytes);
        Ok(RunWalk::new(file, runs, u64::from(source.bytes), source.name.base))
    }

    /// The next batch, whole and sound.
    async fn next(
        &mut self,
        walk: &mut RunWalk<FileOf<E>>,
        source: Source,
    ) -> Result<Option<BatchView>, CompactError> {
        let at = walk.inner().next_offset();
        let failed = |error| match error {
            WalkError::Io(error) => CompactError::Io(error),
            WalkError::NotABatch | WalkError::Truncated => CompactError::Damaged { at },
        };
        let Some(located) = walk.header().await.map_err(failed)? else {
            return Ok(None);
        };
        let body = walk.inner().body(&located).await.map_err(failed)?;
        let view = BatchView::parse(&body).map_err(|_| CompactError::Damaged { at })?;
        let sound = view.verify_stored().is_ok() && view.header().last_offset() < source.end;
        if !sound {
            return Err(CompactError::Damaged { at: at.max(source.name.base) });
        }
        self.pace(located.len()).await?;
        Ok(Some(view))
    }

    /// Counts bytes moved; lets others in, waits if it is too fast, and ends if it has to.
    async fn pace(&mut self, bytes: u64) -> Result<(), CompactError> {
        self.moved = self.moved.saturating_add(bytes);
        self.breath = self.breath.saturating_add(bytes);
        let env = self.log.env();
        if self.breath < BREATH_BYTES && !env.probe().buggify("storage_compaction_breath") {
            return Ok(());
        }
        self.breath = 0;
        env.yield_now().await;
        loop {
            let closed = self.log.check().is_err();
            let ends = self.log.inner.shared.lock().rare().cleaning_ends;
            if closed || ends || !(self.go_on)() {
                env.probe().reached("storage_compaction_interrupted");
                self.log.inner.dir.check()?;
                return Err(CompactError::Interrupted);
            }
            let Some(rate) = self.wish.bytes_per_second.filter(|rate| *rate > 0) else {
                return Ok(());
            };
            let millis = self.moved.saturating_mul(1000) / rate;
            let due = self.began.after(Duration::from_millis(millis));
            let now = env.now();
            if now >= due {
                return Ok(());
            }
            env.sleep_until(due.min(now.after(SLEEP_MAX))).await;
        }
    }
}

impl Source {
    fn as_clean(&self) -> CleanSegment {
        CleanSegment {
            base: self.name.base,
            bytes: u64::from(self.bytes),
            first_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }
}

impl<F> Shared<F> {
    /// Below this nothing is damaged, and everything is committed and, as far as is known, decided.
    fn cleanable_upto(&self, stable: Offset) -> Offset {
        let rare = self.rare.as_ref();
        let unreadable = rare.and_then(|rare| rare.unreadable);
        let undecided = rare.and_then(|rare| rare.undecided).map(|(at, _)| at);
        let undecided = undecided.filter(|at| *at >= self.start);
        let damage = self.faulty().iter().map(|range| range.from).chain(unreadable);
        damage.chain(undecided).fold(stable.min(self.end), Offset::min)
    }

    /// A batch was written at the end: a marker may decide what cleanings wait for.
    pub(super) fn note_marker(&mut self, header: &BatchHeader) {
        let is_marker = header.attributes.is_control();
        let Some(rare) = self.rare.as_deref_mut().filter(|_| is_marker) else { return };
        rare.marked = rare.marked.saturating_add(1);
        let of = header.producer().map(|producer| producer.id);
        rare.undecided = rare.undecided.filter(|(_, id)| of != Some(*id));
    }

    /// The segments that may be compacted, and the one behind them: the last that has a batch.
    fn finished(&self) -> (&[SegmentState<F>], Option<&SegmentState<F>>) {
        let last = self.segments.iter().rposition(|segment| segment.bytes > 0).unwrap_or(0);
        let (closed, rest) = self.segments.split_at(last);
        (closed, rest.first())
    }

    /// Closed segments that were never compacted and whose first time nobody has read.
    fn untimed(&self) -> Vec<(SegmentName, u32)> {
        let (closed, _) = self.finished();
        let unknown = closed.iter().filter(|s| s.end > self.cleaned && s.first_timestamp.is_none());
        unknown.map(|segment| (segment.name, segment.bytes)).collect()
    }

    pub(super) fn has(&self, name: SegmentName) -> bool {
        self.segments.iter().any(|segment| segment.name == name)
    }
}

impl<F> SegmentState<F> {
    fn as_clean(&self) -> CleanSegment {
        CleanSegment {
            base: self.name.base,
            bytes: u64::from(self.bytes),
            first_timestamp: self.first_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: self.max_timestamp.map_or(NO_TIMESTAMP, |(time, _)| time),
        }
    }
}
