//! Walking the batches of a segment and holding them against the runs that describe them.
//!
//! Owns: the check of what no checksum covers. A batch's base offset and epoch lie outside its CRC, so
//! that it is sound only if it is where the batch before ended, or where its run begins, and of its
//! run's epoch.
//! Invariants: a batch that does not fit its run is damage, whatever its own bytes say; no producer is
//! known by a batch whose checksum does not hold.

use base::{Offset, Probe};
use env::{Access, Disk, Env, File};

use super::batches::{Located, Walk, WalkError};
use super::scan::is_sound;
use super::{FileOf, SegmentState};
use crate::dir::{DirShared, Found};
use crate::envelope::{Owner, Run, decode_file};
use crate::producers::ProducerStates;
use crate::replace::read_whole;

/// A walk, and the runs it goes through, in order.
pub(super) struct RunWalk<F> {
    walk: Walk<F>,
    runs: Vec<Run>,
    /// The run of the last batch.
    at: usize,
}

impl<F: File> RunWalk<F> {
    /// From the first of `runs` on, up to `end`. What lies behind the last of them is not checked.
    pub(super) fn new(file: F, runs: Vec<Run>, end: u64, base: Offset) -> Self {
        let (position, base) = runs.first().map_or((0, base), |run| (run.position, run.base));
        Self { walk: Walk::new(file, u64::from(position), end, base), runs, at: 0 }
    }

    /// Through `runs` alone.
    pub(super) fn within(file: F, runs: Vec<Run>) -> Self {
        let end = runs.last().map_or(0, Run::end_position);
        Self::new(file, runs, u64::from(end), Offset::ZERO)
    }

    /// The next batch's header; `None` at the end.
    pub(super) async fn header(&mut self) -> Result<Option<Located>, WalkError> {
        let next = self.walk.next_offset();
        let batch = match self.walk.header().await? {
            Some(batch) => batch,
            None => return Ok(None),
        };
        while self.runs.get(self.at).is_some_and(|run| end_of(run) <= batch.position) {
            self.at += 1;
        }
        match self.runs.get(self.at) {
            Some(run) if !fits(run, &batch, next) => {
                // The walk is not to go on from what it says.
                self.walk.go_on_at(batch.position, next);
                Err(WalkError::NotABatch)
            },
            Some(_) | None => Ok(Some(batch)),
        }
    }

    /// Goes on with the next run, behind damage. `false`: there is none.
    pub(super) fn skip_damage(&mut self) -> bool {
        let position = self.walk.position();
        let Some(run) = self.runs.iter().find(|run| u64::from(run.position) > position) else {
            return false;
        };
        self.walk.go_on_at(u64::from(run.position), run.base);
        true
    }

    /// The walk itself, for the bytes that it has read.
    pub(super) fn inner(&mut self) -> &mut Walk<F> {
        &mut self.walk
    }
}

fn end_of(run: &Run) -> u64 {
    u64::from(run.end_position())
}

/// Whether a batch is one that `run` speaks of. The one before ended at `next`.
fn fits(run: &Run, batch: &Located, next: Offset) -> bool {
    let (base, last) = (batch.header.base_offset, batch.header.last_offset());
    let is_first = batch.position == u64::from(run.position);
    let follows =
        if is_first { base == run.base } else { base == next || (run.has_holes && base > next) };
    let ends = match batch.end_position().cmp(&end_of(run)) {
        std::cmp::Ordering::Less => last < run.last,
        std::cmp::Ordering::Equal => last == run.last,
        std::cmp::Ordering::Greater => false,
    };
    follows && ends && batch.header.partition_leader_epoch == run.epoch.0
}

/// Brings `producers`, who hold every batch below `from`, up to `to`. A damaged batch tells of none: its
/// producer may write it again. Goes on behind one whose end is not known where the next run begins.
/// Also returns how many bytes were read.
pub(super) async fn catch_up<E: Env>(
    dir: &DirShared<E>,
    log: Found,
    segments: &[SegmentState<FileOf<E>>],
    (from, to): (Offset, Offset),
    mut producers: ProducerStates,
) -> std::io::Result<(ProducerStates, u64)> {
    let (wall, folder) = (dir.env.wall(), dir.folder(log));
    let mut read_bytes = 0;
    let wanted = |s: &&SegmentState<FileOf<E>>| s.end > from && s.name.base < to && s.bytes > 0;
    for segment in segments.iter().filter(wanted) {
        let file = match &segment.file {
            Some(file) => file.clone(),
            None => dir.env.disk().open(&folder.join(segment.name.log()), Access::Read).await?,
        };
        let mut runs = match &segment.runs {
            Some(runs) => runs.clone(),
            None => {
                let Found { partition, replica_gen } = log;
                let owner = Owner { partition, replica_gen, seg_gen: segment.name.seg_gen };
                let slots = read_whole(&dir.env, &folder.join(segment.name.env())).await?;
                decode_file(&owner, segment.name.base, &slots.unwrap_or_default()).runs
            },
        };
        runs.retain(|run| run.end_position() <= segment.bytes);
        runs.drain(..runs.partition_point(|run| run.last < from));
        let mut walk = RunWalk::new(file, runs, u64::from(segment.bytes), segment.name.base);
        loop {
            match walk.header().await {
                Ok(Some(batch)) if batch.header.base_offset >= to => break,
                Ok(Some(batch)) if batch.header.base_offset >= from => {
                    // A header alone may have rotted into that of another producer (simulator seed
                    // 8200041).
                    match walk.inner().body(&batch).await {
                        Ok(body) if is_sound(&body) => producers.apply(&batch.header, wall),
                        Err(WalkError::Io(error)) => return Err(error),
                        Ok(_) | Err(_) => passes_damage(dir, log, batch.header.base_offset),
                    }
                },
                Ok(Some(_)) => {},
                Ok(None) => break,
                Err(WalkError::Io(error)) => return Err(error),
                Err(WalkError::NotABatch | WalkError::Truncated) => {
                    passes_damage(dir, log, walk.inner().next_offset());
                    if !walk.skip_damage() {
                        break;
                    }
                },
            }
        }
        read_bytes += walk.inner().read_bytes();
    }
    producers.expire(wall, dir.options.producer_expiration);
    Ok((producers, read_bytes))
}

/// A batch at `offset` or soon behind it is damaged, and with it what its producer wrote.
fn passes_damage<E: Env>(dir: &DirShared<E>, log: Found, offset: Offset) {
    dir.env.probe().reached("storage_producers_behind_damage");
    let partition = log.partition;
    tracing::warn!(%partition, %offset, "a damaged batch tells of no producer, and is written again if it is sent again");
}
