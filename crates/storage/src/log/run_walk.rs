//! Walking the batches of a segment and holding them against the runs that describe them.
//!
//! Owns: the check of what no checksum covers. A batch's base offset and epoch lie outside its CRC, so
//! that it is sound only if it is where the batch before ended, or where its run begins, and of its
//! run's epoch.
//! Invariants: a batch that does not fit its run is damage, whatever its own bytes say; no producer is
//! known by a batch whose checksum does not hold; damage is passed over and told once a log.

use std::io;

use base::{Offset, Probe, Timestamp};
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

/// Damaged batches that were passed over by who looked for producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    /// How many there are, as far as that is known: what follows a damaged header is not counted.
    pub batches: u64,
    /// The offset of the first one.
    pub first: Offset,
}

/// What [`catch_up`] found.
#[derive(Default)]
pub(super) struct CaughtUp {
    pub(super) producers: ProducerStates,
    /// How many bytes were read.
    pub(super) read_bytes: u64,
    /// Batches that tell of no producer.
    pub(super) untold: Option<Untold>,
}

impl CaughtUp {
    /// A batch at `offset` or soon behind it is damaged, and with it what its producer wrote.
    fn pass(&mut self, offset: Offset) {
        let untold = self.untold.get_or_insert(Untold { batches: 0, first: offset });
        untold.batches = untold.batches.saturating_add(1);
    }
}

/// Brings `producers`, who hold every batch below `from`, up to `to`. A damaged batch tells of none: its
/// producer may write it again. Goes on behind one whose end is not known where the next run begins.
///
/// # Errors
/// A read failed. That is no damage: the producers are there, and who forgot them would let their
/// records in twice.
pub(super) async fn catch_up<E: Env>(
    dir: &DirShared<E>,
    log: Found,
    segments: &[SegmentState<FileOf<E>>],
    (from, to): (Offset, Offset),
    producers: ProducerStates,
) -> io::Result<CaughtUp> {
    let wall = dir.env.wall();
    let mut caught_up = CaughtUp { producers, ..CaughtUp::default() };
    let wanted = |s: &&SegmentState<FileOf<E>>| s.end > from && s.name.base < to;
    for segment in segments.iter().filter(wanted) {
        if segment.bytes == 0 {
            if segment.name.base < segment.end {
                caught_up.pass(segment.name.base.max(from));
            }
            continue;
        }
        let mut walk = walk_of(dir, log, segment, from).await?;
        caught_up.walk(&mut walk, (from, to), wall).await?;
        caught_up.read_bytes += walk.inner().read_bytes();
    }
    if let Some(Untold { batches, first }) = caught_up.untold {
        dir.env.probe().reached("storage_producers_behind_damage");
        let partition = log.partition;
        tracing::warn!(%partition, batches, %first, "damaged batches tell of no producer, and are written again if they are sent again");
    }
    caught_up.producers.expire(wall, dir.options.producer_expiration);
    Ok(caught_up)
}

/// Through what a segment has from `from` on.
async fn walk_of<E: Env>(
    dir: &DirShared<E>,
    log: Found,
    segment: &SegmentState<FileOf<E>>,
    from: Offset,
) -> io::Result<RunWalk<FileOf<E>>> {
    let folder = dir.folder(log);
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
    Ok(RunWalk::new(file, runs, u64::from(segment.bytes), segment.name.base))
}

impl CaughtUp {
    /// Takes in the batches of a walk that begin at `from` or behind it, and below `to`.
    async fn walk<F: File>(
        &mut self,
        walk: &mut RunWalk<F>,
        (from, to): (Offset, Offset),
        wall: Timestamp,
    ) -> io::Result<()> {
        loop {
            let batch = match walk.header().await {
                Ok(Some(batch)) if batch.header.base_offset >= to => return Ok(()),
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(()),
                Err(WalkError::Io(error)) => return Err(error),
                Err(WalkError::NotABatch | WalkError::Truncated) => {
                    self.pass(walk.inner().next_offset());
                    if walk.skip_damage() {
                        continue;
                    }
                    return Ok(());
                },
            };
            if batch.header.base_offset < from {
                continue;
            }
            // A header alone may have rotted into that of another producer (simulator seed 8200041).
            match walk.inner().body(&batch).await {
                Ok(body) if is_sound(&body) => self.producers.apply(&batch.header, wall),
                Err(WalkError::Io(error)) => return Err(error),
                Ok(_) | Err(_) => self.pass(batch.header.base_offset),
            }
        }
    }
}
