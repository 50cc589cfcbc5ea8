//! What the controller is asked, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{BrokerId, ProducerId, TopicId, Uuid};
use thiserror::Error;

use crate::{Record, Resource};

/// A wish. Ids that must be fresh are handed in, since a core has no randomness.
#[derive(Clone, Debug)]
pub enum Command {
    /// The first command of every log.
    CreateCluster {
        /// A fresh identity.
        cluster_id: Uuid,
    },
    /// A broker has started.
    RegisterBroker {
        /// `node.id`.
        id: BrokerId,
        /// `broker.rack`.
        rack: Option<String>,
        /// It did not stop cleanly.
        unclean: bool,
    },
    /// Topics to be created, each succeeding or failing alone.
    CreateTopics {
        /// Each with an id never used before.
        topics: Vec<(CreateTopic, TopicId)>,
        /// What "not said" means.
        defaults: Defaults,
        /// Check everything, create nothing.
        validate_only: bool,
    },
    /// Topics to be deleted, each succeeding or failing alone.
    DeleteTopics {
        /// Which.
        topics: Vec<TopicRef>,
    },
    /// Topics to be given more partitions, each succeeding or failing alone and whole.
    AddPartitions {
        /// Which, and how many. No topic twice: each is decided on the image as it is.
        topics: Vec<AddPartitions>,
        /// Check everything, change nothing.
        validate_only: bool,
    },
    /// Overrides of topics to be changed, each topic succeeding or failing alone and whole.
    AlterTopics {
        /// Which, and how. No topic twice: each is decided on the image as it is.
        topics: Vec<AlterTopic>,
        /// Check everything, change nothing.
        validate_only: bool,
    },
    /// Settings of brokers, groups and subscriptions to be changed, each succeeding or failing alone
    /// and whole.
    AlterSettings {
        /// Which, and how. Nothing twice: each is decided on the image as it is.
        wishes: Vec<AlterSettings>,
        /// What the asked broker's file says.
        file: Arc<BTreeMap<String, String>>,
        /// Check everything, change nothing.
        validate_only: bool,
    },
    /// A block of producer ids for one broker.
    ReserveProducerIds {
        /// Which broker.
        broker: BrokerId,
        /// How many.
        count: u16,
    },
}

/// What a broker's configuration says about topics that do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`; more than the live brokers is refused.
    pub replication_factor: i16,
}

/// A topic by one of its two names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

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

/// A topic to be given more partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddPartitions {
    /// Its name.
    pub name: String,
    /// How many it has then.
    pub count: i32,
    /// Replicas of each new partition, in order, instead of a placement of ours.
    pub assignment: Option<Vec<Vec<BrokerId>>>,
}

/// A change of one topic's overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterTopic {
    /// Its name.
    pub name: String,
    /// What becomes of its overrides.
    pub change: ConfigChange,
}

/// A change of what is set for something that is not a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterSettings {
    /// Whom it is for.
    pub resource: Resource,
    /// What becomes of what is set.
    pub change: ConfigChange,
}

/// What becomes of a topic's overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// They are exactly these; every other goes.
    Replace(Vec<(String, String)>),
    /// Each of these keys changes, in order; the others stay.
    Edit(Vec<(String, ConfigEdit)>),
}

/// What becomes of one override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigEdit {
    /// It has this value.
    Set(String),
    /// It goes: the broker's default is in force.
    Delete,
    /// A list has these elements too, behind its own or else the default's; those that it has
    /// already stay where they are.
    Append(String),
    /// A list no longer has these elements, each at most once.
    Subtract(String),
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

/// Ids `first..first + count`, for one broker alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: ProducerId,
    /// How many.
    pub count: u16,
}

/// What follows from a command: records to be made durable, then applied, then the reply.
#[derive(Clone, Debug)]
pub struct Decision {
    /// In order; one entry of the log, so all or none.
    pub records: Vec<Record>,
    /// True once the records are durable.
    pub reply: Reply,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// In the order of the request.
    Created(Vec<Result<CreatedTopic, TopicError>>),
    /// In the order of the request.
    Deleted(Vec<Result<(String, TopicId), TopicError>>),
    /// In the order of the request.
    Added(Vec<Result<(), TopicError>>),
    /// In the order of the request.
    Altered(Vec<Result<(), TopicError>>),
    /// A block; `None` when the 2^63 ids are used up.
    ProducerIds(Option<ProducerIdBlock>),
}

/// Why a topic was not created, changed or deleted. Texts are Kafka's.
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
    /// There is none whose overrides could be changed.
    #[error("The topic '{0}' does not exist.")]
    Missing(String),
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
    /// The metadata log cannot be written; whether the change will be there after a restart is
    /// not known.
    #[error("the metadata log failed; see the broker's log")]
    StorageFailed,
    /// The disk of the metadata log is full: nothing was changed.
    #[error("the broker's disk is full; delete topics or free some space")]
    StorageFull,
    /// The change is durable and in force, but of these partitions nobody knows whether what was
    /// acknowledged before it is durable: their log directory failed.
    #[error(
        "The change is in force, but what was acknowledged before it may not be durable in partitions {0:?}: \
         their log directory failed. Once it is mended, restart the broker and ask again."
    )]
    NotDurable(Vec<i32>),
}
