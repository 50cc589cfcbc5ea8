//! Appending one batch to one partition.

use base::{
    BrokerId, Instant, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Timestamp,
};
use bytes::Bytes;
use thiserror::Error;

/// What the answer must promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing is answered.
    None,
    /// The leader has written it.
    Leader,
    /// Every in-sync replica has it, as `gregor.durability` says.
    All,
}

/// One batch for one partition.
#[derive(Clone, Debug)]
pub struct Produce {
    /// Where to.
    pub partition: PartitionId,
    /// What the answer must promise.
    pub acks: Acks,
    /// When the client stops waiting (`acks=all` only).
    pub deadline: Instant,
    /// Exactly one record batch in format v2, as the client sent it; checked by the broker.
    pub batch: Bytes,
    /// Whether the client may write to internal topics.
    pub internal_allowed: bool,
}

/// The batch is in the log (or was, if it is a duplicate: then these are the first append's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the batch's first record.
    pub base_offset: Offset,
    /// The broker's time of the append, if `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<Timestamp>,
    /// First offset of the log.
    pub log_start: Offset,
}

/// Why a batch was not acknowledged. `definite` errors mean that it is not, and will not be, in
/// the log; [`ProduceError::TimedOut`], [`ProduceError::StorageFailed`] and
/// [`ProduceError::StorageFull`] (a crash may bring back what was written in part) leave that open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProduceError {
    /// No such partition (any more).
    #[error("unknown topic or partition")]
    UnknownPartition,
    /// Another broker leads it.
    #[error("not the leader; it is {leader:?} in epoch {epoch}")]
    NotLeader {
        /// Who leads, if known.
        leader: Option<BrokerId>,
        /// In which epoch.
        epoch: LeaderEpoch,
    },
    /// An internal topic, and the client is not the admin client.
    #[error("internal topics are written by the broker only")]
    InternalTopic,
    /// The bytes are not an acceptable batch.
    #[error(transparent)]
    Batch(#[from] records::BatchError),
    /// Larger than `max.message.bytes`.
    #[error("batch of {bytes} bytes exceeds max.message.bytes={limit}")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// Larger than `segment.bytes`.
    #[error("batch of {bytes} bytes exceeds segment.bytes={limit}")]
    LargerThanSegment {
        /// Size of the batch.
        bytes: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// The batch does not continue its producer's sequence.
    #[error("out of order sequence number")]
    OutOfOrderSequence,
    /// A newer incarnation of the producer has written.
    #[error("producer epoch is fenced by a newer one")]
    ProducerFenced,
    /// Transactional batches are not served yet.
    #[error("transactions are not supported by this broker yet")]
    Transactional,
    /// The log directory failed; nothing is acknowledged from it any more.
    #[error("the log directory failed; see the broker's log")]
    StorageFailed,
    /// The disk is full: the batch is not in the log; send it again when there is room.
    #[error("the disk of the log directory is full")]
    StorageFull,
    /// Fewer in-sync replicas than `min.insync.replicas`.
    #[error("fewer in-sync replicas than min.insync.replicas")]
    NotEnoughReplicas,
    /// The deadline came before the proof.
    #[error("timed out before the batch was replicated as promised")]
    TimedOut,
    /// Too many batches wait for this partition already; try again.
    #[error("too many appends are waiting for this partition")]
    Overloaded,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// An idempotent producer that a partition remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Who.
    pub id: ProducerId,
    /// Its newest incarnation.
    pub epoch: ProducerEpoch,
    /// Number of its last record.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch.
    pub last_timestamp: Timestamp,
}
