//! The records of the metadata log and their stored form.
//!
//! Invariants: decoding is total and refuses what [`crate::Image::apply`] could not apply by
//! itself (ids of a wrong length, absent kinds); encoding a decoded record need not give the same
//! bytes, so hashes are taken over stored bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::config::Configs;
use base::{BrokerId, LeaderEpoch, ProducerId, TopicId, Uuid};
use prost::Message;
use thiserror::Error;

use crate::generated as stored;
use crate::image::share_lists;
use crate::{Partition, Resource, Topic};

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The first record of every log.
    ClusterCreated {
        /// The cluster's identity.
        cluster_id: Uuid,
    },
    /// A broker has started.
    BrokerRegistered {
        /// `node.id`.
        id: BrokerId,
        /// `broker.rack`.
        rack: Option<Arc<str>>,
        /// It did not stop cleanly: partitions it leads begin a new leader epoch.
        unclean: bool,
    },
    /// A topic with all its partitions.
    TopicCreated(Arc<Topic>),
    /// A topic is gone.
    TopicDeleted {
        /// Which.
        id: TopicId,
    },
    /// A topic's overrides are exactly these from now on.
    TopicConfigured {
        /// Which.
        id: TopicId,
        /// All of them, by key.
        configs: BTreeMap<Arc<str>, Arc<str>>,
    },
    /// What somebody was told while brokers ran is exactly this from now on.
    Configured {
        /// Who.
        resource: Resource,
        /// All of it, by key.
        configs: Configs,
    },
    /// A topic has these partitions too, behind its others.
    PartitionsAdded {
        /// Which topic.
        id: TopicId,
        /// By index, from the first new one on.
        partitions: Vec<Partition>,
    },
    /// Producer ids below `next` are never handed out again.
    ProducerIdsReserved {
        /// Which broker got the block.
        broker: BrokerId,
        /// First id of the next block.
        next: ProducerId,
    },
}

/// Why bytes are not a record of this version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Not the protobuf message.
    #[error("not a metadata record: {0}")]
    Protobuf(String),
    /// A kind this version does not know.
    #[error("a metadata record of a kind that this version does not know; run a newer gregor")]
    UnknownKind,
    /// Settings of something this version does not know.
    #[error("settings of kind {0}, which this version does not know; run a newer gregor")]
    Resource(i32),
    /// An id that is not 16 bytes.
    #[error("an id of {0} bytes")]
    Id(usize),
}

impl Record {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        use stored::record::Kind;
        let kind = match self {
            Self::ClusterCreated { cluster_id } => {
                Kind::ClusterCreated(stored::ClusterCreated { cluster_id: cluster_id.0.to_vec() })
            },
            Self::BrokerRegistered { id, rack, unclean } => {
                Kind::BrokerRegistered(stored::BrokerRegistered {
                    node_id: id.0,
                    rack: rack.as_ref().map(|rack| rack.to_string()),
                    unclean: *unclean,
                })
            },
            Self::TopicCreated(topic) => Kind::TopicCreated(encode_topic(topic)),
            Self::TopicDeleted { id } => {
                Kind::TopicDeleted(stored::TopicDeleted { topic_id: id.0.0.to_vec() })
            },
            Self::TopicConfigured { id, configs } => {
                Kind::TopicConfigured(stored::TopicConfigured {
                    topic_id: id.0.0.to_vec(),
                    configs: encode_configs(configs),
                })
            },
            Self::Configured { resource, configs } => {
                Kind::Configured(encode_settings(resource, configs))
            },
            Self::PartitionsAdded { id, partitions } => {
                Kind::PartitionsAdded(stored::PartitionsAdded {
                    topic_id: id.0.0.to_vec(),
                    partitions: encode_partitions(partitions),
                })
            },
            Self::ProducerIdsReserved { broker, next } => {
                Kind::ProducerIdsReserved(stored::ProducerIdsReserved {
                    node_id: broker.0,
                    next: next.0,
                })
            },
        };
        stored::Record { kind: Some(kind) }.encode_to_vec()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`RecordError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        use stored::record::Kind;
        let record = stored::Record::decode(bytes)
            .map_err(|error| RecordError::Protobuf(error.to_string()))?;
        match record.kind.ok_or(RecordError::UnknownKind)? {
            Kind::ClusterCreated(created) => {
                Ok(Self::ClusterCreated { cluster_id: uuid(&created.cluster_id)? })
            },
            Kind::BrokerRegistered(broker) => Ok(Self::BrokerRegistered {
                id: BrokerId(broker.node_id),
                rack: broker.rack.map(Into::into),
                unclean: broker.unclean,
            }),
            Kind::TopicCreated(topic) => decode_topic(topic),
            Kind::TopicDeleted(topic) => {
                Ok(Self::TopicDeleted { id: TopicId(uuid(&topic.topic_id)?) })
            },
            Kind::TopicConfigured(topic) => Ok(Self::TopicConfigured {
                id: TopicId(uuid(&topic.topic_id)?),
                configs: decode_configs(topic.configs),
            }),
            Kind::Configured(settings) => Ok(Self::Configured {
                resource: decode_resource(&settings)?,
                configs: decode_configs(settings.configs),
            }),
            Kind::PartitionsAdded(added) => Ok(Self::PartitionsAdded {
                id: TopicId(uuid(&added.topic_id)?),
                partitions: decode_partitions(added.partitions),
            }),
            Kind::ProducerIdsReserved(block) => Ok(Self::ProducerIdsReserved {
                broker: BrokerId(block.node_id),
                next: ProducerId(block.next),
            }),
        }
    }
}

fn encode_configs(configs: &BTreeMap<Arc<str>, Arc<str>>) -> Vec<stored::Config> {
    let pairs = configs.iter();
    pairs
        .map(|(key, value)| stored::Config { key: key.to_string(), value: value.to_string() })
        .collect()
}

fn decode_configs(configs: Vec<stored::Config>) -> BTreeMap<Arc<str>, Arc<str>> {
    configs.into_iter().map(|config| (config.key.into(), config.value.into())).collect()
}

fn encode_settings(resource: &Resource, configs: &Configs) -> stored::Configured {
    let (kind, node_id, name) = match resource {
        Resource::Broker(id) => (1, id.0, String::new()),
        Resource::Brokers => (2, 0, String::new()),
        Resource::Group(name) => (3, 0, name.to_string()),
        Resource::ClientMetrics(name) => (4, 0, name.to_string()),
    };
    stored::Configured { kind, node_id, name, configs: encode_configs(configs) }
}

fn decode_resource(settings: &stored::Configured) -> Result<Resource, RecordError> {
    Ok(match settings.kind {
        1 => Resource::Broker(BrokerId(settings.node_id)),
        2 => Resource::Brokers,
        3 => Resource::Group(settings.name.as_str().into()),
        4 => Resource::ClientMetrics(settings.name.as_str().into()),
        other => return Err(RecordError::Resource(other)),
    })
}

fn encode_topic(topic: &Topic) -> stored::TopicCreated {
    stored::TopicCreated {
        topic_id: topic.id.0.0.to_vec(),
        name: topic.name.to_string(),
        configs: encode_configs(&topic.configs),
        partitions: encode_partitions(&topic.partitions),
    }
}

fn encode_partitions(partitions: &[Partition]) -> Vec<stored::Partition> {
    let stored = partitions.iter().map(|partition| stored::Partition {
        replicas: partition.replicas.iter().map(|id| id.0).collect(),
        isr: partition.isr.iter().map(|id| id.0).collect(),
        leader: partition.leader.map(|id| id.0),
        leader_epoch: partition.leader_epoch.0,
    });
    stored.collect()
}

fn decode_partitions(stored: Vec<stored::Partition>) -> Vec<Partition> {
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    let stored = stored.into_iter();
    let mut partitions: Vec<_> = stored
        .map(|partition| Partition {
            replicas: brokers(partition.replicas),
            isr: brokers(partition.isr),
            leader: partition.leader.map(BrokerId),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
        })
        .collect();
    share_lists(&mut partitions);
    partitions
}

fn decode_topic(topic: stored::TopicCreated) -> Result<Record, RecordError> {
    let configs = decode_configs(topic.configs);
    let partitions = decode_partitions(topic.partitions);
    let (id, name) = (TopicId(uuid(&topic.topic_id)?), topic.name.into());
    Ok(Record::TopicCreated(Arc::new(Topic { id, name, configs, partitions })))
}

fn uuid(bytes: &[u8]) -> Result<Uuid, RecordError> {
    bytes.try_into().map(Uuid).map_err(|_| RecordError::Id(bytes.len()))
}
