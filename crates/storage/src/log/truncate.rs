//! Cutting a log short, where the history of another replica parts from this one's.
//!
//! Invariants: everything here holds the upkeep lock and counts as an append; no cleaning is under
//! way, which would put back what is cut, and whose copies a crash would leave without their source;
//! the cut is in the journal before memory or a file changes; only whole batches stay; no byte is
//! overwritten and no file shortened: what a segment holds behind the cut is void, and the next
//! append begins a new one. Source: replication design, a cut at T.

use std::sync::Arc;

use base::{Offset, Probe};
use env::Env;

use super::append::AppendGuard;
use super::batches::WalkError;
use super::run_walk::{RunWalk, catch_up};
use super::{FileOf, Log, Rare, SegmentState, Shared, Upkeep};
use crate::envelope::{Run, add_batch};
use crate::error::{TruncateError, WriteError};
use crate::journal::{Change, Mark};
use crate::names::SegmentName;
use crate::producers::{ProducerSnapshot, ProducerStates};

/// What is to be cut.
struct Plan<F> {
    /// Where the log will end.
    at: Offset,
    /// The segment that ends there for good, as it will be, if one is cut in the middle.
    shortened: Option<SegmentState<F>>,
    /// The segments that are void as a whole.
    void: Vec<SegmentName>,
}

/// What a look under the lock found.
enum Look<F> {
    Load(SegmentName),
    /// The run that holds the cut, if one does, and the segment without it.
    Found(Plan<F>, Option<Run>),
}

impl<E: Env> Log<E> {
    /// Takes everything from `to` on off the log's end, durably, together with the batch that begins
    /// below `to` and ends behind it. Not below the log's start. Returns where the log ends now.
    /// Nothing may be appended meanwhile; a cleaning is interrupted. It says nothing of what is missing:
    /// an uncertain log stays uncertain.
    ///
    /// # Errors
    /// [`TruncateError::Unreadable`] if the place cannot be made out, [`TruncateError::Full`] if there
    /// is no room to note it; then nothing has changed. Or the directory failed.
    pub async fn truncate(&self, to: Offset) -> Result<Offset, TruncateError> {
        self.check()?;
        let guard = AppendGuard::begin(self);
        let cleaning = self.interrupt_cleaning(true);
        let _cleaning = cleaning.lock().await;
        self.interrupt_cleaning(false);
        let mut upkeep = self.inner.upkeep.lock().await;
        let (to, end) = {
            let shared = self.inner.shared.lock();
            (to.max(shared.start), shared.end)
        };
        if to >= end {
            guard.finish();
            return Ok(end);
        }
        let cut = self.cut_at(&mut upkeep, to).await;
        // Unless the directory failed nothing has changed, or everything.
        guard.finish();
        cut
    }

    /// Whether cleanings end as soon as they can. Returns what they hold meanwhile.
    fn interrupt_cleaning(&self, yes: bool) -> Arc<tokio::sync::Mutex<()>> {
        let mut shared = self.inner.shared.lock();
        let rare = shared.rare();
        rare.cleaning_ends = yes;
        Arc::clone(&rare.cleaning)
    }

    async fn cut_at(&self, upkeep: &mut Upkeep, to: Offset) -> Result<Offset, TruncateError> {
        // A segment that is closed, however short, is durable with its envelopes.
        self.checkpoint_held(upkeep).await?;
        let plan = self.find_cut(to).await?;
        let producers = self.producers_upto(plan.at).await?;
        // First, for the one from before would hold what is cut, and look right once the log is
        // longer again. This one holds before the cut as well, as an old one.
        let start = {
            let mut shared = self.inner.shared.lock();
            shared.state_age_bytes = shared.state_age_bytes.max(1);
            shared.start
        };
        let log = self.found();
        let snapshot = ProducerSnapshot { log, upto: plan.at, producers: producers.clone() };
        self.put_producers(&snapshot).await?;
        let mut changes = vec![Change::Cut(plan.at)];
        changes.extend(plan.shortened.as_ref().map(|s| Change::Close(s.summary())));
        self.inner.dir.commit(log, changes).await?;
        self.env().probe().reached("storage_truncated");
        let Plan { at, shortened, mut void } = plan;
        void.extend(shortened.iter().filter(|s| s.end <= start).map(|segment| segment.name));
        {
            let mut shared = self.inner.shared.lock();
            shared.cut(at, shortened, producers);
            shared.state_age_bytes = 0;
            upkeep.env_bytes = 0;
        }
        self.remove_segments(&void).await?;
        Ok(at)
    }

    /// Whether the log may hold less than it was promised to; survives restarts.
    pub fn is_uncertain(&self) -> bool {
        self.inner.shared.lock().uncertain
    }

    /// Notes, durably, that the log is certain again. Only who holds it against another replica can
    /// know: one that is in the set of replicas in sync again holds all that was promised.
    ///
    /// # Errors
    /// The directory failed, or its journal found no room.
    pub async fn declare_certain(&self) -> Result<(), WriteError> {
        let _upkeep = self.inner.upkeep.lock().await;
        self.check()?;
        if !self.is_uncertain() {
            return Ok(());
        }
        let change = Change::Mark(Mark::ClearUncertain);
        self.inner.dir.commit(self.found(), vec![change]).await?;
        self.inner.shared.lock().uncertain = false;
        Ok(())
    }

    async fn find_cut(&self, to: Offset) -> Result<Plan<FileOf<E>>, TruncateError> {
        let (plan, run) = loop {
            // Behind the cut nothing would tell that something is missing there.
            let damage = self.inner.shared.lock().damage_around(to);
            if let Some(at) = damage {
                return Err(self.corrupt(at).into());
            }
            let look = self.inner.shared.lock().look_for_cut(to);
            match look {
                Look::Load(name) => self.load(name, to).await?,
                Look::Found(plan, run) => break (plan, run),
            }
        };
        match run {
            Some(run) => self.cut_in_run(plan, run, to).await,
            None => Ok(plan),
        }
    }

    /// Keeps the batches of `run` that end at or below `to`.
    async fn cut_in_run(
        &self,
        mut plan: Plan<FileOf<E>>,
        run: Run,
        to: Offset,
    ) -> Result<Plan<FileOf<E>>, TruncateError> {
        let Some(segment) = &mut plan.shortened else { return Ok(plan) };
        let Some(file) = segment.file.clone() else { unreachable!("it was loaded") };
        let mut walk = RunWalk::within(file, vec![run]);
        let runs = segment.runs.get_or_insert_default();
        let (mut open, mut at) = (false, to);
        loop {
            let batch = match walk.header().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(WalkError::Io(error)) => return Err(crate::ReadError::Io(error).into()),
                Err(WalkError::NotABatch | WalkError::Truncated) => {
                    return Err(self.corrupt(run.base).into());
                },
            };
            if batch.header.last_offset() >= to {
                at = batch.header.base_offset.min(to);
                break;
            }
            let position = u32::try_from(batch.position).unwrap_or(u32::MAX);
            let len = u32::try_from(batch.len()).unwrap_or(u32::MAX);
            add_batch(runs, &mut open, &batch.header, position, len);
        }
        segment.end_at(at);
        plan.at = at;
        if at == segment.name.base {
            // Its first batch goes as well.
            plan.void.push(segment.name);
            plan.shortened = None;
        }
        Ok(plan)
    }

    /// The producers of the batches below `at`.
    async fn producers_upto(&self, at: Offset) -> Result<ProducerStates, TruncateError> {
        let snapshot = self.read_producers().await.map_err(crate::ReadError::Io)?;
        let snapshot = snapshot.filter(|snapshot| snapshot.upto <= at);
        let (segments, start) = {
            let shared = self.inner.shared.lock();
            (shared.segments.clone(), shared.start)
        };
        let (from, states) =
            snapshot.map_or((start, ProducerStates::default()), |s| (s.upto, s.producers));
        let caught_up =
            catch_up(&self.inner.dir, self.found(), &segments, (from, at), states).await;
        Ok(caught_up.map_err(crate::ReadError::Io)?.producers)
    }
}

impl<F: Clone> Shared<F> {
    /// Where known damage begins that `to` is in, or ends.
    fn damage_around(&self, to: Offset) -> Option<Offset> {
        let around = self.faulty().iter().find(|range| range.from < to && to <= range.to);
        around.map(|range| range.from)
    }

    fn look_for_cut(&self, to: Offset) -> Look<F> {
        let behind = self.segments.partition_point(|segment| segment.name.base < to);
        let void = self.segments[behind..].iter().map(|segment| segment.name).collect();
        let plan = Plan { at: to, shortened: None, void };
        let last = behind.checked_sub(1).and_then(|at| self.segments.get(at));
        let Some(last) = last.filter(|segment| segment.end > to) else {
            return Look::Found(plan, None);
        };
        let (Some(runs), Some(_)) = (&last.runs, &last.file) else {
            return Look::Load(last.name);
        };
        let kept = runs.partition_point(|run| run.last < to);
        let mut shortened = last.clone();
        shortened.runs = Some(runs[..kept].to_vec());
        shortened.end_at(to);
        if self.damage_in(&shortened).is_some() {
            shortened.max_timestamp = None;
        }
        let run = runs.get(kept).copied();
        Look::Found(Plan { shortened: Some(shortened), ..plan }, run)
    }
}

impl<F> SegmentState<F> {
    /// Its runs go as far as they go, and nothing is added to it.
    fn end_at(&mut self, end: Offset) {
        let runs = self.runs.as_deref().unwrap_or_default();
        let times = runs.iter().map(|run| (run.max_timestamp, std::cmp::Reverse(run.base)));
        self.max_timestamp = times.max().filter(|max| max.0.0 >= 0).map(|max| (max.0, max.1.0));
        self.bytes = runs.last().map_or(0, Run::end_position);
        (self.end, self.open, self.run_open) = (end, false, false);
    }
}

impl<F> Shared<F> {
    /// Forgets everything from `at` on.
    fn cut(&mut self, at: Offset, shortened: Option<SegmentState<F>>, producers: ProducerStates) {
        self.segments.retain(|segment| segment.name.base < at);
        if let (Some(last), Some(shortened)) = (self.segments.last_mut(), shortened) {
            *last = shortened;
        }
        self.segments.retain(|segment| segment.end > self.start);
        self.end = at;
        self.flushed_end = self.flushed_end.min(at);
        self.journaled_end = self.journaled_end.min(at);
        self.high_watermark = self.high_watermark.min(at);
        self.epochs.cut(at);
        self.cleaned = self.cleaned.min(at);
        let rare = self.rare();
        rare.cuts = rare.cuts.saturating_add(1);
        if let Some(Rare { faulty, undecided, unreadable, .. }) = self.rare.as_deref_mut() {
            *undecided = None;
            *unreadable = unreadable.filter(|known| *known < at);
            faulty.retain(|range| range.from < at);
            for range in &mut *faulty {
                range.to = range.to.min(at);
            }
            faulty.dedup();
        }
        self.tail.clear();
        self.producers = producers;
        (self.dirty_since, self.dirty_bytes) = (None, 0);
    }
}
