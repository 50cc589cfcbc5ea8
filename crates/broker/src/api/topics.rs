//! Creating and deleting topics.

use std::collections::BTreeMap;

use base::{BrokerId, TopicId};
use thiserror::Error;

/// A topic to be created.
#[derive(Clone, Debug, Default)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` takes `num.partitions`.
    pub partitions: Option<i32>,
    /// Replicas per partition; `None` takes `default.replication.factor`.
    pub replication_factor: Option<i16>,
    /// Replicas by partition index, instead of the two numbers above.
    pub assignment: Option<BTreeMap<i32, Vec<BrokerId>>>,
    /// Overrides of the broker's defaults. `None` values are refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that exists now (or would, if only validated).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its identity.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas per partition.
    pub replication_factor: i16,
}

/// Why a topic was not created or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    /// The name breaks Kafka's rules or collides with another.
    #[error("{0}")]
    InvalidName(String),
    /// It exists.
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    /// There is none of this name.
    #[error("This server does not host this topic-partition.")]
    UnknownName,
    /// There is none of this id.
    #[error("This server does not host this topic ID.")]
    UnknownId,
    /// A number of partitions that cannot be.
    #[error("{0}")]
    InvalidPartitions(String),
    /// A replication factor that cannot be.
    #[error("{0}")]
    InvalidReplicationFactor(String),
    /// An assignment that cannot be.
    #[error("{0}")]
    InvalidAssignment(String),
    /// A config key or value that cannot be.
    #[error("{0}")]
    InvalidConfig(String),
    /// The request contradicts itself.
    #[error("{0}")]
    InvalidRequest(String),
    /// More than the broker allows in one request.
    #[error("{0}")]
    Policy(String),
    /// `delete.topic.enable=false`.
    #[error("Topic deletion is disabled.")]
    DeletionDisabled,
    /// The metadata log cannot be written.
    #[error("the metadata log failed; see the broker's log")]
    StorageFailed,
}
