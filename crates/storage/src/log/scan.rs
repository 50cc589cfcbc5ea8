//! Looking at one segment file: its index from headers, its tail batch by batch.
//!
//! Invariants: in what may have been compacted headers are enough; everywhere else a batch counts only
//! with its checksum, at its offset, and in the epoch that the journal says it was written in; what
//! counts beyond the recovery point is written again.

use std::sync::Arc;

use base::{LeaderEpoch, Offset, Probe};
use bytes::Bytes;
use env::{Env, File, IoBufs};
use records::BatchHeader;
use records::batch::BatchView;

use super::batches::{Located, Walk, WalkError};
use super::recover::{Cut, Opening};
use super::run_walk::catch_up;
use super::{FileOf, SegmentState};
use crate::envelope::{Envelopes, encode_slot};
use crate::epochs::EpochStart;
use crate::error::OpenError;
use crate::names::SegmentName;
use crate::producers::ProducerStates;
use crate::replace::replace;

/// Recovered bytes are written again in pieces of about this size.
const REWRITE_BYTES: usize = 1024 * 1024;

/// A place in a segment: where a byte is, and the offset that goes there.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) offset: Offset,
}

/// Whether offsets may be missing between batches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holes {
    None,
    Possible,
}

impl<E: Env> Opening<E> {
    /// Adds the runs between what the envelopes cover and `end`: by headers alone where there may be
    /// `holes`. What was never compacted is checked as well: a damaged journal may have held what a power
    /// loss took of it (simulator seed 60006959).
    pub(super) async fn index(
        &mut self,
        segment: &mut SegmentState<FileOf<E>>,
        from: Place,
        end: u64,
        holes: Holes,
    ) -> Result<Place, OpenError> {
        let Some(file) = segment.file.clone().filter(|_| from.position < end) else {
            return Ok(from);
        };
        self.probe().reached("storage_index_rebuilt");
        let mut walk = Walk::new(file, from.position, end, from.offset);
        let wall = self.dir.env.wall();
        loop {
            let (position, next) = (walk.position(), walk.next_offset());
            match walk.header().await {
                Ok(Some(batch)) if holes == Holes::None && batch.header.base_offset != next => {
                    // The base offset is under no checksum.
                    walk.go_on_at(position, next);
                    break;
                },
                Ok(Some(batch)) => {
                    let is_whole = holes == Holes::Possible
                        || match walk.body(&batch).await {
                            // Its epoch is under no checksum either.
                            Ok(body) => {
                                let known = self.epoch_at(batch.header.base_offset);
                                is_sound(&body) && known == epoch_of(&batch.header)
                            },
                            Err(WalkError::Io(error)) => {
                                return Err(self.io("read", &self.folder)(error));
                            },
                            Err(WalkError::NotABatch | WalkError::Truncated) => false,
                        };
                    if !is_whole {
                        walk.go_on_at(position, next);
                        break;
                    }
                    let bytes = u32::try_from(batch.len()).unwrap_or(u32::MAX);
                    segment.take_batch(&batch.header, bytes, wall);
                },
                Err(WalkError::Io(error)) => {
                    return Err(self.io("read", &self.folder)(error));
                },
                Ok(None) | Err(WalkError::NotABatch | WalkError::Truncated) => break,
            }
        }
        segment.run_open = false;
        self.recovery.rebuilt_bytes += walk.read_bytes();
        Ok(Place { position: walk.position(), offset: walk.next_offset() })
    }

    /// Takes whole, sound, consecutive batches beyond the recovery point and writes them again.
    /// Returns whether one of a newer epoch than the journal knows follows: that epoch's record was
    /// durable before the batch was written, so it is lost.
    pub(super) async fn scan(
        &mut self,
        segment: &mut SegmentState<FileOf<E>>,
        file: &FileOf<E>,
        from: Place,
        end: u64,
    ) -> Result<bool, OpenError> {
        let mut walk = Walk::new(file.clone(), from.position, end, from.offset);
        let wall = self.dir.env.wall();
        let mut record_lost = false;
        let mut again = Rewrite { at: from.position, bufs: IoBufs::new(), bytes: 0 };
        let mut next = from.offset;
        let stop = loop {
            let batch = match walk.header().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break None,
                Err(WalkError::Io(error)) => return Err(self.io("read", &self.folder)(error)),
                Err(error) => break Some((walk.position(), error)),
            };
            let body = match walk.body(&batch).await {
                Ok(body) => body,
                Err(WalkError::Io(error)) => return Err(self.io("read", &self.folder)(error)),
                Err(error) => break Some((batch.position, error)),
            };
            let header = &batch.header;
            let (epoch, written_in) = (self.epoch_at(header.base_offset), epoch_of(header));
            let is_next = header.base_offset == next && is_sound(&body);
            if !is_next || epoch != written_in {
                record_lost = is_next && epoch < written_in;
                let at_end = batch.end_position() == end;
                let error = if at_end { WalkError::Truncated } else { WalkError::NotABatch };
                break Some((batch.position, error));
            }
            next = header.next_offset();
            segment.take_batch(header, u32::try_from(batch.len()).unwrap_or(u32::MAX), wall);
            self.recovery.scanned_bytes += batch.len();
            self.write_again(file, &mut again, Some((&batch, body))).await?;
        };
        self.write_again(file, &mut again, None).await?;
        if let Some((position, error)) = stop {
            let torn =
                matches!(error, WalkError::Truncated) || self.is_zero(file, position, end).await?;
            self.probe().reached(if torn {
                "storage_torn_tail_cut"
            } else {
                "storage_damaged_tail_cut"
            });
            self.recovery.cut = Some(Cut { at: next, bytes: end - position, torn });
        }
        if record_lost {
            self.probe().reached("storage_journal_record_missed");
        }
        Ok(record_lost)
    }

    /// Learns epochs from envelopes that the journal does not know: the record of one is durable before
    /// its first batch is written, so that it is lost, and without it sound batches would count no more
    /// once the envelopes are gone as well (simulator seed 83004144). Returns whether there are any.
    pub(super) fn learn_epochs(&mut self, envelopes: &Envelopes) -> bool {
        for run in &envelopes.runs {
            let (epoch, start) = (run.epoch, run.base);
            if self.known.epochs.latest().is_some_and(|latest| latest.epoch >= epoch) {
                continue;
            }
            if Arc::make_mut(&mut self.known).epochs.begin(epoch, start) {
                self.probe().reached("storage_epoch_learned");
                self.learned.push(EpochStart { epoch, start });
            }
        }
        !self.learned.is_empty()
    }

    /// The epoch that the journal says a batch was written in.
    fn epoch_at(&self, base: Offset) -> Option<LeaderEpoch> {
        let epoch = self.known.epochs.epoch_at(base);
        // Planted: the first epoch is no epoch.
        let zero = self.probe().mutant("epoch_zero_forgotten");
        epoch.filter(|epoch| epoch.0 > 0 || !zero)
    }

    /// Collects a batch to be written again, and writes when there is enough (or no batch).
    async fn write_again(
        &self,
        file: &FileOf<E>,
        again: &mut Rewrite,
        batch: Option<(&Located, Bytes)>,
    ) -> Result<(), OpenError> {
        let is_last = batch.is_none();
        if let Some((_, body)) = batch {
            again.bytes += body.len();
            again.bufs.push(body);
        }
        let enough = again.bytes >= REWRITE_BYTES || is_last;
        if !enough || again.bytes == 0 {
            return Ok(());
        }
        self.probe().reached("storage_tail_written_again");
        // Planted: what was read is believed to be on the disk.
        if self.probe().mutant("tail_trusted") {
            again.bufs.clear();
            again.bytes = 0;
            return Ok(());
        }
        let result = file.append(again.at, std::mem::take(&mut again.bufs)).await;
        result.map_err(|error| self.dir.fail("write again in", &self.folder, &error))?;
        again.bufs.clear();
        again.at += u64::try_from(std::mem::take(&mut again.bytes)).unwrap_or(0);
        Ok(())
    }

    async fn is_zero(&self, file: &FileOf<E>, mut at: u64, end: u64) -> Result<bool, OpenError> {
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(REWRITE_BYTES);
            let bytes = file.read_at(at, len).await.map_err(self.io("read", &self.folder))?;
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                return Ok(bytes.is_empty());
            }
            at += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        }
        Ok(true)
    }

    pub(super) async fn replace_envelopes(
        &self,
        segment: &SegmentState<FileOf<E>>,
    ) -> Result<(), OpenError> {
        let owner = self.owner(segment.name);
        let runs = segment.runs.as_deref().unwrap_or_default();
        let slots = runs.iter().flat_map(|run| encode_slot(&owner, run)).collect();
        let result = replace(&self.dir.env, &self.folder, &segment.name.env(), slots).await;
        result.map_err(|error| self.dir.fail("write envelopes in", &self.folder, &error))?;
        Ok(())
    }

    /// Brings a snapshot that holds every batch below `upto` up to the log's end.
    pub(super) async fn rebuild_producers(
        &mut self,
        upto: Offset,
        producers: ProducerStates,
        segments: &[SegmentState<FileOf<E>>],
    ) -> Result<ProducerStates, OpenError> {
        let range = (upto, Offset(i64::MAX));
        let caught_up = catch_up(&self.dir, self.found, segments, range, producers).await;
        let caught_up = caught_up.map_err(self.io("read", &self.folder))?;
        self.recovery.rebuilt_bytes += caught_up.read_bytes;
        self.recovery.untold = self.recovery.untold.or(caught_up.untold);
        Ok(caught_up.producers)
    }
}

/// Bytes waiting to be written again.
struct Rewrite {
    at: u64,
    bufs: IoBufs,
    bytes: usize,
}

fn epoch_of(header: &BatchHeader) -> Option<LeaderEpoch> {
    Some(LeaderEpoch(header.partition_leader_epoch))
}

/// Whether a batch is whole and its checksum holds.
pub(super) fn is_sound(body: &Bytes) -> bool {
    BatchView::parse(body).is_ok_and(|view| view.verify_stored().is_ok())
}

/// A segment as its envelopes describe the `len` bytes that are there, and how far they reach.
pub(super) fn from_envelopes<F: Clone>(
    name: SegmentName,
    file: &F,
    envelopes: &Envelopes,
    len: u64,
) -> (SegmentState<F>, Place) {
    let mut segment = SegmentState::empty(name, file.clone());
    let there = envelopes.runs.partition_point(|run| u64::from(run.end_position()) <= len);
    let runs = &envelopes.runs[..there];
    let max = runs.iter().map(|run| (run.max_timestamp, std::cmp::Reverse(run.base)));
    segment.max_timestamp = max.max().filter(|max| max.0.0 >= 0).map(|max| (max.0, max.1.0));
    segment.first_timestamp = runs.first().map(|run| run.max_timestamp);
    if let Some(last) = runs.last() {
        segment.bytes = last.end_position();
        segment.end = last.end();
    }
    segment.runs = Some(runs.to_vec());
    let reached = Place { position: u64::from(segment.bytes), offset: segment.end };
    (segment, reached)
}
