//! Opening a log after a crash: what the segments themselves say.
//!
//! Order: closed segments (durable as a whole, so only looked up or indexed), the last segment
//! (scanned beyond its recovery point), then the epoch history and the producers.

use base::{Offset, Probe};
use bytes::Bytes;
use env::{Access, Disk, Env, File, IoBufs};
use records::batch::BatchView;

use super::batches::{Located, Walk, WalkError};
use super::recover::{Cut, FaultyRange, Loaded, Opening, slots_len};
use super::{FileOf, SegmentState, Upkeep};
use crate::envelope::{Envelopes, encode_slot};
use crate::epochs::EpochHistory;
use crate::error::OpenError;
use crate::names::SegmentName;
use crate::producers::ProducerStates;
use crate::replace::replace;
use crate::state::{SegmentSummary, State};

/// Recovered bytes are written again in pieces of about this size.
const REWRITE_BYTES: usize = 1024 * 1024;

/// A place in a segment: where a byte is, and the offset that goes there.
#[derive(Clone, Copy)]
struct Place {
    position: u64,
    offset: Offset,
}

impl<E: Env> Opening<E> {
    pub(super) async fn load_unclean(
        &mut self,
        names: &[SegmentName],
        state: Option<State>,
    ) -> Result<Loaded<FileOf<E>>, OpenError> {
        self.probe().reached("storage_log_recovered");
        let mut faulty = state.as_ref().map(|state| state.faulty.clone()).unwrap_or_default();
        let Some((last, closed)) = names.split_last() else {
            return self.all_segments_gone(state).await;
        };
        let summaries = state.as_ref().map(|state| state.segments.as_slice()).unwrap_or_default();
        let mut segments = Vec::with_capacity(names.len());
        for (at, name) in closed.iter().enumerate() {
            let next_base = names[at + 1].base;
            segments.push(self.closed_segment(*name, next_base, summaries, &mut faulty).await?);
        }
        let summary = summaries.iter().find(|summary| summary.name == *last);
        let epochs = state.as_ref().map(|state| state.epochs.clone()).unwrap_or_default();
        let (segment, mut upkeep) = self.last_segment(*last, summary, &epochs, &mut faulty).await?;
        let end = segment.end;
        segments.push(segment);
        let durable = state.as_ref().map_or(end, |state| state.flushed_end);
        if durable > end {
            upkeep = self.bridge(&mut segments, durable).await?;
            self.note_faulty(&mut faulty, end, durable);
        }

        let first = names.first().map_or(Offset::ZERO, |name| name.base);
        let start = state.as_ref().map_or(first, |state| state.log_start);
        if first > start {
            self.note_faulty(&mut faulty, start, first);
        }
        let end = segments.last().map_or(start, |segment| segment.end);
        let epochs = rebuild_epochs(epochs, &segments, end);
        let high_watermark = state.as_ref().map_or(start, |state| state.high_watermark);
        let snapshot = state.map(|state| (state.producers_upto, state.producers));
        let (upto, snapshot) = snapshot.unwrap_or((first, ProducerStates::default()));
        let producers = self.rebuild_producers(upto, snapshot, &segments).await?;
        Ok(Loaded { segments, start, high_watermark, epochs, producers, faulty, upkeep })
    }

    /// The folder holds no segment: an interrupted creation, or the loss of everything.
    async fn all_segments_gone(
        &mut self,
        state: Option<State>,
    ) -> Result<Loaded<FileOf<E>>, OpenError> {
        let end = state.as_ref().map_or(Offset::ZERO, |state| state.flushed_end);
        let mut loaded = self.fresh(end).await?;
        self.recovery.recovery_point = end;
        if let Some(state) = state {
            loaded.start = state.log_start;
            loaded.epochs = state.epochs;
            loaded.faulty = state.faulty;
            if end > state.log_start {
                self.note_faulty(&mut loaded.faulty, state.log_start, end);
            }
        }
        Ok(loaded)
    }

    /// The newest segments are gone, and with them durable records. Their offsets are not used
    /// again: the log goes on behind them.
    async fn bridge(
        &mut self,
        segments: &mut Vec<SegmentState<FileOf<E>>>,
        durable: Offset,
    ) -> Result<Upkeep<FileOf<E>>, OpenError> {
        self.probe().reached("storage_segments_gone");
        if let Some(segment) = segments.last_mut() {
            self.replace_envelopes(segment).await?;
            segment.end = durable;
        }
        let next = self.fresh(durable).await?;
        segments.extend(next.segments);
        self.recovery.recovery_point = durable;
        Ok(next.upkeep)
    }

    fn note_faulty(&self, faulty: &mut Vec<FaultyRange>, from: Offset, to: Offset) {
        self.probe().reached("storage_durable_bytes_damaged");
        let range = FaultyRange { from, to };
        if !faulty.contains(&range) {
            faulty.push(range);
            faulty.sort_by_key(|range| range.from);
        }
    }

    /// A segment that has a successor: durable as a whole.
    async fn closed_segment(
        &mut self,
        name: SegmentName,
        next_base: Offset,
        summaries: &[SegmentSummary],
        faulty: &mut Vec<FaultyRange>,
    ) -> Result<SegmentState<FileOf<E>>, OpenError> {
        let (file, len) = self.open_segment(name, Access::Read).await?;
        let known = summaries.iter().find(|summary| {
            summary.name == name && summary.end == next_base && u64::from(summary.bytes) == len
        });
        if let Some(summary) = known {
            return Ok(SegmentState::unloaded(summary));
        }
        let envelopes = self.read_envelopes(name).await?;
        let (mut segment, indexed) = from_envelopes(name, &file, &envelopes, len);
        let reached = self.index(&mut segment, indexed, len).await?;
        if reached.position < len || reached.offset != next_base {
            self.note_faulty(faulty, reached.offset, next_base);
            segment.end = next_base;
        }
        if indexed.position < reached.position {
            self.replace_envelopes(&segment).await?;
        }
        Ok(segment)
    }

    /// The segment that was being written: index what was durable, scan what was not.
    async fn last_segment(
        &mut self,
        name: SegmentName,
        summary: Option<&SegmentSummary>,
        epochs: &EpochHistory,
        faulty: &mut Vec<FaultyRange>,
    ) -> Result<(SegmentState<FileOf<E>>, Upkeep<FileOf<E>>), OpenError> {
        let (file, len) = self.open_segment(name, Access::Write).await?;
        let envelopes = self.read_envelopes(name).await?;
        let durable = recovery_point(name, summary, &envelopes);
        let (mut segment, indexed) = from_envelopes(name, &file, &envelopes, len);
        let reached = self.index(&mut segment, indexed, len.min(durable.position)).await?;
        if reached.position < durable.position || reached.offset != durable.offset {
            self.note_faulty(faulty, reached.offset, durable.offset);
            segment.bytes = u32::try_from(durable.position).unwrap_or(u32::MAX);
            segment.end = durable.offset;
        }
        self.recovery.recovery_point = durable.offset;
        self.scan(&mut segment, &file, durable, len.max(durable.position), epochs).await?;
        if len != u64::from(segment.bytes) {
            let cut = file.set_len(u64::from(segment.bytes)).await;
            cut.map_err(|error| self.dir.fail("cut", &self.folder, &error))?;
        }
        // Always: an earlier start may have cut or written the same tail and died before it synced
        // (simulator seed 1771).
        let synced = file.sync_data().await;
        synced.map_err(|error| self.dir.fail("sync", &self.folder, &error))?;
        segment.run_open = false;
        segment.enveloped = envelopes.runs.len();
        if envelopes.damaged || indexed.position < durable.position {
            self.probe().reached("storage_envelopes_rewritten");
            self.replace_envelopes(&segment).await?;
            segment.enveloped = segment.runs.as_ref().map_or(0, Vec::len);
        }
        let path = self.folder.join(name.env());
        let env = self.dir.env.disk().open(&path, Access::Write).await;
        let env = env.map_err(self.io("open", &path))?;
        let env_bytes = slots_len(segment.enveloped);
        Ok((segment, Upkeep { env, env_bytes }))
    }

    /// Adds the runs between what the envelopes cover and `end`, by headers alone.
    async fn index(
        &mut self,
        segment: &mut SegmentState<FileOf<E>>,
        from: Place,
        end: u64,
    ) -> Result<Place, OpenError> {
        let Some(file) = segment.file.clone().filter(|_| from.position < end) else {
            return Ok(from);
        };
        self.probe().reached("storage_index_rebuilt");
        let mut walk = Walk::new(file, from.position, end, from.offset);
        let wall = self.dir.env.wall();
        loop {
            match walk.header().await {
                Ok(Some(batch)) => {
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
    async fn scan(
        &mut self,
        segment: &mut SegmentState<FileOf<E>>,
        file: &FileOf<E>,
        from: Place,
        end: u64,
        epochs: &EpochHistory,
    ) -> Result<(), OpenError> {
        let mut walk = Walk::new(file.clone(), from.position, end, from.offset);
        let wall = self.dir.env.wall();
        let mut epoch = epochs.latest().map_or(0, |entry| entry.epoch.0);
        epoch = epoch.max(segment.runs.iter().flatten().last().map_or(0, |run| run.epoch.0));
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
            let follows = header.base_offset == next && header.partition_leader_epoch >= epoch;
            if !follows || !is_sound(&body) {
                let at_end = batch.end_position() == end;
                let error = if at_end { WalkError::Truncated } else { WalkError::NotABatch };
                break Some((batch.position, error));
            }
            epoch = header.partition_leader_epoch;
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
        Ok(())
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

    async fn replace_envelopes(&self, segment: &SegmentState<FileOf<E>>) -> Result<(), OpenError> {
        let owner = self.owner(segment.name);
        let runs = segment.runs.as_deref().unwrap_or_default();
        let slots = runs.iter().flat_map(|run| encode_slot(&owner, run)).collect();
        let result = replace(&self.dir.env, &self.folder, &segment.name.env(), slots).await;
        result.map_err(|error| self.dir.fail("write envelopes in", &self.folder, &error))?;
        Ok(())
    }

    /// Brings a snapshot that holds every batch below `upto` up to the log's end.
    async fn rebuild_producers(
        &mut self,
        upto: Offset,
        mut producers: ProducerStates,
        segments: &[SegmentState<FileOf<E>>],
    ) -> Result<ProducerStates, OpenError> {
        let wall = self.dir.env.wall();
        for segment in segments.iter().filter(|segment| segment.end > upto) {
            let file = match &segment.file {
                Some(file) => file.clone(),
                None => self.open_segment(segment.name, Access::Read).await?.0,
            };
            let runs = segment.runs.as_deref().unwrap_or_default();
            let behind = runs.partition_point(|run| run.last < upto);
            let start = runs
                .get(behind)
                .map_or((0, segment.name.base), |run| (u64::from(run.position), run.base));
            let mut walk = Walk::new(file, start.0, u64::from(segment.bytes), start.1);
            loop {
                match walk.header().await {
                    Ok(Some(batch)) if batch.header.base_offset >= upto => {
                        producers.apply(&batch.header, wall);
                    },
                    Ok(Some(_)) => {},
                    Err(WalkError::Io(error)) => {
                        return Err(self.io("read", &self.folder)(error));
                    },
                    Ok(None) => break,
                    Err(WalkError::NotABatch | WalkError::Truncated) => {
                        self.probe().reached("storage_producers_behind_damage");
                        break;
                    },
                }
            }
            self.recovery.rebuilt_bytes += walk.read_bytes();
        }
        producers.expire(wall, self.dir.options.producer_expiration);
        Ok(producers)
    }
}

/// Bytes waiting to be written again.
struct Rewrite {
    at: u64,
    bufs: IoBufs,
    bytes: usize,
}

fn is_sound(body: &Bytes) -> bool {
    BatchView::parse(body).is_ok_and(|view| view.verify_stored().is_ok())
}

/// A segment as its envelopes describe the `len` bytes that are there, and how far they reach.
fn from_envelopes<F: Clone>(
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

/// Up to where the segment was durable: what the envelopes or the state file say, whichever is
/// further.
fn recovery_point(
    name: SegmentName,
    summary: Option<&SegmentSummary>,
    envelopes: &Envelopes,
) -> Place {
    let mut durable = Place { position: 0, offset: name.base };
    let by_envelopes = envelopes.last_valid.map(|run| (run.end_position(), run.end()));
    let by_state = summary.map(|summary| (summary.bytes, summary.end));
    for (position, offset) in [by_envelopes, by_state].into_iter().flatten() {
        if u64::from(position) > durable.position {
            durable = Place { position: u64::from(position), offset };
        }
    }
    durable
}

/// The history of the state file, continued by what the batches say.
fn rebuild_epochs<F>(
    mut epochs: EpochHistory,
    segments: &[SegmentState<F>],
    end: Offset,
) -> EpochHistory {
    for run in segments.iter().filter_map(|segment| segment.runs.as_ref()).flatten() {
        epochs.begin(run.epoch, run.base);
    }
    epochs.cut(end);
    epochs
}
