//! Changes of a log that the journal makes true: segments, epochs, the log's start.
//!
//! Invariants: everything here holds the upkeep lock; a segment is wholly durable, with its
//! envelopes, before it is closed; the files of a new one and their directory entries are durable
//! before the journal names it, and it is named before anything is written to it; what the journal
//! let go of is removed afterwards; without room on the disk nothing has changed.

use std::path::Path;

use base::{LeaderEpoch, Offset, Probe};
use env::{Access, Disk, Env};
use records::BatchHeader;

use super::{FileOf, Log, SegmentState, Shared, Upkeep};
use crate::dir::DirShared;
use crate::error::{DirectoryFailed, WriteError};
use crate::journal::Change;
use crate::names::{PRODUCERS, SegmentName};

/// Closed segments whose file and index stay in memory.
pub(super) const LOADED_MAX: usize = 16;

impl<E: Env> Log<E> {
    /// Closes the open segment, if there is one, and begins the next one, for `first`.
    pub(super) async fn roll(&self, first: &BatchHeader) -> Result<(), WriteError> {
        let dir = &self.inner.dir;
        let mut upkeep = self.inner.upkeep.lock().await;
        self.check()?;
        let closes = self.inner.shared.lock().active().is_some();
        let end = if closes {
            self.env().probe().reached("storage_segment_rolled");
            // Planted: a segment is closed before it is durable.
            match self.env().probe().mutant("closed_not_flushed") {
                true => self.end(),
                false => self.save_producers(&mut upkeep).await?,
            }
        } else {
            self.inner.shared.lock().end
        };
        if !upkeep.has_folder {
            let created = self.env().disk().create_dir(&self.inner.folder()).await;
            created.map_err(|error| dir.refuse("create", &self.inner.folder(), &error))?;
            dir.sync_folder(&dir.path).await?;
            if dir.unexplained.contains(&self.found()) {
                self.put_old_producers_away().await?;
            }
            upkeep.has_folder = true;
        }
        let name = SegmentName { base: end, seg_gen: dir.next_seg_gen() };
        let log = match create_segment(dir, &self.inner.folder(), name).await {
            Ok(file) => file,
            Err(error) => return Err(self.without_room(error, name).await?),
        };
        if !self.env().probe().mutant("skip_dir_sync") {
            dir.sync_folder(&self.inner.folder()).await?;
        }
        let mut changes = Vec::new();
        let (epoch, void) = {
            let shared = self.inner.shared.lock();
            // A full disk left it without a batch that counts.
            let void = shared.active().filter(|segment| segment.bytes == 0).map(|s| s.name);
            changes.extend(match void {
                Some(void) => Some(Change::Swap { drop: vec![void], add: Vec::new() }),
                None => shared.active().map(|segment| Change::Close(segment.summary())),
            });
            changes.push(Change::SegAdd(name));
            changes.push(shared.flushed());
            let epoch = LeaderEpoch(first.partition_leader_epoch);
            let mut epochs = shared.epochs.clone();
            (epochs.begin(epoch, end).then_some(epoch), void)
        };
        changes.extend(epoch.map(|epoch| Change::Epoch { epoch, start: end }));
        if let Err(error) = dir.commit(self.found(), changes).await {
            return Err(self.without_room(error, name).await?);
        }
        *upkeep = Upkeep { has_folder: true, ..Upkeep::default() };
        dir.note_opened();
        let reserves = self.reserves();
        let gone = {
            let mut shared = self.inner.shared.lock();
            let below = self.let_go_below(shared.start);
            let gone = shared.end_active(void, below);
            shared.segments.push(SegmentState::empty(name, log));
            if let Some(epoch) = epoch {
                shared.epochs.begin(epoch, end);
            }
            shared.unload_but(LOADED_MAX);
            gone
        };
        self.give_back_reserved(reserves).await;
        Ok(self.remove_segments(&gone).await?)
    }

    /// A log that is made beside files of one that the journal has forgotten begins without producers:
    /// that one's file would be taken for this one's (simulator seed 85010341). It is kept in `salvage`.
    async fn put_old_producers_away(&self) -> Result<(), WriteError> {
        let dir = &self.inner.dir;
        if dir.salvage(self.found(), PRODUCERS).await? {
            self.env().probe().reached("storage_producers_put_away");
            dir.sync_folder(&self.inner.folder()).await?;
        }
        Ok(())
    }

    /// Closes a segment behind whose end a full disk left bytes that nobody counts, so that no crash
    /// makes them count. The next append begins another. What counts is durable with its envelopes.
    pub(super) async fn close_spoiled(&self, upkeep: &mut Upkeep) -> Result<(), WriteError> {
        self.env().probe().reached("storage_spoiled_segment_closed");
        let (changes, void) = {
            let shared = self.inner.shared.lock();
            let void = shared.active().filter(|segment| segment.bytes == 0).map(|s| s.name);
            let change = match void {
                Some(void) => Some(Change::Swap { drop: vec![void], add: Vec::new() }),
                None => shared.active().map(|segment| Change::Close(segment.summary())),
            };
            (change.into_iter().chain([shared.flushed()]).collect(), void)
        };
        self.inner.dir.commit(self.found(), changes).await?;
        upkeep.env_bytes = 0;
        let reserves = self.reserves();
        let gone = self.end_active(void);
        self.give_back_reserved(reserves).await;
        Ok(self.remove_segments(&gone).await?)
    }

    fn end_active(&self, void: Option<SegmentName>) -> Vec<SegmentName> {
        let mut shared = self.inner.shared.lock();
        let below = self.let_go_below(shared.start);
        shared.end_active(void, below)
    }

    /// Up to where segments go that are ended.
    fn let_go_below(&self, start: Offset) -> Offset {
        // Planted: one that lay below the start when it was ended stays until the start moves again.
        if self.env().probe().mutant("ended_segment_stays") { Offset::ZERO } else { start }
    }

    /// Removes the files of a segment that the journal will not name.
    async fn without_room(
        &self,
        error: WriteError,
        name: SegmentName,
    ) -> Result<WriteError, DirectoryFailed> {
        if matches!(error, WriteError::Full(_)) {
            self.env().probe().reached("storage_segment_found_no_room");
            self.remove_segments(&[name]).await?;
        }
        Ok(error)
    }

    /// Journals the epochs that begin within `batches`, which are about to be written.
    pub(super) async fn begin_epochs(&self, batches: &[BatchHeader]) -> Result<(), WriteError> {
        let mut epochs = self.inner.shared.lock().epochs.clone();
        let mut changes = Vec::new();
        for header in batches {
            let (epoch, start) = (LeaderEpoch(header.partition_leader_epoch), header.base_offset);
            if epochs.begin(epoch, start) {
                changes.push(Change::Epoch { epoch, start });
            }
        }
        if !changes.is_empty() {
            self.inner.dir.commit(self.found(), changes).await?;
            self.inner.shared.lock().epochs = epochs;
        }
        Ok(())
    }

    /// Notes, durably, that `epoch` begins at the log's end. An epoch that is not newer is ignored.
    /// Nothing may be appended meanwhile.
    ///
    /// # Errors
    /// The directory failed, or its journal found no room.
    pub async fn begin_epoch(&self, epoch: LeaderEpoch) -> Result<(), WriteError> {
        let mut upkeep = self.inner.upkeep.lock().await;
        self.check()?;
        let (mut epochs, start) = {
            let shared = self.inner.shared.lock();
            (shared.epochs.clone(), shared.end)
        };
        if !epochs.begin(epoch, start) {
            return Ok(());
        }
        self.flush_held(&mut upkeep).await?;
        let flushed = self.inner.shared.lock().flushed();
        let changes = vec![Change::Epoch { epoch, start }, flushed];
        self.inner.dir.commit(self.found(), changes).await?;
        self.inner.shared.lock().epochs = epochs;
        Ok(())
    }

    /// Ends the segment that grows, so that it can be let go of; the next append begins another one.
    /// False if there is none, or somebody is appending: then it is not the time.
    ///
    /// # Errors
    /// The directory failed, or its disk is full.
    pub async fn close_segment(&self) -> Result<bool, WriteError> {
        let mut upkeep = self.inner.upkeep.lock().await;
        self.check()?;
        {
            let mut shared = self.inner.shared.lock();
            if shared.appending || shared.active().is_none() {
                return Ok(false);
            }
            shared.closing = true;
        }
        let _closing = ClosingGuard(self);
        self.close_held(&mut upkeep).await.map(|()| true)
    }

    async fn close_held(&self, upkeep: &mut Upkeep) -> Result<(), WriteError> {
        self.save_producers(upkeep).await?;
        let changes = {
            let shared = self.inner.shared.lock();
            let close = shared.active().map(|segment| Change::Close(segment.summary()));
            close.into_iter().chain([shared.flushed()]).collect()
        };
        self.inner.dir.commit(self.found(), changes).await?;
        self.env().probe().reached("storage_segment_closed_at_rest");
        let reserves = self.reserves();
        let gone = self.end_active(None);
        self.give_back_reserved(reserves).await;
        Ok(self.remove_segments(&gone).await?)
    }

    /// Moves the log's start up (never down, never past the end), durably, and removes segments
    /// that end before it.
    ///
    /// # Errors
    /// The directory failed, or its journal found no room.
    pub async fn set_log_start(&self, start: Offset) -> Result<(), WriteError> {
        let mut upkeep = self.inner.upkeep.lock().await;
        self.check()?;
        let (start, flushed, forgets) = {
            let shared = self.inner.shared.lock();
            if start.min(shared.end) <= shared.start {
                return Ok(());
            }
            let start = start.min(shared.end);
            (start, shared.flushed_end, shared.forgets_producers(start))
        };
        if flushed < start {
            self.flush_held(&mut upkeep).await?;
        }
        if forgets {
            match self.save_producers(&mut upkeep).await {
                // Room has to be made all the same.
                Ok(_) | Err(WriteError::Full(_)) => {},
                Err(failed) => return Err(failed),
            }
        }
        let (gone, flushed) = {
            let shared = self.inner.shared.lock();
            let gone = shared.segments.iter().filter(|s| !s.open && s.end <= start);
            (gone.map(|segment| segment.name).collect::<Vec<_>>(), shared.flushed())
        };
        // Planted: the files go before it is certain that nobody needs them.
        let early = self.env().probe().mutant("unlink_before_drop_flushed");
        if early {
            self.remove_segments(&gone).await?;
        }
        // Planted: a restart forgets that somebody asked for it.
        if !self.env().probe().mutant("log_start_not_durable") {
            self.inner.dir.commit(self.found(), vec![Change::LogStart(start), flushed]).await?;
        }
        {
            let mut shared = self.inner.shared.lock();
            shared.start = start;
            if let Some(rare) = shared.rare.as_deref_mut() {
                rare.unreadable = rare.unreadable.filter(|at| *at >= start);
            }
            if let Some(rare) = &mut shared.rare {
                rare.faulty.retain(|range| range.to > start);
            }
            shared.segments.retain(|segment| !gone.contains(&segment.name));
            let first = shared.segments.first().map_or(start, |first| first.name.base.min(start));
            shared.epochs.forget_before(first);
        }
        if !early {
            self.remove_segments(&gone).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_segments(
        &self,
        gone: &[SegmentName],
    ) -> Result<(), DirectoryFailed> {
        if gone.is_empty() {
            return Ok(());
        }
        let disk = self.env().disk();
        for file in gone.iter().flat_map(|name| [name.log(), name.env()]) {
            let path = self.inner.folder().join(file);
            match disk.remove(&path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.inner.dir.fail("remove", &path, &error));
                },
                Ok(()) | Err(_) => {},
            }
        }
        self.inner.dir.sync_folder(&self.inner.folder()).await
    }
}

/// Lets appends use the open segment again, also if closing it was given up halfway.
struct ClosingGuard<'a, E: Env>(&'a Log<E>);

impl<E: Env> Drop for ClosingGuard<'_, E> {
    fn drop(&mut self) {
        self.0.inner.shared.lock().closing = false;
    }
}

impl<F> Shared<F> {
    /// Whether batches that the producers' file does not know go with the segments below `start`, so
    /// that no start could find their producers again.
    fn forgets_producers(&self, start: Offset) -> bool {
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.segments.iter().partition(|segment| !segment.open && segment.end <= start);
        let kept: u64 = kept.iter().map(|segment| u64::from(segment.bytes)).sum();
        !gone.is_empty() && self.state_age_bytes > kept
    }

    /// Nothing is added any more to the segment that grows. Returns those that the journal does not
    /// name from now on: `void`, and what ends at or below the log's `start`.
    fn end_active(&mut self, void: Option<SegmentName>, start: Offset) -> Vec<SegmentName> {
        if let Some(segment) = self.active_mut() {
            segment.open = false;
        }
        let is_gone = |segment: &SegmentState<F>| {
            Some(segment.name) == void || (!segment.open && segment.end <= start)
        };
        let gone = self.segments.iter().filter(|segment| is_gone(segment));
        let gone = gone.map(|segment| segment.name).collect();
        self.segments.retain(|segment| !is_gone(segment));
        gone
    }
}

impl<F> SegmentState<F> {
    /// A segment without a byte.
    pub(super) fn empty(name: SegmentName, file: F) -> Self {
        Self {
            name,
            end: name.base,
            bytes: 0,
            open: true,
            max_timestamp: None,
            first_timestamp: None,
            file: Some(file),
            runs: Some(Vec::new()),
            enveloped: 0,
            run_open: false,
            spoiled: false,
            reserved: 0,
        }
    }
}

/// Creates the two files of a segment. The caller makes their entries durable.
async fn create_segment<E: Env>(
    dir: &DirShared<E>,
    folder: &Path,
    name: SegmentName,
) -> Result<FileOf<E>, WriteError> {
    let disk = dir.env.disk();
    let failed = |error| dir.refuse("create a segment in", folder, &error);
    let log = disk.open(&folder.join(name.log()), Access::CreateNew).await.map_err(failed)?;
    disk.open(&folder.join(name.env()), Access::CreateNew).await.map_err(failed)?;
    Ok(log)
}
