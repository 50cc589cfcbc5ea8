//! The recovery point: envelopes for what is durable, and the producers' snapshot.
//!
//! Invariants: everything here holds the upkeep lock; an envelope is written after the sync of its
//! bytes in the segment and never before; the journal keeps a batch until then; the producers'
//! file holds no batch beyond what was durable when it was written; what finds no room on a full
//! disk is written at the same place the next time.

use std::sync::Arc;

use base::{Offset, Probe};
use bytes::Bytes;
use env::{Access, Disk, Env, File, IoBufs};

use super::{Log, SegmentState, Upkeep};
use crate::config::STATE_BYTES;
use crate::dir::Found;
use crate::envelope::{Owner, encode_slot};
use crate::error::{DirectoryFailed, WriteError};
use crate::journal::{Change, Record, SegmentSummary};
use crate::names::{PRODUCERS, SegmentName};
use crate::producers::{ProducerSnapshot, encode_snapshot};
use crate::replace::replace;

impl<E: Env> Log<E> {
    pub(crate) fn found(&self) -> Found {
        Found { partition: self.inner.partition, replica_gen: self.inner.replica_gen }
    }

    /// # Errors
    /// The directory failed, or the log was deleted.
    pub(super) fn check(&self) -> Result<(), DirectoryFailed> {
        self.inner.dir.check()?;
        if self.inner.shared.lock().closed {
            return Err(self.inner.dir.gone(self.found()));
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
    /// [`WriteError::Full`]: everything is durable, only the recovery point is not there yet. Or
    /// the directory failed.
    pub async fn checkpoint(&self) -> Result<Offset, WriteError> {
        let mut upkeep = self.inner.upkeep.lock().await;
        let mut end = self.checkpoint_held(&mut upkeep).await?;
        if self.inner.shared.lock().is_spoiled() {
            // What came while that sync was under way is not durable yet, and a segment that is closed
            // counts as durable. Nobody appends to a spoiled one (simulator seed 2002697).
            end = self.checkpoint_held(&mut upkeep).await?;
            self.close_spoiled(&mut upkeep).await?;
        }
        let hasty = self.env().probe().buggify("storage_producers_often");
        let age = self.inner.shared.lock().state_age_bytes;
        if age >= STATE_BYTES || (hasty && age > 0) {
            self.save_producers(&mut upkeep).await?;
        }
        Ok(end)
    }

    /// As [`Log::checkpoint`], for whom it is enough that everything is durable.
    pub(super) async fn flush_held(&self, upkeep: &mut Upkeep) -> Result<(), DirectoryFailed> {
        match self.checkpoint_held(upkeep).await {
            Ok(_) | Err(WriteError::Full(_)) => Ok(()),
            Err(WriteError::Failed(failed)) => Err(failed),
        }
    }

    pub(super) async fn checkpoint_held(&self, upkeep: &mut Upkeep) -> Result<Offset, WriteError> {
        self.check()?;
        let began = self.env().now();
        let (open, end, dirty_bytes, flushed) = {
            let mut shared = self.inner.shared.lock();
            let (end, dirty, flushed) = (shared.end, shared.dirty_bytes, shared.flushed_end);
            let open = shared.active_mut().map(|segment| {
                segment.run_open = false;
                let runs = segment.runs.as_deref().unwrap_or_default();
                let new = runs.get(segment.enveloped..).unwrap_or_default().to_vec();
                (segment.file.clone(), segment.name, new)
            });
            (open, end, dirty, flushed)
        };
        let Some((file, name, runs)) = open else {
            return Ok(end);
        };
        self.env().seam("storage_checkpoint").await;
        // Planted: the index runs ahead of what it vouches for.
        let early = self.env().probe().mutant("envelope_before_flush");
        if early {
            self.write_envelopes(upkeep, name, &runs).await?;
        }
        // Planted: what is durable in the journal counts as durable in its segment.
        let journaled = self.inner.shared.lock().journaled_end;
        let enough = self.env().probe().mutant("envelope_after_journal") && journaled >= end;
        if flushed < end && !enough {
            let Some(file) = file else { unreachable!("what is not durable keeps its file open") };
            self.sync(&file).await?;
            let mut shared = self.inner.shared.lock();
            // Planted: what was written during the sync counts as durable.
            let written = self.env().probe().mutant("flushed_is_written");
            let end = if written { shared.end } else { end };
            shared.flushed_end = shared.flushed_end.max(end);
        }
        self.inner.dir.check()?;
        if !early {
            self.write_envelopes(upkeep, name, &runs).await?;
        }
        self.inner.dir.journal.note_filed(self.found(), end);
        {
            let mut shared = self.inner.shared.lock();
            if let Some(segment) = shared.active_mut() {
                segment.enveloped += runs.len();
            }
            shared.dirty_bytes = shared.dirty_bytes.saturating_sub(dirty_bytes);
            shared.dirty_since = (shared.end > end).then_some(began);
        }
        if !runs.is_empty() {
            self.merge_envelopes(upkeep).await?;
        }
        Ok(end)
    }

    async fn write_envelopes(
        &self,
        upkeep: &mut Upkeep,
        name: SegmentName,
        runs: &[crate::envelope::Run],
    ) -> Result<(), WriteError> {
        if runs.is_empty() {
            return Ok(());
        }
        let path = self.inner.folder().join(name.env());
        let refused = |error| self.inner.dir.refuse("open", &path, &error);
        let mut runs = runs.to_vec();
        let env = match self.env().disk().open(&path, Access::Write).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Somebody took it away; memory has all of them.
                self.env().probe().reached("storage_envelopes_missing");
                let made = self.env().disk().open(&path, Access::CreateNew).await;
                let made = made.map_err(refused)?;
                self.inner.dir.sync_folder(&self.inner.folder()).await?;
                upkeep.env_bytes = 0;
                let shared = self.inner.shared.lock();
                let before = shared.active().map(|segment| {
                    let all = segment.runs.as_deref().unwrap_or_default();
                    all.get(..segment.enveloped).unwrap_or_default().to_vec()
                });
                runs.splice(0..0, before.unwrap_or_default());
                made
            },
            opened => opened.map_err(refused)?,
        };
        let owner = self.owner(name);
        let slots: Vec<u8> = runs.iter().flat_map(|run| encode_slot(&owner, run)).collect();
        let len = u64::try_from(slots.len()).unwrap_or(0);
        let bufs = IoBufs::from_iter([Bytes::from(slots)]);
        let result = env.append(upkeep.env_bytes, bufs).await;
        result
            .map_err(|e| self.inner.dir.refuse("write envelopes in", &self.inner.folder(), &e))?;
        self.sync(&env).await?;
        upkeep.env_bytes += len;
        Ok(())
    }

    /// Makes the log durable with its producers; nothing may be appended afterwards. Returns what
    /// the journal has to be told.
    pub(crate) async fn seal(&self) -> Result<Vec<Record>, WriteError> {
        let mut upkeep = self.inner.upkeep.lock().await;
        if self.inner.shared.lock().segments.is_empty() {
            self.check()?;
            return Ok(Vec::new());
        }
        let unchanged = {
            let shared = self.inner.shared.lock();
            let is_durable = shared.dirty_since.is_none() && shared.flushed_end == shared.end;
            (is_durable && shared.state_age_bytes == 0).then_some(shared.end)
        };
        let end = match unchanged {
            // What is on the disk is what would be written.
            Some(end) => end,
            // Planted: a stop says that all is durable, and leaves that to the kernel.
            None if self.env().probe().mutant("sealed_not_flushed") => self.end(),
            None => self.save_producers(&mut upkeep).await?,
        };
        let (log, start_id) = (self.found(), self.inner.dir.start.start_id);
        let shared = self.inner.shared.lock();
        let mut records = vec![Record { log, change: shared.flushed() }];
        let spoiled = shared.active().filter(|segment| segment.spoiled);
        // A segment that is closed counts as durable; what came while the producers were written need
        // not be. The next start looks at that log, and nothing was promised of what comes to a stop.
        let is_durable = |segment: &&SegmentState<_>| segment.end <= shared.flushed_end;
        let closes = spoiled.filter(|segment| segment.bytes > 0).filter(is_durable);
        let change = closes.map(|segment| Change::Close(segment.summary()));
        records.extend(change.map(|change| Record { log, change }));
        // Whoever appends meanwhile makes the next start look at the log, and so does a segment
        // that holds only what nobody counts.
        if shared.end == end && spoiled.is_some() == closes.is_some() {
            let bytes = shared.active().map_or(0, |segment| segment.bytes);
            records.push(Record { log, change: Change::Sealed { start_id, end, bytes } });
        }
        Ok(records)
    }

    /// Lets a flush and a cleaning that are under way finish; the log is about to be deleted.
    pub(crate) async fn close(&self) {
        let cleaning = {
            let _upkeep = self.inner.upkeep.lock().await;
            let mut shared = self.inner.shared.lock();
            shared.closed = true;
            shared.tail.clear();
            shared.dirty_since = None;
            shared.rare.as_ref().map(|rare| Arc::clone(&rare.cleaning))
        };
        // One that begins from here on finds the log closed.
        if let Some(cleaning) = cleaning {
            drop(cleaning.lock().await);
        }
    }

    /// After a start that had to look at batches: envelopes for what it took. The producers' file is
    /// left for the stop, or the end of the segment, if it is little that the next such start would
    /// read again for it: with many logs it is what takes longest.
    pub(super) async fn make_recovered_durable(
        &self,
        upkeep: &mut Upkeep,
    ) -> Result<(), WriteError> {
        let hasty = self.env().probe().buggify("storage_producers_at_start");
        let is_due = {
            let shared = self.inner.shared.lock();
            let age = shared.state_age_bytes;
            age > 0 && (hasty || age >= STATE_BYTES || !shared.faulty().is_empty())
        };
        if is_due {
            self.save_producers(upkeep).await?;
        } else {
            self.checkpoint_held(upkeep).await?;
        }
        Ok(())
    }

    /// Replaces the producers' snapshot by one as of now; what it speaks of is made durable first.
    /// Returns up to where it holds every batch.
    pub(super) async fn save_producers(&self, upkeep: &mut Upkeep) -> Result<Offset, WriteError> {
        self.check()?;
        let (snapshot, age) = {
            let mut shared = self.inner.shared.lock();
            let wall = self.env().wall();
            shared.producers.expire(wall, self.inner.dir.options.producer_expiration);
            let (upto, producers) = (shared.end, shared.producers.clone());
            (ProducerSnapshot { log: self.found(), upto, producers }, shared.state_age_bytes)
        };
        self.checkpoint_held(upkeep).await?;
        // Planted: the producers are those of now, with batches that are not durable.
        let snapshot = match self.env().probe().mutant("snapshot_holds_future") {
            true => ProducerSnapshot { producers: self.producers(), ..snapshot },
            false => snapshot,
        };
        self.put_producers(&snapshot).await?;
        let mut shared = self.inner.shared.lock();
        shared.state_age_bytes = shared.state_age_bytes.saturating_sub(age);
        Ok(snapshot.upto)
    }

    /// Puts a snapshot in the place of the one before.
    pub(super) async fn put_producers(
        &self,
        snapshot: &ProducerSnapshot,
    ) -> Result<(), WriteError> {
        let (bytes, folder) = (encode_snapshot(snapshot), self.inner.folder());
        let result = replace(self.env(), &folder, PRODUCERS, bytes).await;
        result.map_err(|error| self.inner.dir.refuse("write the producers in", &folder, &error))
    }
}

impl<F> super::Shared<F> {
    /// What of the log is durable in segments.
    pub(super) fn flushed(&self) -> Change {
        let end = self.flushed_end;
        Change::Flushed { end, high_watermark: self.high_watermark.min(end) }
    }

    /// Forgets files and indexes of the oldest closed segments beyond `count` loaded ones.
    pub(super) fn unload_but(&mut self, count: usize) {
        let loaded = |segment: &&mut SegmentState<F>| !segment.open && segment.runs.is_some();
        let too_many = self.segments.iter_mut().filter(loaded).count().saturating_sub(count);
        for segment in self.segments.iter_mut().filter(loaded).take(too_many) {
            segment.runs = None;
            segment.file = None;
        }
    }
}

impl<F> SegmentState<F> {
    pub(super) fn summary(&self) -> SegmentSummary {
        let (name, end, bytes) = (self.name, self.end, self.bytes);
        SegmentSummary { name, end, bytes, max_timestamp: self.max_timestamp }
    }
}
