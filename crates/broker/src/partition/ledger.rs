//! What a partition's lock guards: offsets, producers, and who waits for what.
//!
//! Owns: the next offset to assign, batches not yet handed to the log, appenders and readers that
//! wait. Invariants: `high_watermark <= end <= next`; an offset is assigned once; whoever set
//! `writing` takes runs until none is left; a waiter is completed with success only by a run that
//! the log has written ([`Ledger::written`]), durably if any of its batches was accepted under
//! `fsync`; after a failure nothing is accepted or acknowledged; after a full disk the ledger is as
//! the log is, as if what found no room had never come.
//! Pure: the caller hands in time and carries out what is returned after the lock is released.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{LeaderEpoch, Offset, Probe, Timestamp};
use bytes::{Bytes, BytesMut};
use records::{BatchHeader, BatchView, Patch, Patched, Stamp};
use smallvec::SmallVec;
use storage::{Durability, ProducerBatch, ProducerStates, Verdict};
use tokio::sync::{Notify, oneshot};

use crate::api::{ActiveProducer, ProduceError};
use crate::partition::awaited::Awaited;
use crate::partition::readers::{Readers, Signal};

/// Batches of one partition that wait for its writer; more are refused.
pub(crate) const PENDING_BATCHES_MAX: usize = 16 * 1024;
/// Bytes of one partition that wait for its writer; more are refused.
pub(crate) const PENDING_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Batches written by one append.
const RUN_BATCHES_MAX: usize = 64;
/// Bytes written by one append, unless one batch is larger.
const RUN_BYTES_MAX: usize = 1024 * 1024;

/// Whether the partition takes batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does.
    Open,
    /// The broker stops: what is pending is still written.
    Stopping,
    /// The topic was deleted.
    Deleted,
    /// A write failed: the log's end is unknown.
    Failed,
}

/// The answer to an append, once it is written.
pub(crate) type Written = Result<(), ProduceError>;

struct Appender {
    /// Written as soon as the log ends here or later.
    end: Offset,
    done: oneshot::Sender<Written>,
}

/// A batch that waits for the writer.
struct Pending {
    batch: Patched,
    /// What its acknowledgement means: the mode in force when it was accepted.
    durability: Durability,
}

/// Everything accepted up to a moment; inside is who tells that it is written, if it is not.
#[derive(Debug)]
pub(crate) struct Accepted(pub(crate) Option<oneshot::Receiver<Written>>);

/// What the lock guards.
pub(crate) struct Ledger {
    pub(crate) fate: Fate,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) log_start: Offset,
    /// One past the last offset assigned.
    next: Offset,
    /// One past the last record written.
    pub(crate) end: Offset,
    pub(crate) high_watermark: Offset,
    /// Producers as they are once everything pending is written.
    producers: ProducerStates,
    /// What the acknowledgement of a batch accepted now means.
    durability: Durability,
    writing: bool,
    /// Who waits, from the first time on that somebody does: most partitions are at rest.
    waiting: Option<Box<Waiting>>,
}

/// What waits at a partition.
#[derive(Default)]
struct Waiting {
    /// Refused first batches of producers that the ledger does not know.
    awaited: Awaited,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Small batches are copied into this, one behind the other.
    block: Block,
    /// By `end`, smallest first.
    appenders: VecDeque<Appender>,
    readers: Readers,
    /// Told when a writer has nothing more to do; there once somebody waits for that.
    idle: Option<Arc<Notify>>,
}

impl Waiting {
    /// Takes out who waits for the log to end at `end` or earlier.
    fn take_appenders(&mut self, end: Offset) -> Appenders {
        let done = self.appenders.partition_point(|appender| appender.end <= end);
        self.appenders.drain(..done).map(|appender| appender.done).collect()
    }
}

/// Usually it is one.
type Appenders = SmallVec<[oneshot::Sender<Written>; 2]>;

/// Batches for one append.
pub(crate) struct Run {
    pub(crate) batches: SmallVec<[Patched; 1]>,
    pub(crate) bytes: usize,
    /// One past its last record.
    pub(crate) end: Offset,
    /// The strongest promise among its batches.
    pub(crate) durability: Durability,
    /// Where small batches go; given back with [`Ledger::keep_block`].
    pub(crate) block: Block,
}

/// Memory for small batches, so that few allocations serve many of them. It grows with use: a
/// partition with one batch has no more than that.
#[derive(Debug, Default)]
pub(crate) struct Block {
    free: BytesMut,
    bytes: usize,
}

impl Block {
    /// Bytes of a block at most.
    const BYTES_MAX: usize = 64 * 1024;

    /// The batch, copied.
    pub(crate) fn copy(&mut self, batch: &Patched) -> Bytes {
        self.room_for(batch.len_bytes());
        batch.write_to(&mut self.free);
        self.free.split().freeze()
    }

    /// The part of the batch that was not received.
    pub(crate) fn copy_head(&mut self, batch: &Patched) -> Bytes {
        self.room_for(batch.head().len());
        self.free.extend_from_slice(batch.head());
        self.free.split().freeze()
    }

    fn room_for(&mut self, len: usize) {
        if self.free.capacity() < len {
            self.bytes = self.bytes.saturating_mul(2).min(Self::BYTES_MAX).max(len);
            self.free = BytesMut::with_capacity(self.bytes);
        }
    }
}

/// A batch that has its offset.
#[derive(Debug)]
pub(crate) struct Enqueued {
    pub(crate) base_offset: Offset,
    /// Largest timestamp as stored (the append time, where the topic has one).
    pub(crate) timestamp: Timestamp,
    pub(crate) log_start: Offset,
    /// Completed when the batch is written; `None` if it is already.
    pub(crate) done: Option<oneshot::Receiver<Written>>,
    /// The caller must write.
    pub(crate) writer: bool,
    /// The batch came before, and these are that one's.
    pub(crate) duplicate: bool,
}

/// Appenders to be told after the lock is released.
pub(crate) struct Completed {
    appenders: Appenders,
    outcome: Written,
}

impl Completed {
    /// Tells them. One that has stopped waiting is passed over.
    pub(crate) fn tell(self) {
        for done in self.appenders {
            drop(done.send(self.outcome.clone()));
        }
    }
}

impl Ledger {
    pub(crate) fn new(
        epoch: LeaderEpoch,
        start: Offset,
        end: Offset,
        producers: ProducerStates,
        durability: Durability,
    ) -> Self {
        Self {
            fate: Fate::Open,
            epoch,
            log_start: start,
            next: end,
            end,
            high_watermark: end,
            producers,
            durability,
            writing: false,
            waiting: None,
        }
    }

    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// Takes out who waits for the log to end at `end` or earlier.
    fn take_appenders(&mut self, end: Offset) -> Appenders {
        self.waiting.as_mut().map(|waiting| waiting.take_appenders(end)).unwrap_or_default()
    }

    /// Parks a reader; see [`Readers::park`].
    pub(crate) fn park(&mut self, signal: &Arc<Signal>, room: usize) -> Option<u64> {
        self.waiting().readers.park(signal, room)
    }

    /// Takes a reader off the list.
    pub(crate) fn leave_readers(&mut self, id: u64) {
        self.waiting().readers.leave(id);
    }

    /// Something happened that every reader must see.
    pub(crate) fn wake_readers(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.readers.wake_all();
        }
    }

    /// Gives a checked batch its offset, or finds the one it has.
    pub(crate) fn enqueue<P: Probe>(
        &mut self,
        batch: &BatchView,
        now: Timestamp,
        probe: &P,
    ) -> Result<Enqueued, ProduceError> {
        self.check_fate()?;
        let numbered = ProducerBatch::of(batch.header());
        match numbered.map(|numbered| self.producers.check(&numbered)) {
            Some(Verdict::Append) if numbered.is_some_and(|n| self.holds_back(&n)) => {
                probe.reached("produce_before_refused_first");
                return Err(ProduceError::OutOfOrderSequence);
            },
            // Planted: after the largest sequence comes none.
            Some(Verdict::Append)
                if probe.mutant("sequence_does_not_wrap")
                    && numbered.is_some_and(|n| n.last_sequence < n.first_sequence) =>
            {
                return Err(ProduceError::OutOfOrderSequence);
            },
            None | Some(Verdict::Append) => {},
            // Planted: only the last batch of a producer is remembered.
            Some(Verdict::Duplicate(kept))
                if probe.mutant("last_batch_kept_only") && !self.is_newest(batch, kept) =>
            {
                return Err(ProduceError::OutOfOrderSequence);
            },
            // Planted: what was sent before is out of order.
            Some(Verdict::Duplicate(_)) if probe.mutant("duplicate_out_of_order") => {
                return Err(ProduceError::OutOfOrderSequence);
            },
            Some(Verdict::Duplicate(kept)) => {
                probe.reached("produce_duplicate");
                let done = self.wait_for(Offset(kept.last_offset.0.saturating_add(1)));
                if done.is_some() {
                    probe.reached("produce_duplicate_of_pending");
                    // Planted: what is not written yet has no offset to answer with.
                    if probe.mutant("duplicate_is_error") {
                        return Err(ProduceError::OutOfOrderSequence);
                    }
                }
                let (base_offset, timestamp) = (kept.base_offset, kept.timestamp);
                let log_start = self.log_start;
                return Ok(Enqueued {
                    base_offset,
                    timestamp,
                    log_start,
                    done,
                    writer: false,
                    duplicate: true,
                });
            },
            // Planted: a gap is let in.
            Some(Verdict::OutOfOrder { expected })
                if probe.mutant("sequence_gap_accepted")
                    && numbered.is_some_and(|n| n.first_sequence > expected) => {},
            Some(Verdict::OutOfOrder { .. }) => {
                probe.reached("produce_out_of_order");
                return Err(ProduceError::OutOfOrderSequence);
            },
            Some(Verdict::Fenced { .. }) => {
                probe.reached("produce_fenced");
                return Err(ProduceError::ProducerFenced);
            },
        }
        let waiting = self.waiting();
        let bytes = waiting.pending_bytes.saturating_add(batch.bytes().len());
        let full = waiting.pending.len() >= PENDING_BATCHES_MAX || bytes > PENDING_BYTES_MAX;
        if full || (!waiting.pending.is_empty() && probe.buggify("produce_pending_full")) {
            probe.reached("produce_overloaded");
            self.refused(batch, now);
            return Err(ProduceError::Overloaded);
        }
        Ok(self.assign(batch, now, bytes))
    }

    fn holds_back(&self, batch: &ProducerBatch) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.awaited.holds_back(batch))
    }

    /// For the mutant `last_batch_kept_only`: whether no later batch of its producer is known.
    fn is_newest(&self, batch: &BatchView, kept: storage::KeptBatch) -> bool {
        let id = ProducerBatch::of(batch.header()).map(|numbered| numbered.id);
        let mut producers = self.producers.iter().filter(|(known, _)| Some(*known) == id);
        producers.all(|(_, state)| state.batches.back() == Some(&kept))
    }

    /// A batch was refused: what its producer sent behind it is not to come first.
    pub(crate) fn refused(&mut self, batch: &BatchView, now: Timestamp) {
        let numbered = ProducerBatch::of(batch.header());
        if let Some(numbered) = numbered.filter(|batch| !self.producers.knows(batch.id)) {
            self.waiting().awaited.refused(&numbered, now);
        }
    }

    fn assign(&mut self, batch: &BatchView, now: Timestamp, bytes: usize) -> Enqueued {
        let base_offset = self.next;
        let patch = Patch { base_offset, leader_epoch: self.epoch, stamp: Stamp::Keep };
        let patched = batch.patched(&patch);
        self.next = patched.header().next_offset();
        self.producers.apply(patched.header(), now);
        let (timestamp, durability) = (patched.header().max_timestamp, self.durability);
        let waiting = self.waiting();
        if let Some(numbered) = ProducerBatch::of(patched.header()) {
            waiting.awaited.came(&numbered);
        }
        waiting.pending.push_back(Pending { batch: patched, durability });
        waiting.pending_bytes = bytes;
        let done = self.wait_for(self.next);
        let writer = !std::mem::replace(&mut self.writing, true);
        let log_start = self.log_start;
        Enqueued { base_offset, timestamp, log_start, done, writer, duplicate: false }
    }

    fn check_fate(&self) -> Result<(), ProduceError> {
        match self.fate {
            Fate::Open => Ok(()),
            Fate::Stopping => Err(ProduceError::Stopping),
            Fate::Deleted => Err(ProduceError::UnknownPartition),
            Fate::Failed => Err(ProduceError::StorageFailed),
        }
    }

    /// From now on the acknowledgement of a batch means this. If it means more than before, returns
    /// everything accepted so far: a duplicate of it is acknowledged without being written again.
    pub(crate) fn set_durability(&mut self, durability: Durability) -> Option<Accepted> {
        let before = std::mem::replace(&mut self.durability, durability);
        let stronger = before == Durability::Replicated && durability == Durability::Fsync;
        stronger.then(|| Accepted(self.wait_for(self.next)))
    }

    /// Completed when the log ends at `end` or later; `None` if it does.
    fn wait_for(&mut self, end: Offset) -> Option<oneshot::Receiver<Written>> {
        if end <= self.end {
            return None;
        }
        let (done, waits) = oneshot::channel();
        let appenders = &mut self.waiting().appenders;
        let at = appenders.partition_point(|appender| appender.end <= end);
        appenders.insert(at, Appender { end, done });
        Some(waits)
    }

    /// What the writer writes next; `None` ends its work.
    pub(crate) fn take_run(&mut self) -> Option<Run> {
        let durability = Durability::Replicated;
        let mut run = Run {
            batches: SmallVec::new(),
            bytes: 0,
            end: self.end,
            durability,
            block: Block::default(),
        };
        let Some(waiting) = &mut self.waiting else {
            self.writing = false;
            return None;
        };
        while let Some(next) = waiting.pending.front() {
            let bytes = run.bytes.saturating_add(next.batch.len_bytes());
            let full = run.batches.len() >= RUN_BATCHES_MAX || bytes > RUN_BYTES_MAX;
            if full && !run.batches.is_empty() {
                break;
            }
            run.bytes = bytes;
            run.end = next.batch.header().next_offset();
            if next.durability == Durability::Fsync {
                run.durability = Durability::Fsync;
            }
            run.batches.extend(waiting.pending.pop_front().map(|next| next.batch));
        }
        waiting.pending_bytes = waiting.pending_bytes.saturating_sub(run.bytes);
        if run.batches.is_empty() {
            self.writing = false;
            return None;
        }
        run.block = std::mem::take(&mut waiting.block);
        Some(run)
    }

    /// Keeps what is left of a run's block for the next one.
    pub(crate) fn keep_block(&mut self, block: Block) {
        self.waiting().block = block;
    }

    /// The log has written a run that ends at `end`.
    pub(crate) fn written(&mut self, end: Offset, bytes: usize) -> Completed {
        base::invariant!(LOG_1, end >= self.end && end <= self.next, "{end} after {}", self.end);
        self.end = end;
        // One replica: written by all in-sync replicas is written by this one.
        self.high_watermark = end;
        if let Some(waiting) = &mut self.waiting {
            waiting.readers.appended(bytes);
        }
        Completed { appenders: self.take_appenders(end), outcome: Ok(()) }
    }

    /// The disk is full: the log ends at `end`, with these producers. What of `run` lies behind it is
    /// refused, and so is everything that waits.
    pub(crate) fn full(
        &mut self,
        run: &[BatchHeader],
        end: Offset,
        producers: ProducerStates,
        now: Timestamp,
    ) -> [Completed; 2] {
        base::invariant!(LOG_1, end >= self.end && end <= self.next, "{end} after {}", self.end);
        // What was written before the room was used up.
        let written = self.written(end, 0);
        self.wake_readers();
        self.next = end;
        self.producers = producers;
        let waiting = self.waiting.get_or_insert_default();
        let pending = std::mem::take(&mut waiting.pending);
        waiting.pending_bytes = 0;
        let behind = run.iter().filter(|header| header.base_offset >= end);
        for header in behind.chain(pending.iter().map(|pending| pending.batch.header())) {
            let numbered = ProducerBatch::of(header);
            if let Some(numbered) = numbered.filter(|batch| !self.producers.knows(batch.id)) {
                waiting.awaited.refused(&numbered, now);
            }
        }
        let appenders = waiting.take_appenders(Offset(i64::MAX));
        [written, Completed { appenders, outcome: Err(ProduceError::StorageFull) }]
    }

    /// For the mutant `ack_before_write` only: promises what is not written yet.
    pub(crate) fn promise_unwritten(&mut self, end: Offset) -> Completed {
        Completed { appenders: self.take_appenders(end), outcome: Ok(()) }
    }

    /// Ends the partition: nothing more is accepted, everybody who waits is told. A stop lets the
    /// writer finish; a deletion or failure drops what is pending.
    pub(crate) fn close(&mut self, fate: Fate) -> Completed {
        let outcome = match fate {
            Fate::Open | Fate::Stopping => None,
            Fate::Deleted => Some(ProduceError::UnknownPartition),
            Fate::Failed => Some(ProduceError::StorageFailed),
        };
        if self.fate != Fate::Failed {
            self.fate = fate;
        }
        self.wake_readers();
        let Some(error) = outcome else {
            return Completed { appenders: Appenders::new(), outcome: Ok(()) };
        };
        if let Some(waiting) = &mut self.waiting {
            waiting.pending.clear();
            waiting.pending_bytes = 0;
        }
        Completed { appenders: self.take_appenders(Offset(i64::MAX)), outcome: Err(error) }
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.pending.is_empty())
    }

    /// For the mutant `writer_leaves_late` only: the writer ends, whatever is pending.
    pub(crate) fn leave(&mut self) {
        self.writing = false;
    }

    /// Whether a writer is at work or work waits for one.
    pub(crate) fn is_busy(&self) -> bool {
        self.writing || self.has_pending()
    }

    /// Who waits for the writer to have nothing more to do is told by this.
    pub(crate) fn idle(&self) -> Option<Arc<Notify>> {
        self.waiting.as_ref()?.idle.clone()
    }

    /// What is told when the writer has nothing more to do; `None` if that is now.
    pub(crate) fn wait_for_idle(&mut self) -> Option<Arc<Notify>> {
        let is_busy = self.is_busy();
        is_busy.then(|| Arc::clone(self.waiting().idle.get_or_insert_default()))
    }

    /// Forgets producers that have not written for `after`.
    /// The idempotent producers, by id.
    pub(crate) fn active_producers(&self) -> Vec<ActiveProducer> {
        let known = self.producers.iter().filter_map(|(id, state)| {
            let last = state.batches.back()?;
            Some(ActiveProducer {
                id,
                epoch: state.epoch,
                last_sequence: last.last_sequence,
                last_timestamp: last.timestamp,
            })
        });
        known.collect()
    }

    pub(crate) fn expire_producers(&mut self, now: Timestamp, after: base::Duration) {
        self.producers.expire(now, after);
        if let Some(waiting) = &mut self.waiting {
            waiting.awaited.expire(now, after);
        }
    }
}

#[cfg(test)]
mod tests;
