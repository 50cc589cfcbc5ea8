//! New segments in the place of old ones.
//!
//! Invariants: the new files, their envelopes and their directory entries are durable before the
//! journal names them; one record lets go of the old segments and names the new ones, so a crash
//! finds the ones or the others; what it leaves out lies below the offset that the log is noted as
//! compacted up to, in the same commit; the old files are removed after that record is durable, and who
//! still reads from them may finish. What is discarded was never named.

use std::io;

use base::{Offset, Probe};
use bytes::Bytes;
use env::{Access, Disk, Env, File, IoBufs};
use records::BatchView;

use super::compact::CompactError;
use super::{FileOf, Log, SegmentState};
use crate::config::SEGMENT_BYTES_MAX;
use crate::envelope::encode_slot;
use crate::error::{DirectoryFailed, WriteError};
use crate::journal::Change;
use crate::names::SegmentName;

/// New segments are written in pieces of about this size.
const PIECE_BYTES: usize = 1024 * 1024;

/// Segments that are being written and that nobody knows of yet.
pub(super) struct Output<'a, E: Env> {
    log: &'a Log<E>,
    /// The offsets that the new segments stand for.
    base: Offset,
    end: Offset,
    bytes_max: u64,
    segments: Vec<SegmentState<FileOf<E>>>,
    /// Bytes of the last segment that are not written yet.
    bufs: IoBufs,
    pending: usize,
    written: u64,
}

impl<'a, E: Env> Output<'a, E> {
    /// For what stays of the offsets from `base` to `end`, in segments of `bytes_max`.
    pub(super) fn new(log: &'a Log<E>, base: Offset, end: Offset, bytes_max: u64) -> Self {
        let bytes_max = bytes_max.min(SEGMENT_BYTES_MAX);
        let (segments, bufs) = (Vec::new(), IoBufs::new());
        Self { log, base, end, bytes_max, segments, bufs, pending: 0, written: 0 }
    }

    /// Adds a batch.
    pub(super) async fn push(&mut self, batch: BatchView) -> Result<(), CompactError> {
        let len = batch.bytes().len();
        let base = batch.header().base_offset;
        let grown = self.segments.last().map(|segment| {
            u64::from(segment.bytes).saturating_add(u64::try_from(len).unwrap_or(u64::MAX))
        });
        match grown {
            Some(bytes) if bytes <= self.bytes_max => {},
            Some(_) => {
                self.flush().await?;
                self.begin(base).await?;
            },
            None => self.begin(self.base).await?,
        }
        let Some(segment) = self.segments.last_mut() else { unreachable!("one was begun") };
        let bytes = u32::try_from(len).unwrap_or(u32::MAX);
        segment.take_batch(batch.header(), bytes, self.log.env().wall());
        self.pending += len;
        self.bufs.push(batch.into_bytes());
        if self.pending >= PIECE_BYTES { self.write().await } else { Ok(()) }
    }

    /// Makes everything durable. The segments are complete and still nobody knows of them.
    pub(super) async fn finish(mut self) -> Result<Vec<SegmentState<FileOf<E>>>, CompactError> {
        if let Err(error) = self.seal().await {
            self.discard().await?;
            return Err(error);
        }
        let mut ends: Vec<Offset> = self.segments.iter().skip(1).map(|s| s.name.base).collect();
        ends.push(self.end);
        for (segment, end) in self.segments.iter_mut().zip(ends) {
            (segment.open, segment.run_open, segment.end) = (false, false, end);
            segment.enveloped = segment.runs.as_ref().map_or(0, Vec::len);
        }
        Ok(self.segments)
    }

    /// Removes what was written.
    pub(super) async fn discard(self) -> Result<(), DirectoryFailed> {
        let names: Vec<SegmentName> = self.segments.iter().map(|segment| segment.name).collect();
        drop(self.segments);
        self.log.remove_segments(&names).await
    }

    async fn seal(&mut self) -> Result<(), CompactError> {
        self.flush().await?;
        let probe = self.log.env().probe();
        if !self.segments.is_empty() && !probe.mutant("swap_before_flush") {
            self.log.inner.dir.sync_folder(&self.log.inner.folder()).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, base: Offset) -> Result<(), CompactError> {
        let name = SegmentName { base, seg_gen: self.log.inner.dir.next_seg_gen() };
        let file = self.create(name.log()).await?;
        self.segments.push(SegmentState::empty(name, file));
        self.written = 0;
        Ok(())
    }

    async fn create(&self, name: String) -> Result<FileOf<E>, CompactError> {
        let path = self.log.inner.folder().join(name);
        let created = self.log.env().disk().open(&path, Access::CreateNew).await;
        created.map_err(|error| self.refused("create", error))
    }

    async fn write(&mut self) -> Result<(), CompactError> {
        let Some(file) = self.segments.last().and_then(|segment| segment.file.clone()) else {
            return Ok(());
        };
        let bufs = std::mem::take(&mut self.bufs);
        let result = file.append(self.written, bufs).await;
        result.map_err(|error| self.refused("write", error))?;
        self.written += u64::try_from(std::mem::take(&mut self.pending)).unwrap_or(0);
        Ok(())
    }

    /// Makes the last segment durable: its bytes, then the envelopes that vouch for them.
    async fn flush(&mut self) -> Result<(), CompactError> {
        if self.pending > 0 {
            self.write().await?;
        }
        let Some(segment) = self.segments.last() else {
            return Ok(());
        };
        // Planted: the journal names segments whose bytes may still be lost.
        let unsynced = self.log.env().probe().mutant("swap_before_flush");
        if let Some(file) = segment.file.as_ref().filter(|_| !unsynced) {
            self.log.sync(file).await?;
        }
        let owner = self.log.owner(segment.name);
        let runs = segment.runs.as_deref().unwrap_or_default();
        let slots: Vec<u8> = runs.iter().flat_map(|run| encode_slot(&owner, run)).collect();
        let env = self.create(segment.name.env()).await?;
        let written = env.append(0, IoBufs::from_iter([Bytes::from(slots)])).await;
        written.map_err(|error| self.refused("write", error))?;
        if !unsynced {
            self.log.sync(&env).await?;
        }
        Ok(())
    }

    /// Nothing was promised of these files, so a full disk only ends the cleaning; any other error
    /// says that the disk cannot be trusted.
    fn refused(&self, what: &'static str, error: io::Error) -> CompactError {
        let refused = self.log.inner.dir.refuse(what, &self.log.inner.folder(), &error);
        if matches!(refused, WriteError::Full(_)) {
            self.log.env().probe().reached("storage_compaction_disk_full");
        }
        refused.into()
    }
}

impl<E: Env> Log<E> {
    /// Puts `new` in the place of `old`, and notes up to where the log is compacted. If the log or
    /// one of the old segments went meanwhile, the new ones go.
    pub(super) async fn swap(
        &self,
        old: &[SegmentName],
        new: Vec<SegmentState<FileOf<E>>>,
        cleaned: Offset,
    ) -> Result<(), CompactError> {
        let _upkeep = self.inner.upkeep.lock().await;
        self.env().seam("storage_swap").await;
        let added: Vec<SegmentName> = new.iter().map(|segment| segment.name).collect();
        let stays = {
            let shared = self.inner.shared.lock();
            !shared.closed && old.iter().all(|name| shared.has(*name))
        };
        self.inner.dir.check()?;
        if !stays {
            self.env().probe().reached("storage_compaction_overtaken");
            self.remove_segments(&added).await?;
            return Err(CompactError::Interrupted);
        }
        let probe = self.env().probe();
        let early = probe.mutant("unlink_before_swap_flushed");
        if early {
            self.remove_segments(old).await?;
        }
        let add = new.iter().map(SegmentState::summary).collect();
        let swap = (!old.is_empty()).then(|| Change::Swap { drop: old.to_vec(), add });
        let further = cleaned > self.inner.shared.lock().cleaned;
        let noted = further.then_some(Change::Cleaned(cleaned));
        let changes: Vec<_> = swap.into_iter().chain(noted).collect();
        if changes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.inner.dir.commit(self.found(), changes).await {
            if matches!(error, WriteError::Full(_)) {
                self.remove_segments(&added).await?;
            }
            return Err(error.into());
        }
        let mut gone = old.to_vec();
        {
            let mut shared = self.inner.shared.lock();
            let start = shared.start;
            let replaced = shared.segments.iter().filter(|segment| old.contains(&segment.name));
            let upto = replaced.map(|segment| segment.end).max();
            shared.segments.retain(|segment| !old.contains(&segment.name));
            // The log's start may have moved beyond what a new segment holds.
            gone.extend(new.iter().filter(|segment| segment.end <= start).map(|s| s.name));
            shared.segments.extend(new.into_iter().filter(|segment| segment.end > start));
            shared.segments.sort_by_key(|segment| segment.name);
            shared.cleaned = shared.cleaned.max(cleaned);
            let _forgotten = upto.map(|upto| shared.tail.forget_before(upto));
            shared.unload_but(super::roll::LOADED_MAX);
        }
        if !old.is_empty() {
            probe.reached("storage_compacted");
        }
        if !early {
            self.env().seam("storage_swapped").await;
            self.remove_segments(&gone).await?;
        }
        Ok(())
    }
}
