//! What the applied records add up to.
//!
//! Invariants: `topics` and `names` hold the same topics; a topic id is never zero; `next_producer`
//! never falls; a partition's leader epoch never falls; a topic is never both there and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::config::Configs;
use base::{BrokerId, LeaderEpoch, ProducerId, TopicId, Uuid};

use crate::Record;

/// The cluster, as of one index of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Zero before the first record.
    pub cluster_id: Uuid,
    /// Registered brokers.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// Topics by id.
    pub topics: BTreeMap<TopicId, Arc<Topic>>,
    /// Their ids by name.
    pub names: BTreeMap<Arc<str>, TopicId>,
    /// Topics that were deleted, as long as a log of theirs may be left: it is no proof of a topic
    /// that got lost.
    pub deleted: BTreeSet<TopicId>,
    /// What was set while brokers ran, by whom it is for; never empty.
    pub settings: Arc<BTreeMap<Resource, Configs>>,
    /// First producer id that was never handed out.
    pub next_producer: ProducerId,
}

/// Whom settings are for that are not a topic's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// All brokers.
    Brokers,
    /// One broker.
    Broker(BrokerId),
    /// A group, whether it exists or not.
    Group(Arc<str>),
    /// A subscription to the metrics of clients (KIP-714).
    ClientMetrics(Arc<str>),
}

/// A registered broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// Overrides of the brokers' defaults.
    pub configs: BTreeMap<Arc<str>, Arc<str>>,
    /// By index.
    pub partitions: Vec<Partition>,
}

/// Placement and leadership of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Who holds a replica; the first is preferred as leader.
    pub replicas: Arc<[BrokerId]>,
    /// Who is in sync.
    pub isr: Arc<[BrokerId]>,
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
}

/// What a record changed, for those who act on it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing that a replica must act on.
    None,
    /// A topic appeared.
    TopicCreated(Arc<Topic>),
    /// A topic's overrides are others.
    TopicConfigured(Arc<Topic>),
    /// A topic has more partitions: those from this index on.
    PartitionsAdded(Arc<Topic>, usize),
    /// A topic vanished.
    TopicDeleted(Arc<Topic>),
    /// Something else has other settings.
    Configured(Resource),
    /// Partitions of these topics have a new leader epoch.
    EpochsAdvanced(Vec<Arc<Topic>>),
}

/// Keeps one list in memory where neighbours have equal ones: most partitions of a topic.
pub(crate) fn share_lists(partitions: &mut [Partition]) {
    let mut last: Option<Arc<[BrokerId]>> = None;
    for partition in partitions {
        for list in [&mut partition.replicas, &mut partition.isr] {
            match &last {
                Some(last) if *last == *list => list.clone_from(last),
                Some(_) | None => last = Some(Arc::clone(list)),
            }
        }
    }
}

impl Image {
    /// Takes one record in, in index order.
    pub fn apply(&mut self, record: &Record) -> Change {
        match record {
            Record::ClusterCreated { cluster_id } => {
                self.cluster_id = *cluster_id;
                Change::None
            },
            Record::BrokerRegistered { id, rack, unclean } => {
                self.brokers.insert(*id, Broker { rack: rack.clone() });
                if *unclean { self.advance_epochs(*id) } else { Change::None }
            },
            Record::TopicCreated(topic) => {
                self.names.insert(Arc::clone(&topic.name), topic.id);
                self.topics.insert(topic.id, Arc::clone(topic));
                Change::TopicCreated(Arc::clone(topic))
            },
            Record::TopicDeleted { id } => self.delete(*id),
            Record::TopicConfigured { id, configs } => match self.topics.get_mut(id) {
                Some(topic) => {
                    Arc::make_mut(topic).configs.clone_from(configs);
                    Change::TopicConfigured(Arc::clone(topic))
                },
                None => Change::None,
            },
            Record::Configured { resource, configs } => {
                let settings = Arc::make_mut(&mut self.settings);
                if configs.is_empty() {
                    settings.remove(resource);
                } else {
                    settings.insert(resource.clone(), configs.clone());
                }
                Change::Configured(resource.clone())
            },
            Record::PartitionsAdded { id, partitions } => match self.topics.get_mut(id) {
                Some(topic) => {
                    let all = &mut Arc::make_mut(topic).partitions;
                    let first = all.len();
                    all.extend_from_slice(partitions);
                    share_lists(all);
                    Change::PartitionsAdded(Arc::clone(topic), first)
                },
                None => Change::None,
            },
            Record::ProducerIdsReserved { next, .. } => {
                self.next_producer = self.next_producer.max(*next);
                Change::None
            },
        }
    }

    fn delete(&mut self, id: TopicId) -> Change {
        self.deleted.insert(id);
        let Some(topic) = self.topics.remove(&id) else { return Change::None };
        if self.names.get(&topic.name) == Some(&id) {
            self.names.remove(&topic.name);
        }
        Change::TopicDeleted(topic)
    }

    fn advance_epochs(&mut self, leader: BrokerId) -> Change {
        let mut advanced = Vec::new();
        for topic in self.topics.values_mut() {
            if !topic.partitions.iter().any(|p| p.leader == Some(leader)) {
                continue;
            }
            let changed = Arc::make_mut(topic);
            for partition in changed.partitions.iter_mut().filter(|p| p.leader == Some(leader)) {
                partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0.saturating_add(1));
            }
            advanced.push(Arc::clone(topic));
        }
        if advanced.is_empty() { Change::None } else { Change::EpochsAdvanced(advanced) }
    }

    /// The topic of this name.
    pub fn topic_named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(name)?)
    }

    /// Records that build this image from nothing, for a snapshot.
    pub fn to_records(&self) -> Vec<Record> {
        let mut records = vec![Record::ClusterCreated { cluster_id: self.cluster_id }];
        for (id, broker) in &self.brokers {
            let rack = broker.rack.clone();
            records.push(Record::BrokerRegistered { id: *id, rack, unclean: false });
        }
        records.extend(self.topics.values().map(|t| Record::TopicCreated(Arc::clone(t))));
        records.extend(self.deleted.iter().map(|id| Record::TopicDeleted { id: *id }));
        records.extend(self.settings.iter().map(|(resource, configs)| Record::Configured {
            resource: resource.clone(),
            configs: configs.clone(),
        }));
        let broker = self.brokers.keys().next().copied().unwrap_or_default();
        records.push(Record::ProducerIdsReserved { broker, next: self.next_producer });
        records
    }
}
