//! Reading from partitions, with a long poll.

use base::{BrokerId, Duration, LeaderEpoch, Offset, PartitionId};
use env::Segment;
use thiserror::Error;

/// Up to where a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The high watermark.
    ReadUncommitted,
    /// The last stable offset.
    ReadCommitted,
}

/// A read of several partitions.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// In the order in which they are filled.
    pub partitions: Vec<FetchPartition>,
    /// Up to where.
    pub isolation: Isolation,
    /// At least this many bytes, or `max_wait` passes, or any partition has an error or more than
    /// the limits allow.
    pub min_bytes: usize,
    /// At most this many bytes in all; the first batch of the first partition that has one is
    /// returned whole even if it is larger.
    pub max_bytes: usize,
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
}

/// One partition of a [`Fetch`].
#[derive(Clone, Copy, Debug)]
pub struct FetchPartition {
    /// Which.
    pub partition: PartitionId,
    /// First offset wanted.
    pub offset: Offset,
    /// At most this many bytes; a first batch that is larger is returned whole if nothing else is.
    pub max_bytes: usize,
    /// The leader epoch the client believes in, if it said (KIP-320).
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record before `offset` that the client has, if it said (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// One partition's outcome, in the order of the request.
#[derive(Clone, Debug)]
pub struct FetchedPartition<F> {
    /// Which.
    pub partition: PartitionId,
    /// What was read.
    pub outcome: Result<FetchedData<F>, FetchError>,
}

/// Batches and where the log stands.
#[derive(Clone, Debug)]
pub struct FetchedData<F> {
    /// One past the last record that every in-sync replica has.
    pub high_watermark: Offset,
    /// One past the last record that no open transaction precedes.
    pub last_stable: Offset,
    /// First offset of the log.
    pub log_start: Offset,
    /// Whole batches.
    pub segments: Vec<Segment<F>>,
    /// Bytes in `segments`.
    pub bytes: usize,
    /// What the client has read is not what is here: the largest epoch not above the one it read
    /// last, and where that ended here. Then there are no batches.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Whether there was more to read than the limits (or the end of a file) allowed.
    pub is_cut: bool,
}

/// Why a partition could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// No such partition (any more).
    #[error("unknown topic or partition")]
    UnknownPartition,
    /// Another broker leads it.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, if known.
        leader: Option<BrokerId>,
        /// In which epoch.
        epoch: LeaderEpoch,
    },
    /// The offset is outside the log.
    #[error("offset is outside {start}..={end}")]
    OutOfRange {
        /// First offset of the log.
        start: Offset,
        /// One past the last readable offset.
        end: Offset,
    },
    /// The client's leader epoch is older than ours.
    #[error("leader epoch is older than the partition's")]
    FencedEpoch,
    /// The client's leader epoch is newer than ours.
    #[error("leader epoch is newer than the partition's")]
    UnknownEpoch,
    /// The bytes on disk do not match their checksum.
    #[error("corrupt batch on disk")]
    Corrupt,
    /// The disk refused.
    #[error("the log directory failed; see the broker's log")]
    StorageFailed,
}
