//! Reading: from memory at the log's end, small pieces as bytes, large ones as file regions.
//!
//! Invariants: only whole batches, none at or past `upto`; damage is reported, never skipped, and what
//! is not read as a file region is held against its run; the
//! lock is held to look up runs and never while a file is read; a read looks at each segment once,
//! however few may be in memory.

use std::io;
use std::ops::Range;

use base::{Offset, Probe};
use bytes::Bytes;
use env::{Access, Disk, Env, File, Segment};
use smallvec::SmallVec;

use super::batches::{Located, WalkError};
use super::recover::FaultyRange;
use super::reindex::{Extent, Reindex};
use super::run_walk::RunWalk;
use super::{FileOf, Log, ReadSlice, SegmentState, Shared};
use crate::config::REGION_BYTES_MIN;
use crate::envelope::{Run, decode_file};
use crate::error::ReadError;
use crate::names::SegmentName;
use crate::replace::read_whole;

/// What a look-up under the lock found out.
pub(super) struct Plan<F> {
    pub(super) file: F,
    /// The run that holds the offset.
    pub(super) run: Run,
    /// It, and those behind it as far as something is wanted of them.
    runs: Vec<Run>,
    /// Where the last run ends that is wanted as a whole; the first run's start if none is.
    whole_end: u64,
    /// One past the last offset of that run.
    whole_next: Offset,
}

enum Lookup<F> {
    Memory(ReadSlice<F>),
    File(Plan<F>),
    Load(SegmentName),
}

/// How much is wanted.
#[derive(Clone, Copy)]
struct Want {
    from: Offset,
    /// Segments before the one that begins here were looked at, and have nothing of it.
    behind: Offset,
    upto: Offset,
    /// Whether known damage begins at `upto`.
    damaged: bool,
    max_bytes: usize,
    min_one: bool,
}

impl<E: Env> Log<E> {
    /// Whole batches from the one that holds `from` on, all of whose records lie below `upto`.
    ///
    /// At most `max_bytes`, but the first batch always if `min_one`. Small and recent reads are
    /// bytes in memory; large ones are a file region. Never more than one segment's worth, and
    /// large reads may end up to 64 KiB early, where the index has an entry.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] below the log's start or past its end, [`ReadError::Corrupt`] if
    /// what was written there is not there any more, [`ReadError::Io`].
    pub async fn read(
        &self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        min_one: bool,
    ) -> Result<ReadSlice<FileOf<E>>, ReadError> {
        // Planted: what is damaged is passed over without a word.
        let passes = self.env().probe().mutant("damage_passed_over");
        let from = if passes { self.inner.shared.lock().behind_damage(from) } else { from };
        let mut want = Want { from, behind: from, upto, damaged: false, max_bytes, min_one };
        loop {
            let lookup = self.look_up(&want)?;
            match lookup {
                Lookup::Memory(slice) => return Ok(slice),
                Lookup::File(plan) => return self.read_planned(&want, plan).await,
                Lookup::Load(name) => {
                    // This one may push the one before out of memory, which is not needed again.
                    want.behind = want.behind.max(name.base);
                    self.load(name, want.from).await?;
                },
            }
        }
    }

    fn look_up(&self, want: &Want) -> Result<Lookup<FileOf<E>>, ReadError> {
        let now = self.env().now();
        let mut shared = self.inner.shared.lock();
        if want.from < shared.start || want.from > shared.end {
            self.env().probe().reached("storage_read_out_of_range");
            return Err(ReadError::OutOfRange { start: shared.start, end: shared.end });
        }
        let upto = want.upto.min(shared.end);
        let of = self.tail_allowance(shared.tiny_tail);
        if want.from >= upto {
            shared.tail.want(now, of);
            return Ok(Lookup::Memory(ReadSlice::default()));
        }
        let bound = upto;
        let upto = shared.sound_upto(want.from, bound)?;
        if let Some(slice) = shared.tail.read(want.from, upto, want.max_bytes, want.min_one) {
            shared.tail.want(now, of);
            return Ok(Lookup::Memory(slice));
        }
        let want = Want { upto, damaged: upto < bound, ..*want };
        let lookup = shared.plan(&want)?;
        if let Lookup::File(plan) = &lookup
            && plan.runs.last().is_some_and(|run| run.end() >= shared.end)
        {
            shared.tail.want(now, of);
        }
        Ok(lookup)
    }

    async fn read_planned(
        &self,
        want: &Want,
        plan: Plan<FileOf<E>>,
    ) -> Result<ReadSlice<FileOf<E>>, ReadError> {
        self.env().seam("storage_read").await;
        // Planted: the bound is looked up again, and may have moved beyond the high watermark.
        let reread = self.env().probe().mutant("read_bound_again");
        let bound = if reread { self.end() } else { want.upto.min(self.end()) };
        let upto = self.inner.shared.lock().sound_upto(want.from, bound)?;
        let run_at = u64::from(plan.run.position);
        let mut walk = RunWalk::within(plan.file.clone(), plan.runs);
        let first = if plan.run.base >= want.from || plan.run.batches == 1 {
            None
        } else {
            Some(self.first_from(&mut walk, want.from).await?)
        };
        let start = first.map_or(run_at, |first| first.position);
        let first_base = first.map_or(plan.run.base, |first| first.header.base_offset);
        let whole = usize::try_from(plan.whole_end.saturating_sub(start)).unwrap_or(usize::MAX);
        // A region is sent unseen, and a start after a clean stop measures no file.
        let there = if whole >= REGION_BYTES_MIN { plan.file.len().await? } else { u64::MAX };
        if whole >= REGION_BYTES_MIN && there >= plan.whole_end {
            return Ok(region(&plan.file, start, whole, first_base..plan.whole_next));
        }
        // Few bytes, or not all of them are there: go batch by batch.
        let (mut end, mut last) = (start, first_base);
        let mut next = match first {
            Some(first) => Some(first),
            None => self.walked(walk.header().await, want.from)?,
        };
        while let Some(batch) = next {
            let taken = usize::try_from(batch.end_position() - start).unwrap_or(usize::MAX);
            if batch.end_position() > there && end == start {
                return Err(self.corrupt(want.from));
            }
            let fits = taken <= want.max_bytes || (end == start && want.min_one);
            let fits = fits && batch.end_position() <= there;
            if !fits || batch.header.last_offset() >= upto {
                break;
            }
            (end, last) = (batch.end_position(), batch.header.next_offset());
            if taken >= want.max_bytes || taken >= REGION_BYTES_MIN {
                break;
            }
            // Damage behind a sound batch is reported when a read begins there.
            next = self.walked(walk.header().await, batch.header.next_offset()).unwrap_or(None);
        }
        let len = usize::try_from(end - start).unwrap_or(usize::MAX);
        if next.is_none() && len == 0 {
            // Its run speaks of a batch.
            return Err(self.corrupt(want.from));
        }
        if len == 0 {
            let is_damaged = |batch: Located| (upto..bound).contains(&batch.header.last_offset());
            return match next.is_some_and(is_damaged) {
                // Compaction left nothing before known damage.
                true => Err(self.corrupt(want.from)),
                false => Ok(ReadSlice::default()),
            };
        }
        let inner = walk.inner();
        let window = inner.in_window(start, len);
        self.handed(want.from, &plan.file, (start, len, window), first_base..last).await
    }

    /// So many bytes of a file from `start` on, which hold `offsets`: sent from it, or as they were
    /// read already.
    async fn handed(
        &self,
        from: Offset,
        file: &FileOf<E>,
        (start, len, window): (u64, usize, Option<Bytes>),
        offsets: Range<Offset>,
    ) -> Result<ReadSlice<FileOf<E>>, ReadError> {
        if len >= REGION_BYTES_MIN {
            let end = start.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            if file.len().await? < end {
                return Err(self.corrupt(from));
            }
            return Ok(region(file, start, len, offsets));
        }
        let bytes = match window {
            Some(bytes) => bytes,
            None => file.read_at(start, len).await?,
        };
        if bytes.len() < len {
            return Err(self.corrupt(from));
        }
        let segments = SmallVec::from_iter([Segment::Bytes(bytes)]);
        let (first_base, next) = (Some(offsets.start), Some(offsets.end));
        Ok(ReadSlice { segments, bytes: len, first_base, next })
    }

    /// The batch of the walk that holds `from`.
    async fn first_from(
        &self,
        walk: &mut RunWalk<FileOf<E>>,
        from: Offset,
    ) -> Result<Located, ReadError> {
        loop {
            match self.walked(walk.header().await, from)? {
                Some(batch) if batch.header.last_offset() >= from => return Ok(batch),
                Some(_) => {},
                None => return Err(self.corrupt(from)),
            }
        }
    }

    pub(super) fn walked(
        &self,
        step: Result<Option<Located>, WalkError>,
        at: Offset,
    ) -> Result<Option<Located>, ReadError> {
        step.map_err(|error| self.unwalked(error, at))
    }

    fn unwalked(&self, error: WalkError, at: Offset) -> ReadError {
        match error {
            WalkError::Io(error) => ReadError::Io(error),
            WalkError::NotABatch | WalkError::Truncated => self.corrupt(at),
        }
    }

    pub(super) fn corrupt(&self, at: Offset) -> ReadError {
        self.env().probe().reached("storage_read_found_damage");
        ReadError::Corrupt { at }
    }

    /// Opens a closed segment and reads its index, for something wanted from `at` on. One that was
    /// removed meanwhile is no error: the caller looks again and finds that the log starts later.
    pub(super) async fn load(&self, name: SegmentName, at: Offset) -> Result<(), ReadError> {
        match self.try_load(name).await {
            Err(_) if self.to_load(name).is_none() => Ok(()),
            // The journal names it, and it is gone: that is damage, the disk works.
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.corrupt(at))
            },
            result => result,
        }
    }

    async fn try_load(&self, name: SegmentName) -> Result<(), ReadError> {
        let Some(ToLoad { extent, file, access, has_runs }) = self.to_load(name) else {
            return Ok(());
        };
        let file = match file {
            Some(file) => file,
            None => {
                let path = self.inner.folder().join(name.log());
                self.inner.dir.note_opened();
                self.env().disk().open(&path, access).await?
            },
        };
        if has_runs {
            let mut shared = self.inner.shared.lock();
            if let Some(segment) = shared.segments.iter_mut().find(|segment| segment.name == name) {
                segment.file.get_or_insert(file);
            }
            return Ok(());
        }
        let env = read_whole(self.env(), &self.inner.folder().join(name.env())).await?;
        let mut runs = decode_file(&self.owner(name), name.base, &env.unwrap_or_default()).runs;
        // One that reaches behind a cut vouches for the bytes before it all the same.
        runs.truncate(runs.partition_point(|run| run.end_position() <= extent.bytes));
        let mut faulty = Vec::new();
        if runs.last().map_or(0, Run::end_position) != extent.bytes {
            self.env().probe().reached("storage_index_rebuilt_on_read");
            let made = Reindex::make(&file, extent, runs).await;
            let made = made.map_err(|error| self.unwalked(error, name.base))?;
            (runs, faulty) = (made.runs, made.faulty);
        }
        let mut shared = self.inner.shared.lock();
        shared.unload_but(super::roll::LOADED_MAX - 1);
        let is_it = |segment: &&mut SegmentState<_>| segment.name == name;
        if let Some(segment) = shared.segments.iter_mut().find(is_it) {
            segment.runs.get_or_insert(runs);
            segment.file.get_or_insert(file);
            if shared.note_faulty(faulty) {
                self.env().probe().reached("storage_read_found_damage");
            }
        }
        Ok(())
    }

    fn to_load(&self, name: SegmentName) -> Option<ToLoad<FileOf<E>>> {
        let shared = self.inner.shared.lock();
        let segment = shared.segments.iter().find(|segment| segment.name == name)?;
        let (base, end, bytes) = (name.base, segment.end, segment.bytes);
        let may_have_holes = base < shared.cleaned;
        Some(ToLoad {
            extent: Extent { base, end, bytes, may_have_holes },
            file: segment.file.clone(),
            // Who appends next takes the same file.
            access: if segment.open { Access::Write } else { Access::Read },
            has_runs: segment.runs.is_some(),
        })
    }
}

/// A segment whose file or index is not in memory.
struct ToLoad<F> {
    extent: Extent,
    file: Option<F>,
    access: Access,
    has_runs: bool,
}

fn region<F: File>(file: &F, at: u64, len: usize, range: Range<Offset>) -> ReadSlice<F> {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let region = Segment::Region(file.region(at, len));
    let bytes = region.len();
    let (first_base, next) = (Some(range.start), Some(range.end));
    ReadSlice { segments: SmallVec::from_iter([region]), bytes, first_base, next }
}

impl<F: Clone> Shared<F> {
    /// `upto`, or where the next known damage begins.
    fn sound_upto(&self, from: Offset, upto: Offset) -> Result<Offset, ReadError> {
        let mut sound = upto;
        for range in self.faulty() {
            if range.from <= from && from < range.to {
                return Err(ReadError::Corrupt { at: from });
            }
            if range.from > from {
                sound = sound.min(range.from);
            }
        }
        Ok(sound)
    }

    /// Notes what a reader found to be damaged, until the next start, which does not look for it. Whether
    /// any of it is new.
    fn note_faulty(&mut self, mut faulty: Vec<FaultyRange>) -> bool {
        let known = self.faulty();
        faulty.retain(|new| !known.iter().any(|old| old.from <= new.from && new.to <= old.to));
        if faulty.is_empty() {
            return false;
        }
        let known = &mut self.rare().faulty;
        known.append(&mut faulty);
        known.sort_by_key(|range| (range.from, range.to));
        true
    }

    /// One past the known damage that `from` is in, if it is in any.
    fn behind_damage(&self, from: Offset) -> Offset {
        let around = self.faulty().iter().find(|range| range.from <= from && from < range.to);
        around.map_or(from, |range| range.to)
    }

    fn plan(&self, want: &Want) -> Result<Lookup<F>, ReadError> {
        // What was seen below where the log was compacted stays as it was.
        let begin = if want.behind <= self.cleaned { want.behind } else { want.from };
        for segment in self.segments.get(self.segment_of(begin)..).unwrap_or_default() {
            // Of a damaged segment there may be no file.
            if want.damaged && segment.name.base >= want.upto {
                break;
            }
            if let Some(lookup) = self.plan_in(segment, want.from, want.upto, want.max_bytes) {
                return Ok(lookup);
            }
            // Beyond that no compaction explains it.
            if want.from >= self.cleaned {
                break;
            }
        }
        Err(ReadError::Corrupt { at: want.from })
    }

    /// `None` if compaction left nothing at or behind `from` in the segment.
    fn plan_in(
        &self,
        segment: &SegmentState<F>,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
    ) -> Option<Lookup<F>> {
        let (Some(file), Some(runs)) = (segment.file.clone(), &segment.runs) else {
            return Some(Lookup::Load(segment.name));
        };
        let at = runs.partition_point(|run| run.last < from);
        let run = runs.get(at).copied()?;
        let limit = u64::from(run.position)
            .saturating_add(u64::try_from(max_bytes).unwrap_or(u64::MAX))
            .min(u64::from(u32::MAX));
        let wanted = runs[at..]
            .partition_point(|run| u64::from(run.end_position()) <= limit && run.last < upto);
        let last = wanted.checked_sub(1).map(|i| runs[at + i]);
        let whole_end = u64::from(last.map_or(run.position, |run| run.end_position()));
        let whole_next = last.map_or(run.base, |run| run.end());
        // A read that goes batch by batch begins within the first run and ends at the latest here.
        let few = u32::try_from(max_bytes.min(REGION_BYTES_MIN)).unwrap_or(u32::MAX);
        let reach = run.end_position().saturating_add(few);
        let runs = runs[at..].iter().take_while(|run| run.position <= reach).copied().collect();
        Some(Lookup::File(Plan { file, run, runs, whole_end, whole_next }))
    }

    /// The file and run of the first batch at or after `from`, if its segment is loaded.
    pub(super) fn plan_for(&self, from: Offset) -> Result<Result<Plan<F>, SegmentName>, ReadError> {
        let (upto, max_bytes) = (self.end, usize::MAX);
        let want = Want { from, behind: from, upto, damaged: false, max_bytes, min_one: true };
        match self.plan(&want)? {
            Lookup::File(plan) => Ok(Ok(plan)),
            Lookup::Load(name) => Ok(Err(name)),
            Lookup::Memory(_) => Err(ReadError::Corrupt { at: from }),
        }
    }
}
