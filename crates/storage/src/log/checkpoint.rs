//! The recovery point: envelopes for what is durable, the state file, and rolling to a new segment.
//!
//! Invariants: everything here holds the upkeep lock; an envelope is written after the sync of its
//! bytes and never before; a segment is wholly durable, with its envelopes, before the next one is
//! created; a new segment's directory entry is durable before anything is written to it.

use std::path::Path;

use base::{LeaderEpoch, Offset, Probe};
use bytes::Bytes;
use env::{Access, Disk, Env, File, IoBufs};

use super::{FileOf, Log, SegmentState, Upkeep};
use crate::config::STATE_BYTES;
use crate::dir::{DirShared, Found};
use crate::envelope::{Owner, encode_slot};
use crate::error::DirectoryFailed;
use crate::names::{STATE, SegmentName};
use crate::replace::replace;
use crate::state::{SegmentSummary, State, encode_state};

/// Closed segments whose file and index stay in memory.
pub(super) const LOADED_MAX: usize = 16;

impl<E: Env> Log<E> {
    pub(crate) fn found(&self) -> Found {
        Found { partition: self.inner.partition, replica_gen: self.inner.replica_gen }
    }

    /// # Errors
    /// The directory failed, or the log was deleted.
    pub(super) fn check(&self) -> Result<(), DirectoryFailed> {
        self.inner.dir.check()?;
        if self.inner.shared.lock().closed {
            let reason = "the log was deleted".into();
            return Err(DirectoryFailed { path: self.inner.folder.clone(), reason });
        }
        Ok(())
    }

    pub(super) fn owner(&self, segment: SegmentName) -> Owner {
        Owner {
            partition: self.inner.partition,
            replica_gen: self.inner.replica_gen,
            seg_gen: segment.seg_gen,
        }
    }

    /// Makes everything written so far durable and moves the recovery point there.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn checkpoint(&self) -> Result<Offset, DirectoryFailed> {
        let mut upkeep = self.inner.upkeep.lock().await;
        let end = self.checkpoint_held(&mut upkeep).await?;
        let state_due = self.inner.shared.lock().state_age_bytes >= STATE_BYTES;
        if state_due {
            self.write_state(&mut upkeep, false).await?;
        }
        Ok(end)
    }

    pub(super) async fn checkpoint_held(
        &self,
        upkeep: &mut Upkeep<FileOf<E>>,
    ) -> Result<Offset, DirectoryFailed> {
        self.check()?;
        let began = self.env().now();
        let (file, name, runs, end, dirty_bytes, flushed) = {
            let mut shared = self.inner.shared.lock();
            let (end, dirty, flushed) = (shared.end, shared.dirty_bytes, shared.flushed_end);
            let segment = shared.active_mut();
            segment.run_open = false;
            let runs = segment.runs.as_deref().unwrap_or_default();
            let new = runs.get(segment.enveloped..).unwrap_or_default().to_vec();
            (segment.file.clone(), segment.name, new, end, dirty, flushed)
        };
        self.env().seam("storage_checkpoint").await;
        if let Some(file) = file.filter(|_| flushed < end) {
            self.sync(&file).await?;
            let mut shared = self.inner.shared.lock();
            shared.flushed_end = shared.flushed_end.max(end);
        }
        self.inner.dir.check()?;
        if !runs.is_empty() {
            let owner = self.owner(name);
            let slots: Vec<u8> = runs.iter().flat_map(|run| encode_slot(&owner, run)).collect();
            let len = u64::try_from(slots.len()).unwrap_or(0);
            let bufs = IoBufs::from_iter([Bytes::from(slots)]);
            let result = upkeep.env.append(upkeep.env_bytes, bufs).await;
            result
                .map_err(|e| self.inner.dir.fail("write envelopes in", &self.inner.folder, &e))?;
            self.sync(&upkeep.env.clone()).await?;
            upkeep.env_bytes += len;
        }
        let mut shared = self.inner.shared.lock();
        shared.active_mut().enveloped += runs.len();
        shared.dirty_bytes = shared.dirty_bytes.saturating_sub(dirty_bytes);
        shared.dirty_since = (shared.end > end).then_some(began);
        Ok(end)
    }

    /// Notes, durably, that `epoch` begins at the log's end. An epoch that is not newer is ignored.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn begin_epoch(&self, epoch: LeaderEpoch) -> Result<(), DirectoryFailed> {
        let mut upkeep = self.inner.upkeep.lock().await;
        let changed = {
            let mut shared = self.inner.shared.lock();
            let end = shared.end;
            shared.epochs.begin(epoch, end)
        };
        if changed { self.write_state(&mut upkeep, false).await } else { Ok(()) }
    }

    /// Moves the log's start up (never down, never past the end), durably, and removes segments
    /// that end before it.
    ///
    /// # Errors
    /// The directory failed.
    pub async fn set_log_start(&self, start: Offset) -> Result<(), DirectoryFailed> {
        let mut upkeep = self.inner.upkeep.lock().await;
        let gone: Vec<SegmentName> = {
            let mut shared = self.inner.shared.lock();
            if start <= shared.start {
                return Ok(());
            }
            shared.start = start.min(shared.end);
            let start = shared.start;
            shared.epochs.forget_before(start);
            shared.faulty.retain(|range| range.to > start);
            let last = shared.segments.len() - 1;
            let count = shared.segments[..last].partition_point(|segment| segment.end <= start);
            shared.segments.drain(..count).map(|segment| segment.name).collect()
        };
        self.write_state(&mut upkeep, false).await?;
        let disk = self.env().disk();
        for name in &gone {
            for file in [name.log(), name.env()] {
                let path = self.inner.folder.join(file);
                let result = disk.remove(&path).await;
                result.map_err(|error| self.inner.dir.fail("remove", &path, &error))?;
            }
        }
        if gone.is_empty() { Ok(()) } else { self.inner.dir.sync_folder(&self.inner.folder).await }
    }

    /// Makes the log durable with its state; nothing may be appended afterwards.
    pub(crate) async fn seal(&self) -> Result<(), DirectoryFailed> {
        let mut upkeep = self.inner.upkeep.lock().await;
        self.write_state(&mut upkeep, true).await
    }

    /// Lets a flush that is under way finish; the log is about to be deleted.
    pub(crate) async fn close(&self) {
        let _upkeep = self.inner.upkeep.lock().await;
        let mut shared = self.inner.shared.lock();
        shared.closed = true;
        shared.tail.clear();
        shared.dirty_since = None;
    }

    /// Closes the last segment and creates the next one.
    pub(super) async fn roll(&self) -> Result<(), DirectoryFailed> {
        self.env().probe().reached("storage_segment_rolled");
        let dir = &self.inner.dir;
        let mut upkeep = self.inner.upkeep.lock().await;
        let end = self.checkpoint_held(&mut upkeep).await?;
        let name = SegmentName { base: end, seg_gen: dir.next_seg_gen() };
        let (log, env) = create_segment(dir, &self.inner.folder, name).await?;
        if !self.env().probe().mutant("skip_dir_sync") {
            dir.sync_folder(&self.inner.folder).await?;
        }
        *upkeep = Upkeep { env, env_bytes: 0 };
        {
            let mut shared = self.inner.shared.lock();
            shared.segments.push(SegmentState::empty(name, log));
            shared.unload_but(LOADED_MAX);
        }
        self.write_state(&mut upkeep, false).await
    }

    /// Replaces the state file. Everything it will speak of is made durable first.
    pub(super) async fn write_state(
        &self,
        upkeep: &mut Upkeep<FileOf<E>>,
        sealed: bool,
    ) -> Result<(), DirectoryFailed> {
        self.check()?;
        let (mut state, age) = {
            let mut shared = self.inner.shared.lock();
            let wall = self.env().wall();
            shared.producers.expire(wall, self.inner.dir.options.producer_expiration);
            (self.snapshot(&shared, sealed), shared.state_age_bytes)
        };
        let durable = self.checkpoint_held(upkeep).await?;
        if sealed && durable > state.flushed_end {
            state.sealed = false;
        }
        let bytes = encode_state(&state);
        let result = replace(self.env(), &self.inner.folder, STATE, bytes).await;
        result.map_err(|e| self.inner.dir.fail("write the state in", &self.inner.folder, &e))?;
        let mut shared = self.inner.shared.lock();
        shared.state_age_bytes = shared.state_age_bytes.saturating_sub(age);
        Ok(())
    }

    /// The state as of now, assuming that everything written becomes durable before it is used.
    fn snapshot(&self, shared: &super::Shared<FileOf<E>>, sealed: bool) -> State {
        let summary = |segment: &SegmentState<FileOf<E>>| SegmentSummary {
            name: segment.name,
            end: segment.end,
            bytes: segment.bytes,
            max_timestamp: segment.max_timestamp,
        };
        State {
            partition: self.inner.partition,
            replica_gen: self.inner.replica_gen,
            start_id: self.inner.dir.start.start_id,
            sealed,
            log_start: shared.start,
            flushed_end: shared.end,
            high_watermark: shared.high_watermark.min(shared.end),
            epochs: shared.epochs.clone(),
            segments: shared.segments.iter().map(summary).collect(),
            faulty: shared.faulty.clone(),
            producers_upto: shared.end,
            producers: shared.producers.clone(),
        }
    }
}

impl<F> SegmentState<F> {
    /// A segment without a byte.
    pub(super) fn empty(name: SegmentName, file: F) -> Self {
        Self {
            name,
            end: name.base,
            bytes: 0,
            max_timestamp: None,
            first_timestamp: None,
            file: Some(file),
            runs: Some(Vec::new()),
            enveloped: 0,
            run_open: false,
        }
    }
}

impl<F> super::Shared<F> {
    /// Forgets files and indexes of the oldest closed segments beyond `count` loaded ones.
    pub(super) fn unload_but(&mut self, count: usize) {
        let last = self.segments.len().saturating_sub(1);
        let loaded = self.segments[..last].iter().filter(|segment| segment.runs.is_some()).count();
        let too_many = loaded.saturating_sub(count);
        let closed = self.segments[..last].iter_mut().filter(|segment| segment.runs.is_some());
        for segment in closed.take(too_many) {
            segment.runs = None;
            segment.file = None;
        }
    }
}

/// Creates the two files of a segment. The caller makes their entries durable.
pub(super) async fn create_segment<E: Env>(
    dir: &DirShared<E>,
    folder: &Path,
    name: SegmentName,
) -> Result<(FileOf<E>, FileOf<E>), DirectoryFailed> {
    let disk = dir.env.disk();
    let failed = |error| dir.fail("create a segment in", folder, &error);
    let log = disk.open(&folder.join(name.log()), Access::CreateNew).await.map_err(failed)?;
    let env = disk.open(&folder.join(name.env()), Access::CreateNew).await.map_err(failed)?;
    Ok((log, env))
}
