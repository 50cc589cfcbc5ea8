//! The cluster as clients may see it: one immutable snapshot, swapped whole.
//!
//! Invariants: topic ids are never zero; `by_id` and `topics` hold the same topics; partitions are
//! numbered 0..n without a gap.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::config::{Configs, Layers};
use base::{BrokerId, LeaderEpoch, PartitionIndex, TopicId, Uuid};
use metadata::Resource;

/// What is set where nothing is.
const NOTHING: &Configs = &Configs::new();

/// A snapshot of the metadata.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// The cluster's identity.
    pub cluster_id: Uuid,
    /// Index of the next metadata record: how many are applied. Grows with every change.
    pub metadata_index: u64,
    /// The active controller.
    pub controller: BrokerId,
    /// Brokers that are alive, by id.
    pub brokers: BTreeMap<BrokerId, BrokerView>,
    /// What was set while brokers ran, but for topics, by whom it is for.
    pub settings: Arc<BTreeMap<Resource, Configs>>,
    /// Topics by name.
    pub topics: BTreeMap<Arc<str>, Arc<TopicView>>,
    /// The same topics by id.
    pub by_id: BTreeMap<TopicId, Arc<TopicView>>,
}

impl ClusterView {
    /// What was set for `resource` while brokers ran.
    pub fn settings_of(&self, resource: &Resource) -> &Configs {
        self.settings.get(resource).unwrap_or(NOTHING)
    }

    /// Where the keys of `broker` are set, if its file says `file`.
    pub fn layers<'a>(
        &'a self,
        broker: BrokerId,
        file: &'a BTreeMap<String, String>,
    ) -> Layers<'a> {
        let own = self.settings_of(&Resource::Broker(broker));
        Layers { broker: own, cluster: self.settings_of(&Resource::Brokers), file }
    }
}

/// A broker that is alive. Where clients reach it is the front door's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerView {
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct TopicView {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity; a re-created topic has another.
    pub id: TopicId,
    /// Whether it is one of the coordinators' own topics.
    pub internal: bool,
    /// Overrides of the broker's defaults, as given, by key.
    pub configs: BTreeMap<Arc<str>, Arc<str>>,
    /// By index.
    pub partitions: Vec<PartitionView>,
}

impl TopicView {
    /// The partition `index`, if the topic has it.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionView> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }
}

/// One partition's placement and leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// The leader, if one is alive.
    pub leader: Option<BrokerId>,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// Brokers that hold a replica; the first is preferred as leader.
    pub replicas: Arc<[BrokerId]>,
    /// Replicas in sync.
    pub isr: Arc<[BrokerId]>,
    /// Replicas on a broker that is alive, in a log directory that is not.
    pub offline: Vec<BrokerId>,
}
