//! Finding an offset by a rule or by time (ListOffsets).

use base::{BrokerId, LeaderEpoch, Offset, PartitionId, Timestamp};
use thiserror::Error;

use crate::api::Isolation;

/// Which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The end that the isolation level shows.
    Latest,
    /// The first offset of the log.
    Earliest,
    /// The first record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record whose timestamp is not smaller.
    AtOrAfter(Timestamp),
    /// Tiered storage: nothing is tiered here, so never found.
    Tiered,
}

/// A question about one partition.
#[derive(Clone, Copy, Debug)]
pub struct ListOffset {
    /// Which partition.
    pub partition: PartitionId,
    /// Which offset.
    pub spec: OffsetSpec,
    /// Up to where records may be found.
    pub isolation: Isolation,
    /// The leader epoch the client believes in, if it said.
    pub current_leader_epoch: Option<LeaderEpoch>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp, for questions about time.
    pub timestamp: Option<Timestamp>,
    /// The epoch the record was written in, if known.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// A question about where an epoch ended.
#[derive(Clone, Copy, Debug)]
pub struct EpochEnd {
    /// Which partition.
    pub partition: PartitionId,
    /// Which epoch; `None` is one that nobody knows.
    pub epoch: Option<LeaderEpoch>,
    /// The leader epoch the client believes in, if it said.
    pub current_leader_epoch: Option<LeaderEpoch>,
}

/// Why there is no answer. "No such record" is not an error but `Ok(None)`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListOffsetError {
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
    /// The client's leader epoch is older than ours.
    #[error("leader epoch is older than the partition's")]
    FencedEpoch,
    /// The client's leader epoch is newer than ours.
    #[error("leader epoch is newer than the partition's")]
    UnknownEpoch,
    /// What was written where the answer may be is damaged.
    #[error("the records there are damaged on disk")]
    Corrupt,
    /// The disk refused.
    #[error("the log directory failed; see the broker's log")]
    StorageFailed,
}
