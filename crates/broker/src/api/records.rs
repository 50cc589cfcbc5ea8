//! Deleting records from the front of a partition (DeleteRecords).

use base::{BrokerId, LeaderEpoch};
use thiserror::Error;

/// Why no record was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeleteRecordsError {
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
    /// The topic belongs to the broker.
    #[error("records of an internal topic are not deleted")]
    InternalTopic,
    /// The topic is compacted and nothing else: what is deleted there is deleted by key.
    #[error("records of a topic that is only compacted are not deleted")]
    Policy,
    /// Beyond the high watermark, or below zero.
    #[error("the offset lies beyond the high watermark")]
    OutOfRange,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
    /// The log directory failed.
    #[error("the log directory failed; see the broker's log")]
    StorageFailed,
}
