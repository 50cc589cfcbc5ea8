//! The index of a closed segment that has lost its envelopes, made anew by who reads from it.
//!
//! Invariants: what is damaged is noted as such and hides only itself, as far as the lengths of the
//! batches lead around it; headers are enough as long as they follow each other, and otherwise a batch
//! counts only with its checksum, at its place among the others.

use base::Offset;
use env::File;
use records::BatchHeader;

use super::batches::{Located, Walk, WalkError};
use super::recover::FaultyRange;
use super::scan::is_sound;
use crate::envelope::{Run, add_batch};

/// Most damaged ranges that are told apart in one segment; behind them nothing of it counts.
const GAPS_MAX: usize = 64;

/// What is known of the segment without its index.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) bytes: u32,
    /// Whether it may have been compacted, so that offsets may be missing.
    pub(super) may_have_holes: bool,
}

/// An index that is being made.
pub(super) struct Reindex {
    extent: Extent,
    pub(super) runs: Vec<Run>,
    pub(super) faulty: Vec<FaultyRange>,
    /// One past the last batch that counts.
    next: Offset,
    /// Whether something is damaged behind it.
    gap: bool,
    /// Whether the last run may grow.
    open: bool,
    /// A sound batch that counts if the next one does not contradict it: its base offset is under no
    /// checksum.
    pending: Option<Located>,
}

impl Reindex {
    /// The runs of a segment of which `runs` are known, from its beginning on.
    ///
    /// # Errors
    /// The operating system refused a read.
    pub(super) async fn make<F: File>(
        file: &F,
        extent: Extent,
        runs: Vec<Run>,
    ) -> Result<Self, WalkError> {
        let next = runs.last().map_or(extent.base, Run::end);
        let new = |runs| Self {
            extent,
            runs,
            faulty: Vec::new(),
            next,
            gap: false,
            open: false,
            pending: None,
        };
        let from = runs.last().map_or(0, |run| u64::from(run.end_position()));
        let mut walk = Walk::new(file.clone(), from, u64::from(extent.bytes), next);
        let mut by_headers = new(runs.clone());
        if by_headers.take_headers(&mut walk).await? {
            return Ok(by_headers);
        }
        let mut by_checksums = new(runs);
        by_checksums.take_bodies(&mut walk, from).await?;
        Ok(by_checksums)
    }

    /// Whether the headers follow each other to the end.
    async fn take_headers<F: File>(&mut self, walk: &mut Walk<F>) -> Result<bool, WalkError> {
        loop {
            match walk.header().await {
                Ok(Some(batch)) if self.follows(&batch.header) => self.take(&batch),
                Ok(None) => return Ok(self.extent.may_have_holes || self.next == self.extent.end),
                Err(error @ WalkError::Io(_)) => return Err(error),
                Ok(Some(_)) | Err(WalkError::NotABatch | WalkError::Truncated) => return Ok(false),
            }
        }
    }

    async fn take_bodies<F: File>(
        &mut self,
        walk: &mut Walk<F>,
        mut at: u64,
    ) -> Result<(), WalkError> {
        let end = u64::from(self.extent.bytes);
        while at < end && self.faulty.len() < GAPS_MAX {
            // Its place among the others is looked at here.
            walk.go_on_at(at, Offset::ZERO);
            let found = match walk.header().await {
                Ok(Some(batch)) => {
                    let body = walk.body(&batch).await;
                    (
                        body.as_ref().is_ok_and(is_sound),
                        Some(batch),
                        batch.end_position(),
                        body.err(),
                    )
                },
                Ok(None) => break,
                Err(error) => (false, None, walk.end_by_length(at).await?, Some(error)),
            };
            let (sound, batch, behind, error) = found;
            if let Some(error @ WalkError::Io(_)) = error {
                return Err(error);
            }
            match batch.filter(|_| sound) {
                Some(batch) => self.offer(batch),
                None => self.damage(),
            }
            if behind <= at || behind > end {
                break;
            }
            at = behind;
        }
        self.settle();
        let is_missing = self.gap || at < end || !self.extent.may_have_holes;
        if is_missing && self.next < self.extent.end {
            self.faulty.push(FaultyRange { from: self.next, to: self.extent.end });
        }
        Ok(())
    }

    /// Takes in a sound batch. If it and the one before contradict each other, it is in the wrong place;
    /// or, if that one skipped offsets, nobody knows which of the two is, and neither counts.
    fn offer(&mut self, batch: Located) {
        if let Some(before) = self.pending.take() {
            let skips = before.header.base_offset > self.next;
            let (next, gap) = (self.next, self.gap);
            (self.next, self.gap) = (before.header.next_offset(), false);
            let fits_behind = self.follows(&batch.header);
            (self.next, self.gap) = (next, gap);
            if fits_behind || !skips {
                self.take(&before);
            }
            if !fits_behind {
                self.gap = true;
                return;
            }
        }
        if self.follows(&batch.header) {
            self.pending = Some(batch);
        } else {
            self.gap = true;
        }
    }

    /// Something that is no sound batch.
    fn damage(&mut self) {
        self.settle();
        self.gap = true;
    }

    fn settle(&mut self) {
        if let Some(batch) = self.pending.take() {
            self.take(&batch);
        }
    }

    /// Whether a batch may be the next one.
    fn follows(&self, header: &BatchHeader) -> bool {
        let may_skip = self.gap || self.extent.may_have_holes;
        let base = header.base_offset;
        let is_next = base == self.next || (may_skip && base > self.next);
        is_next && header.last_offset() < self.extent.end
    }

    fn take(&mut self, batch: &Located) {
        let base = batch.header.base_offset;
        if self.gap {
            if self.next < base {
                self.faulty.push(FaultyRange { from: self.next, to: base });
            }
            (self.gap, self.open) = (false, false);
        }
        let position = u32::try_from(batch.position).unwrap_or(u32::MAX);
        let len = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        add_batch(&mut self.runs, &mut self.open, &batch.header, position, len);
        self.next = batch.header.next_offset();
    }
}
