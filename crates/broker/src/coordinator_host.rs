//! WIP.
use std::sync::Arc;

use env::Env;
use metadata::{CreateTopic, Topic};

use crate::config::BrokerConfig;
use crate::node::Node;

/// The shards that this broker hosts.
pub(crate) struct Coordinators<E: Env> {
    node: Arc<Node<E>>,
}

impl<E: Env> Coordinators<E> {
    pub(crate) fn start(node: Arc<Node<E>>) -> Arc<Self> {
        Arc::new(Self { node })
    }
    pub(crate) fn topic_created(&self, _topic: &Topic) {}
    pub(crate) async fn topic_deleted(&self, _topic: &Topic) {}
    pub(crate) async fn stop(&self) {}
}

/// How `__consumer_offsets` is created.
pub(crate) fn offsets_topic(config: &BrokerConfig, brokers: usize) -> CreateTopic {
    let brokers = i16::try_from(brokers).unwrap_or(i16::MAX).max(1);
    CreateTopic {
        name: metadata::OFFSETS_TOPIC.to_owned(),
        partitions: Some(config.offsets_partitions),
        replication_factor: Some(config.offsets_replication_factor.min(brokers)),
        assignment: None,
        configs: Vec::new(),
    }
}
