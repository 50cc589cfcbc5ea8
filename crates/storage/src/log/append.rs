//! Appending: the one place where batches enter a log.
//!
//! Invariants: offsets continue where the log ends; an epoch is in the journal before its first
//! batch is written; memory changes only after the write returned; what `fsync` promises is
//! durable without a gap before it; an append that fails, or is dropped halfway, leaves a dead
//! directory and not a guess; one for which the disk has no room leaves whole batches, and behind
//! them in the file bytes that nobody counts: that segment gets no further batch.

use std::pin::pin;

use base::{Instant, LeaderEpoch, Offset, Probe, Timestamp, invariant};
use bytes::{Bytes, BytesMut};
use env::{Env, File, IoBufs};
use records::BatchHeader;
use records::header::NO_TIMESTAMP;
use smallvec::SmallVec;

use super::{Append, Appended, FileOf, Log, SegmentState, Shared};
use crate::config::{
    COPY_BYTES_BELOW, Durability, FLUSH_BYTES, FLUSH_BYTES_HARD, JOINED_BYTES_BELOW,
    SEGMENT_BYTES_MAX,
};
use crate::dir::is_full;
use crate::envelope::add_batch;
use crate::error::{DirectoryFailed, WriteError};
use crate::journal::{Change, JournalBatch};
use crate::names::SegmentName;
use crate::tail::Allowance;

/// A batch's bytes in one or more pieces.
type Pieces = SmallVec<[Bytes; 2]>;

/// What is to be done for the next part of an append.
struct Ready {
    now: Instant,
    /// Batches that go into the open segment; none if there has to be another one.
    count: usize,
    /// Too much is not durable.
    must_flush: bool,
    begins_epoch: bool,
    /// Somebody reads at the end.
    keeps_tail: bool,
}

/// What goes into one segment with one write.
struct Chunk {
    bufs: IoBufs,
    batches: SmallVec<[(BatchHeader, Pieces); 1]>,
    /// Whether memory keeps it for readers at the end.
    keeps_tail: bool,
}

/// Where a chunk went.
struct Place {
    segment: SegmentName,
    position: u32,
    base: Offset,
    end: Offset,
    bufs: IoBufs,
}

impl<E: Env> Log<E> {
    /// Writes whole batches at the log's end. One append at a time (the caller's combining writer).
    /// Without `fsync` usually ready at the first poll; it waits only to begin a segment or an
    /// epoch, or when too much is not yet durable. Dropped halfway it kills the directory, so let
    /// it finish.
    ///
    /// # Errors
    /// [`WriteError::Full`]: no room for all of it; what is below [`Log::end`] is written, durable
    /// if that was asked for, and the rest is not there (a crash may bring it back). Or the
    /// directory failed, now or earlier; whether the batches will be seen after a restart is
    /// unknown.
    pub async fn append(&self, append: Append) -> Result<Appended, WriteError> {
        self.check()?;
        self.inner.dir.check_room()?;
        let guard = AppendGuard::begin(self);
        let durability = append.durability;
        let written = pin!(self.append_all(append)).await;
        match &written {
            Ok(()) => self.inner.dir.note_room(),
            Err(WriteError::Full(_)) if durability == Durability::Fsync => {
                Box::pin(self.flush()).await?;
            },
            Err(WriteError::Full(_) | WriteError::Failed(_)) => {},
        }
        // A sync may have failed meanwhile: then nothing is acknowledged, this append neither.
        self.inner.dir.check()?;
        guard.finish();
        written.map(|()| Appended { end: self.end() })
    }

    /// What is rare has its future in a box: the one of an append is moved into its place for each.
    async fn append_all(&self, append: Append) -> Result<(), WriteError> {
        let Append { mut bufs, batches, durability, owned } = append;
        let wall = self.env().wall();
        let mut last = None;
        let mut rest = batches.as_slice();
        while !rest.is_empty() {
            let ready = self.prepare(rest, wall);
            if ready.must_flush {
                self.env().probe().reached("storage_append_waits_for_flush");
                Box::pin(self.checkpoint()).await?;
            }
            if ready.count == 0 {
                // Closing a segment makes it durable, so that only the last chunk may not be.
                Box::pin(self.roll(&rest[0])).await?;
                continue;
            }
            let (now, later) = rest.split_at(ready.count);
            if ready.begins_epoch {
                Box::pin(self.begin_epochs(now)).await?;
            }
            let mut chunk = take_chunk(&mut bufs, now, owned || !ready.keeps_tail);
            chunk.keeps_tail = ready.keeps_tail;
            let keep = durability == Durability::Fsync;
            last = Some(pin!(self.write(chunk, (wall, ready.now), keep)).await?);
            rest = later;
        }
        invariant!(LOG_4, bufs.iter().all(Bytes::is_empty), "bytes without a batch header");
        if let (Durability::Fsync, Some(place)) = (durability, last) {
            Box::pin(self.make_durable(place)).await?;
        }
        Ok(())
    }

    /// What the next part of an append needs.
    fn prepare(&self, batches: &[BatchHeader], wall: Timestamp) -> Ready {
        let probe = self.env().probe();
        let dirty_max = if probe.buggify("storage_flush_bound") { 1 } else { FLUSH_BYTES_HARD };
        let now = self.env().now();
        let shared = self.inner.shared.lock();
        let count = self.fitting(&shared, batches, wall);
        let latest = shared.epochs.latest().map(|entry| entry.epoch.0);
        let last = batches.get(..count).and_then(<[_]>::last);
        Ready {
            now,
            count,
            must_flush: shared.dirty_bytes >= dirty_max,
            // Epochs only grow.
            begins_epoch: last.is_some_and(|last| Some(last.partition_leader_epoch) > latest),
            keeps_tail: shared.tail.is_wanted(now) && !probe.buggify("storage_tail_unwanted"),
        }
    }

    /// How many of `batches` go into the open segment; none means that it is full, or that there is
    /// none. Checks them.
    fn fitting(
        &self,
        shared: &Shared<FileOf<E>>,
        batches: &[BatchHeader],
        wall: Timestamp,
    ) -> usize {
        let usable = |segment: &&SegmentState<FileOf<E>>| !segment.spoiled && !shared.closing;
        let Some(segment) = shared.active().filter(usable) else {
            return 0;
        };
        let bytes_max = if self.env().probe().buggify("storage_segment_bytes") {
            512
        } else {
            shared.limits.segment_bytes.min(SEGMENT_BYTES_MAX)
        };
        let age_max = shared.limits.segment_ms;
        let mut bytes = u64::from(segment.bytes);
        let mut next = shared.end;
        let first = segment.first_timestamp;
        let mut epoch = shared.epochs.latest().map_or(LeaderEpoch(-1), |entry| entry.epoch);
        for (at, header) in batches.iter().enumerate() {
            invariant!(
                LOG_1,
                header.base_offset == next && header.last_offset_delta >= 0,
                "batch at {} where {next} comes next",
                header.base_offset
            );
            let header_epoch = LeaderEpoch(header.partition_leader_epoch);
            invariant!(LOG_2, header_epoch >= epoch, "epoch {header_epoch} after {epoch}");
            epoch = header_epoch;
            next = header.next_offset();
            let len = u64::try_from(header.len_bytes()).unwrap_or(u64::MAX);
            let time =
                if header.max_timestamp == NO_TIMESTAMP { wall } else { header.max_timestamp };
            let too_old = first.is_some_and(|first| time.0.saturating_sub(first.0) > age_max);
            if bytes > 0 && (too_old || bytes.saturating_add(len) > bytes_max) {
                return at;
            }
            bytes = bytes.saturating_add(len);
        }
        batches.len()
    }

    /// Writes a chunk; `keep` its bytes for who has to make them durable.
    async fn write(
        &self,
        chunk: Chunk,
        (wall, now): (Timestamp, Instant),
        keep: bool,
    ) -> Result<Place, WriteError> {
        let (file, segment, position, reserved, base) = {
            let shared = self.inner.shared.lock();
            let Some(segment) = shared.active() else { unreachable!("a segment was begun") };
            let file = segment.file.clone();
            (file, segment.name, segment.bytes, segment.reserved, shared.end)
        };
        let file = match file {
            Some(file) => file,
            None => Box::pin(self.open_active(segment)).await?,
        };
        let len: usize = chunk.bufs.iter().map(Bytes::len).sum();
        let behind = u64::from(position).saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        if u64::from(reserved) < behind {
            Box::pin(self.reserve(&file, behind)).await;
        }
        let bufs = if keep { chunk.bufs.clone() } else { IoBufs::new() };
        if let Err(error) = file.append(u64::from(position), chunk.bufs).await {
            if is_full(&error) {
                Box::pin(self.spoil(&file)).await;
            }
            return Err(self.inner.dir.refuse("append to", &self.inner.folder(), &error));
        }
        let (first_dirt, urgent, end) = {
            let mut shared = self.inner.shared.lock();
            let was_clean = shared.dirty_since.is_none();
            for (header, pieces) in chunk.batches {
                let pieces = chunk.keeps_tail.then_some(pieces);
                shared.take_batch(&header, pieces, (wall, now), self);
                if self.env().probe().buggify("storage_short_run")
                    && let Some(segment) = shared.active_mut()
                {
                    segment.run_open = false;
                }
            }
            (was_clean, shared.dirty_bytes >= FLUSH_BYTES, shared.end)
        };
        if first_dirt || urgent {
            self.inner.dir.note_dirty(self.found(), urgent);
        }
        Ok(Place { segment, position, base, end, bufs })
    }

    /// What the tail of this log may hold.
    pub(super) fn tail_allowance(&self, tiny: bool) -> Allowance<'_> {
        let gaps = self.env().probe().mutant("tail_with_a_gap");
        Allowance { budget: &self.inner.dir.tail_budget, tiny, gaps }
    }

    /// A part of a batch may lie behind the end of the open segment.
    async fn spoil(&self, file: &FileOf<E>) {
        self.env().probe().reached("storage_segment_spoiled");
        // Planted: what was written of the batch counts.
        let counts = self.env().probe().mutant("full_keeps_partial_batch");
        let len = if counts { file.len().await.ok() } else { None };
        if let Some(segment) = self.inner.shared.lock().active_mut() {
            segment.spoiled = !counts;
            let len = len.and_then(|len| u32::try_from(len).ok());
            segment.bytes = len.unwrap_or(segment.bytes);
        }
        self.inner.dir.note_dirty(self.found(), true);
    }

    /// Makes a chunk durable: through the journal, so that one flush serves many logs, or in its
    /// segment if the journal has no room for it or something before it is not durable.
    async fn make_durable(&self, place: Place) -> Result<(), DirectoryFailed> {
        let Place { segment, position, base, end, bufs } = place;
        let len: usize = bufs.iter().map(Bytes::len).sum();
        // Planted: what lies before it may not be durable.
        let no_gap = self.inner.shared.lock().durable_end() >= base
            || self.env().probe().mutant("fsync_with_gap");
        if !no_gap || !self.inner.dir.journal.has_room_for(len) {
            self.env().probe().reached("storage_fsync_by_segment");
            self.flush().await?;
            return Ok(());
        }
        self.env().probe().reached("storage_fsync_by_journal");
        let mut bytes = BytesMut::with_capacity(len);
        bufs.iter().for_each(|buf| bytes.extend_from_slice(buf));
        let (seg_gen, bytes) = (segment.seg_gen, bytes.freeze());
        let batch = JournalBatch { seg_gen, position, base, end, bytes };
        match self.inner.dir.commit(self.found(), vec![Change::Batch(batch)]).await {
            Ok(()) => {},
            Err(WriteError::Full(_)) => {
                self.env().probe().reached("storage_fsync_by_segment_when_full");
                self.flush().await?;
                return Ok(());
            },
            Err(WriteError::Failed(failed)) => return Err(failed),
        }
        // Planted: the journal lets go of batches before their segment is durable.
        if self.env().probe().mutant("batches_trimmed_early") {
            self.inner.dir.journal.note_filed(self.found(), end);
        }
        let mut shared = self.inner.shared.lock();
        shared.journaled_end = shared.journaled_end.max(end);
        Ok(())
    }
}

impl<F> Shared<F> {
    /// Notes a batch that was just written at the end.
    fn take_batch<E: Env>(
        &mut self,
        header: &BatchHeader,
        pieces: Option<Pieces>,
        (wall, now): (Timestamp, Instant),
        log: &Log<E>,
    ) {
        let bytes = u32::try_from(header.len_bytes()).unwrap_or(u32::MAX);
        if let Some(segment) = self.active_mut() {
            segment.take_batch(header, bytes, wall);
        }
        self.producers.apply(header, wall);
        self.note_marker(header);
        let offsets = (header.base_offset, header.last_offset());
        self.tail.push(offsets, pieces, now, log.tail_allowance(self.tiny_tail));
        self.end = header.next_offset();
        self.dirty_since.get_or_insert(now);
        self.dirty_bytes = self.dirty_bytes.saturating_add(u64::from(bytes));
        self.state_age_bytes = self.state_age_bytes.saturating_add(u64::from(bytes));
    }
}

impl<F> SegmentState<F> {
    /// Notes a batch that follows the segment's last one.
    pub(super) fn take_batch(&mut self, header: &BatchHeader, bytes: u32, wall: Timestamp) {
        let position = self.bytes;
        let runs = self.runs.get_or_insert_default();
        add_batch(runs, &mut self.run_open, header, position, bytes);
        self.bytes = position.saturating_add(bytes);
        self.end = header.next_offset();
        let time = header.max_timestamp;
        // A batch without records is kept for its producer; nobody can find a record in it.
        let timed = time != NO_TIMESTAMP && header.record_count > 0;
        if timed && self.max_timestamp.is_none_or(|(max, _)| time > max) {
            self.max_timestamp = Some((time, header.base_offset));
        }
        if self.first_timestamp.is_none() {
            self.first_timestamp = Some(if time == NO_TIMESTAMP { wall } else { time });
        }
    }
}

/// Takes the bytes of `batches` off the front of `bufs`. Small batches are copied together, so that
/// none of them keeps a whole receive buffer alive, and large ones stay where they are; what is
/// `owned`, or not kept, is copied only where that is cheaper than to name one more piece.
fn take_chunk(bufs: &mut IoBufs, batches: &[BatchHeader], owned: bool) -> Chunk {
    let of_batches = SmallVec::with_capacity(batches.len());
    let mut chunk = Chunk { bufs: IoBufs::new(), batches: of_batches, keeps_tail: true };
    if let [header] = batches
        && bufs.iter().map(Bytes::len).sum::<usize>() == header.len_bytes()
    {
        chunk.bufs = std::mem::take(bufs);
        if !owned && header.len_bytes() < COPY_BYTES_BELOW {
            let mut small = Vec::with_capacity(header.len_bytes());
            chunk.bufs.drain(..).for_each(|piece| small.extend_from_slice(&piece));
            chunk.bufs.push(small.into());
        }
        chunk.batches.push((*header, chunk.bufs.iter().cloned().collect()));
        return chunk;
    }
    let copied_below = if owned { JOINED_BYTES_BELOW } else { COPY_BYTES_BELOW };
    let mut source = bufs.drain(..).collect::<std::collections::VecDeque<_>>();
    let short = |header: &&BatchHeader| header.len_bytes() < copied_below;
    let copied = batches.iter().filter(short).map(BatchHeader::len_bytes).sum();
    let mut small = Vec::with_capacity(copied);
    let mut small_headers: Vec<BatchHeader> = Vec::new();
    for header in batches {
        let pieces = take_pieces(&mut source, header.len_bytes());
        if short(&header) {
            pieces.iter().for_each(|piece| small.extend_from_slice(piece));
            small_headers.push(*header);
            continue;
        }
        chunk.add_small(&mut small, &mut small_headers);
        chunk.bufs.extend(pieces.iter().cloned());
        chunk.batches.push((*header, pieces));
    }
    chunk.add_small(&mut small, &mut small_headers);
    bufs.extend(source);
    chunk
}

impl Chunk {
    fn add_small(&mut self, small: &mut Vec<u8>, headers: &mut Vec<BatchHeader>) {
        if headers.is_empty() {
            return;
        }
        let block = Bytes::from(std::mem::take(small));
        let mut at = 0;
        for header in headers.drain(..) {
            let end = at + header.len_bytes();
            self.batches.push((header, Pieces::from_iter([block.slice(at..end)])));
            at = end;
        }
        self.bufs.push(block);
    }
}

fn take_pieces(source: &mut std::collections::VecDeque<Bytes>, mut len: usize) -> Pieces {
    let mut pieces = Pieces::new();
    while len > 0 {
        let Some(front) = source.front_mut() else {
            invariant!(LOG_3, len == 0, "{len} bytes are missing for a batch header");
            break;
        };
        let piece = front.split_to(len.min(front.len()));
        if front.is_empty() {
            source.pop_front();
        }
        len -= piece.len();
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    pieces
}

/// Notices a second append, and one that was abandoned.
pub(super) struct AppendGuard<'a, E: Env> {
    log: &'a Log<E>,
    finished: bool,
}

impl<'a, E: Env> AppendGuard<'a, E> {
    pub(super) fn begin(log: &'a Log<E>) -> Self {
        let mut shared = log.inner.shared.lock();
        invariant!(LOG_5, !shared.appending, "two appends at a time");
        shared.appending = true;
        drop(shared);
        Self { log, finished: false }
    }

    pub(super) fn finish(mut self) {
        self.finished = true;
    }
}

impl<E: Env> Drop for AppendGuard<'_, E> {
    fn drop(&mut self) {
        let closed = {
            let mut shared = self.log.inner.shared.lock();
            shared.appending = false;
            shared.closed
        };
        if !self.finished && !closed && self.log.inner.dir.check().is_ok() {
            let error = std::io::Error::other("an append was abandoned halfway");
            self.log.inner.dir.fail("append to", &self.log.inner.folder(), &error);
        }
    }
}
