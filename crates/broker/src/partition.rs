//! One partition that this broker leads: a lock around its ledger and a combining writer.
//!
//! Owns: the ledger (behind the lock) and the log. Invariants: the lock is held for nanoseconds
//! and never across an await; at most one writer is at work; the writer never lives in a future
//! that a client's connection can drop; a batch is checked before the lock is taken and copied at
//! most once. Driven by: the front door (appends, reads) and the coordinator host. Source: ADR
//! 0002; docs/architecture.md, "The way of a produce".

mod awaited;
mod cleaning;
mod held;
pub(crate) mod ledger;
mod read;
pub(crate) mod readers;
mod retention;

use env::atomic::{AtomicU64, Ordering};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base::{Duration, Instant, LeaderEpoch, Offset, PartitionId, Probe, Timestamp};
use bytes::{Bytes, BytesMut};
use env::{Env, IoBufs, Lock, Rank};
use records::{
    BatchError, BatchHeader, BatchView, Bounds, CodecError, Depth, Patch, Policy, Stamp,
    TimestampType, exactly_one, inflated_bytes_max, validate,
};
use smallvec::SmallVec;
use storage::{Append, DirectoryFailed, Durability, Log, WriteError};
use tokio::sync::oneshot;

use crate::api::{Acks, ActiveProducer, ProduceError, Produced};
use crate::config::TopicConfig;
use crate::openers::Openers;
use crate::partition::ledger::{Accepted, Block, Fate, Ledger, Run, Written};

pub(crate) use cleaning::CleaningEnd;
pub use held::Held;
pub(crate) use read::{Park, ReadLimits};

/// Taken before the log's and the directory's locks; at most one partition at a time.
const PARTITION_RANK: Rank = Rank(100);
/// Taken alone.
const RULES_RANK: Rank = Rank(99);

/// What a partition is told at its birth.
#[derive(Clone, Debug)]
pub(crate) struct PartitionInit {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) config: Arc<TopicConfig>,
    /// Only the broker itself writes to it.
    pub(crate) internal: bool,
    /// Shared by all partitions of the broker.
    pub(crate) openers: Arc<Openers>,
}

/// One partition.
pub(crate) struct Partition<E: Env> {
    /// The rules in force; whoever works by them takes them once.
    config: Lock<Arc<TopicConfig>>,
    internal: bool,
    openers: Arc<Openers>,
    log: Log<E>,
    ledger: Lock<Ledger>,
    traffic: Traffic,
}

/// Bytes of batches, counted and never looked at by what counts them.
#[derive(Debug, Default)]
struct Traffic {
    appended_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
}

impl<E: Env> std::fmt::Debug for Partition<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partition({})", self.id())
    }
}

/// A batch that has its place and waits for its proof. Dropping it does not take the batch back.
#[derive(Debug)]
pub struct Submitted {
    outcome: Produced,
    done: Option<oneshot::Receiver<Written>>,
    deadline: Instant,
}

impl Submitted {
    /// Completes when what was promised is proven, or with why it will not be.
    ///
    /// # Errors
    /// [`ProduceError::TimedOut`] at the deadline, [`ProduceError::StorageFailed`] if the write
    /// failed: then it is not known whether the batch is in the log.
    pub async fn proven<E: Env>(self, env: &E) -> Result<Produced, ProduceError> {
        let Some(mut done) = self.done else {
            return Ok(self.outcome);
        };
        let written = match done.try_recv() {
            Ok(written) => Ok(written),
            Err(oneshot::error::TryRecvError::Closed) => Ok(Err(ProduceError::StorageFailed)),
            Err(oneshot::error::TryRecvError::Empty) => {
                let waited = env::timeout_at(env, self.deadline, done).await;
                waited.map(|told| told.unwrap_or(Err(ProduceError::StorageFailed)))
            },
        };
        match written {
            Ok(Ok(())) => Ok(self.outcome),
            Ok(Err(error)) => Err(error),
            Err(env::Elapsed) => {
                env.probe().reached("produce_timed_out");
                Err(ProduceError::TimedOut)
            },
        }
    }
}

impl<E: Env> Partition<E> {
    pub(crate) fn new(init: PartitionInit, log: Log<E>) -> Arc<Self> {
        let durability = init.config.durability;
        let mut ledger =
            Ledger::new(init.epoch, log.start(), log.end(), log.producers(), durability);
        // Planted: readers see no more than the journal last noted, until something is appended.
        if !init.internal && log.env().probe().mutant("watermark_from_journal") {
            ledger.high_watermark = log.high_watermark_hint();
        }
        Arc::new(Self {
            config: Lock::new(RULES_RANK, init.config),
            internal: init.internal,
            openers: init.openers,
            log,
            ledger: Lock::new(PARTITION_RANK, ledger),
            traffic: Traffic::default(),
        })
    }

    /// Whether its directory failed.
    pub(crate) fn is_failed(&self) -> bool {
        self.ledger.lock().fate == Fate::Failed
    }

    pub(crate) fn is_internal(&self) -> bool {
        self.internal
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.log.partition()
    }

    pub(crate) fn log(&self) -> &Log<E> {
        &self.log
    }

    /// The idempotent producers that it remembers, by id.
    pub(crate) fn active_producers(&self) -> Vec<ActiveProducer> {
        self.ledger.lock().active_producers()
    }

    fn env(&self) -> &E {
        self.log.env()
    }

    /// The rules in force.
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.lock())
    }

    /// From now on batches are accepted by these rules; what was accepted before keeps its promise.
    /// If from now on an acknowledgement means durable, returns what has to be made so
    /// ([`Partition::make_durable`]) before anybody may be told that it does.
    pub(crate) fn configure(&self, config: Arc<TopicConfig>) -> Option<Accepted> {
        let durability = config.durability;
        *self.config.lock() = config;
        self.ledger.lock().set_durability(durability)
    }

    /// Makes everything durable that was accepted before an acknowledgement meant it.
    ///
    /// # Errors
    /// The directory failed. That the partition failed or was closed is no error: then nothing more
    /// is acknowledged.
    pub(crate) async fn make_durable(&self, accepted: Accepted) -> Result<(), DirectoryFailed> {
        // Planted: who retries is told of records that only the page cache has.
        if self.env().probe().mutant("mode_change_without_flush") {
            return Ok(());
        }
        if let Some(written) = accepted.0 {
            self.env().probe().reached("mode_change_waits_for_writer");
            match written.await {
                // What a full disk refused is not in the log; what came before it is.
                Ok(Ok(()) | Err(ProduceError::StorageFull)) => {},
                // Who drops the sender has closed the partition.
                Ok(Err(_)) | Err(_) => return Ok(()),
            }
        }
        self.log.flush().await?;
        self.env().probe().reached("mode_change_flushed");
        Ok(())
    }

    /// Bytes of batches appended since the start of the process, and returned to clients.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let Traffic { appended_bytes, fetched_bytes } = &self.traffic;
        (appended_bytes.load(Ordering::Relaxed), fetched_bytes.load(Ordering::Relaxed))
    }

    /// So many bytes of batches are returned to a client.
    pub(crate) fn note_fetched(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.traffic.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One past the last record a consumer may see.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.ledger.lock().high_watermark
    }

    /// First offset of the log.
    pub(crate) fn log_start(&self) -> Offset {
        self.ledger.lock().log_start
    }

    /// Checks a batch and gives it its place; it is written once `held` lets its writer begin, or
    /// by the one that is at work. When this returns the batch's order among all batches is fixed;
    /// [`Submitted::proven`] waits for the write.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        bytes: &Bytes,
        (acks, deadline): (Acks, Instant),
        held: &mut Held<E>,
    ) -> Result<Submitted, ProduceError> {
        let now = self.env().wall();
        let config = self.config();
        let batch =
            self.check(&config, bytes, now).inspect_err(|_| self.note_refused(bytes, now))?;
        self.env().seam("partition_enqueue").await;
        let enqueued = self.ledger.lock().enqueue(&batch, now, self.env().probe())?;
        if enqueued.writer {
            held.hold(self);
        }
        // Of a duplicate Kafka tells the time that was stored, whatever kind of time it is.
        let log_append_time = match config.timestamp_type {
            TimestampType::LogAppendTime => Some(enqueued.timestamp),
            TimestampType::CreateTime => enqueued.duplicate.then_some(enqueued.timestamp),
        };
        let outcome = Produced {
            base_offset: enqueued.base_offset,
            log_append_time,
            log_start: enqueued.log_start,
        };
        // Whoever does not wait for all replicas waits for this one, however long the disk takes.
        let deadline = match acks {
            Acks::All => deadline,
            Acks::None | Acks::Leader => Instant::NEVER,
        };
        Ok(Submitted { outcome, done: enqueued.done, deadline })
    }

    /// What the producer of a refused batch sent behind it must not be let in before it comes again.
    fn note_refused(&self, bytes: &Bytes, now: Timestamp) {
        if self.env().probe().mutant("refused_first_forgotten") {
            return;
        }
        // The bytes may be damaged, and name a producer that did not send them: then that one's
        // batches are only held to their order.
        if let Ok(batch) = exactly_one(bytes)
            && !batch.header().attributes.is_transactional()
        {
            self.ledger.lock().refused(&batch, now);
        }
    }

    /// Everything that can be refused by looking at the batch alone. No lock is held. A compressed
    /// batch is opened right here, where its CRC is checked, however large it is: its time is
    /// bounded by its size ([`inflated_bytes_max`]), and it must keep its place in the order of
    /// what its connection sends.
    fn check(
        &self,
        config: &TopicConfig,
        bytes: &Bytes,
        now: Timestamp,
    ) -> Result<BatchView, ProduceError> {
        let policy = Policy {
            batch_bytes_max: config.batch_bytes_max,
            record_bytes_max: config.record_bytes_max,
            depth: Depth::Walk,
            open_bytes_max: inflated_bytes_max(bytes.len()),
            key_required: config.compact,
            timestamp_type: config.timestamp_type,
            now,
            before_max: config.timestamp_before_max,
            after_max: config.timestamp_after_max,
        };
        let checked = self.openers.with(|opener| {
            let validated = validate(bytes, &policy, opener)?;
            let sent = validated.batch.header().attributes.compression().unwrap_or_default();
            let Some(into) = config.encoder_for(sent) else { return Ok((validated, None)) };
            self.env().probe().reached("produce_converted");
            let bounds = Bounds {
                open_bytes_max: policy.open_bytes_max,
                batch_bytes_max: config.batch_bytes_max,
            };
            let converted = validated.batch.converted(into, validated.stamp, opener, bounds)?;
            Ok((validated, Some(converted)))
        });
        let (validated, converted) = checked.inspect_err(|error| {
            self.env().probe().reached("produce_batch_refused");
            if matches!(error, BatchError::Codec(CodecError::Damaged(_))) {
                self.env().probe().reached("produce_block_damaged");
            }
        })?;
        if validated.batch.header().attributes.is_transactional() {
            self.env().probe().reached("produce_transactional");
            return Err(ProduceError::Transactional);
        }
        let batch = converted.as_ref().unwrap_or(&validated.batch);
        let bytes = u64::try_from(batch.bytes().len()).unwrap_or(u64::MAX);
        if bytes > config.segment_bytes {
            self.env().probe().reached("produce_larger_than_segment");
            return Err(ProduceError::LargerThanSegment {
                bytes: batch.bytes().len(),
                limit: usize::try_from(config.segment_bytes).unwrap_or(usize::MAX),
            });
        }
        if let Some(converted) = converted {
            // Planted: what the CRC was taken over is not what is stored.
            if self.env().probe().mutant("converted_keeps_old_crc") {
                let crc = validated.batch.header().crc.to_be_bytes();
                let mut bytes = converted.bytes().to_vec();
                bytes.splice(17..21, crc);
                return Ok(BatchView::parse(&bytes.into()).map_err(BatchError::Frame)?);
            }
            return Ok(converted);
        }
        // A new timestamp changes the CRC, so it is stamped here and not under the lock; the only
        // batches that are copied whole.
        match validated.stamp {
            Stamp::Keep => Ok(validated.batch),
            stamp @ (Stamp::Max(_) | Stamp::LogAppend(_)) => {
                let (base_offset, leader_epoch) = (Offset::ZERO, LeaderEpoch::default());
                let patch = Patch { base_offset, leader_epoch, stamp };
                Ok(validated.batch.patched(&patch).to_view())
            },
        }
    }

    /// Runs the writer as long as the disk answers at once, and leaves the rest to a task of its
    /// own: the caller may be dropped at any await, the writer may not.
    fn write_pending(self: &Arc<Self>) {
        let mut writer: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(Arc::clone(self).write_loop());
        if writer.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
            self.env().probe().reached("partition_writer_spawned");
            self.env().spawn("partition_writer", writer);
        }
    }

    /// For the mutant `held_last_forgotten`.
    fn forgets_writer(&self) -> bool {
        self.env().probe().mutant("held_last_forgotten")
    }

    async fn write_loop(self: Arc<Self>) {
        loop {
            // Planted: who comes between the two locks believes that a writer is at work.
            if self.env().probe().mutant("writer_leaves_late") && !self.ledger.lock().has_pending()
            {
                self.ledger.lock().leave();
                break;
            }
            let run = self.ledger.lock().take_run();
            let Some(run) = run else {
                break;
            };
            pin!(self.write_run(run)).await;
            self.env().seam("partition_published").await;
        }
        let idle = self.ledger.lock().idle();
        if let Some(idle) = idle {
            idle.notify_waiters();
        }
    }

    async fn write_run(&self, run: Run) {
        let (end, bytes) = (run.end, run.bytes);
        let headers: SmallVec<[BatchHeader; 1]> =
            run.batches.iter().map(|batch| *batch.header()).collect();
        // Planted: what was accepted under another mode is acknowledged by the one of now.
        let durability = if self.env().probe().mutant("ack_by_new_mode") {
            self.config().durability
        } else {
            run.durability
        };
        if self.env().probe().mutant("ack_before_write") {
            let promised = self.ledger.lock().promise_unwritten(end);
            promised.tell();
        }
        let (append, block) = to_append(run, durability, self.log.copies_below());
        let completed = match pin!(self.log.append(append)).await {
            Ok(_) => {
                let completed = {
                    let mut ledger = self.ledger.lock();
                    ledger.keep_block(block);
                    ledger.written(end, bytes)
                };
                self.log.note_high_watermark(end);
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                self.traffic.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
                completed
            },
            // Planted: an error of the disk is one of the moment.
            Err(_) if self.env().probe().mutant("write_error_ignored") => {
                self.ledger.lock().written(end, bytes)
            },
            Err(WriteError::Full(_)) => return self.disk_is_full(&headers),
            Err(WriteError::Failed(failed)) => {
                self.env().probe().reached("partition_append_failed");
                // The directory's flusher hears of it too, and tells the others.
                tracing::debug!(partition = %self.id(), %failed, "an append failed");
                // Planted: a failed directory goes on acknowledging.
                if self.env().probe().mutant("ack_on_failed_directory") {
                    self.ledger.lock().promise_unwritten(end).tell();
                }
                self.ledger.lock().close(Fate::Failed)
            },
        };
        completed.tell();
    }

    /// A run found no room, or only a part of it did.
    fn disk_is_full(&self, run: &[BatchHeader]) {
        self.env().probe().reached("partition_disk_full");
        // Planted: what found no room is acknowledged.
        if self.env().probe().mutant("ack_on_full_disk")
            && let Some(last) = run.last()
        {
            self.ledger.lock().promise_unwritten(last.next_offset()).tell();
        }
        let (end, producers) = (self.log.end(), self.log.producers());
        let now = self.env().wall();
        let [written, refused] = self.ledger.lock().full(run, end, producers, now);
        self.log.note_high_watermark(end);
        written.tell();
        refused.tell();
    }

    /// From now on batches are written in `epoch`, and the log knows where it began.
    ///
    /// # Errors
    /// The directory failed, or its disk is full.
    pub(crate) async fn begin_epoch(&self, epoch: LeaderEpoch) -> Result<(), WriteError> {
        self.log.begin_epoch(epoch).await?;
        let mut ledger = self.ledger.lock();
        ledger.epoch = ledger.epoch.max(epoch);
        ledger.wake_readers();
        Ok(())
    }

    /// Nothing more is accepted; who waits for a write that will not be made is told.
    pub(crate) fn close(&self, fate: Fate) {
        let completed = self.ledger.lock().close(fate);
        completed.tell();
    }

    /// Completes when no writer is at work. Call after [`Partition::close`].
    pub(crate) async fn drained(&self) {
        loop {
            let Some(idle) = self.ledger.lock().wait_for_idle() else {
                return;
            };
            let mut idle = std::pin::pin!(idle.notified());
            idle.as_mut().enable();
            if !self.ledger.lock().is_busy() {
                return;
            }
            idle.await;
        }
    }

    /// Forgets idle producers.
    pub(crate) fn expire_producers(&self, now: Timestamp, after: Duration) {
        self.ledger.lock().expire_producers(now, after);
    }
}

/// The run as the log takes it: heads in one new buffer, the rest shared with what was received; a
/// small batch that is alone copied, as the log would do.
fn to_append(mut run: Run, durability: Durability, copies_below: usize) -> (Append, Block) {
    let mut append =
        Append { bufs: IoBufs::new(), batches: SmallVec::new(), durability, owned: false };
    if let [batch] = run.batches.as_slice() {
        append.batches.push(*batch.header());
        if batch.len_bytes() < copies_below {
            append.bufs.push(run.block.copy(batch));
            append.owned = true;
        } else {
            append.bufs.push(run.block.copy_head(batch));
            append.bufs.push(batch.tail().clone());
        }
        return (append, run.block);
    }
    let heads = run.batches.iter().map(|batch| batch.head().len()).sum();
    let mut head = BytesMut::with_capacity(heads);
    for batch in &run.batches {
        head.extend_from_slice(batch.head());
        append.bufs.push(head.split().freeze());
        append.bufs.push(batch.tail().clone());
        append.batches.push(*batch.header());
    }
    (append, run.block)
}
