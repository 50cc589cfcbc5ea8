//! From applied metadata to what this broker does about it.
//!
//! Invariants: changes are acted on in index order; a topic is visible to clients only after its
//! logs exist, and its logs go only after it is invisible; nothing reads a half-applied image.
//! Source: docs/architecture.md, "Metadata: one loop, one direction".

mod open;

pub use open::OpenAllError;
pub(crate) use open::nothing_lost;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base::{LeaderEpoch, PartitionId, PartitionIndex, Probe, ReplicaGen, TopicId};
use env::Env;
use metadata::{Broker, Change, Image, OFFSETS_TOPIC, Resource, Topic, is_internal};
use storage::{DirectoryFailed, Found, Log, LogConfig, OpenError, WriteError};

use crate::alive::{Guard, side_by_side};
use crate::api::{BrokerView, ClusterView, PartitionView, TopicView};
use crate::config::{BrokerConfig, TopicConfig};
use crate::coordinator_host::Coordinators;
use crate::metadata_host::Publish;
use crate::node::Node;
use crate::partition::ledger::Fate;
use crate::partition::{Partition, PartitionInit};
use crate::unmade::Unmade;

/// A topic id is never reused and nothing moves yet, so a replica has one incarnation.
pub(crate) const REPLICA_GEN: ReplicaGen = ReplicaGen(0);

/// A partition of a new topic, and its log or why there is none.
type Created<E> = (PartitionId, LeaderEpoch, Result<Log<E>, OpenError>);

/// Acts on changes of the metadata.
pub(crate) struct Publisher<E: Env> {
    node: Arc<Node<E>>,
    coordinators: Arc<Coordinators<E>>,
    /// The stop waits for the task that owns this.
    _guard: Option<Guard>,
}

impl<E: Env> Publisher<E> {
    pub(crate) fn new(node: Arc<Node<E>>, coordinators: Arc<Coordinators<E>>) -> Self {
        let guard = node.tasks.guard();
        Self { node, coordinators, _guard: guard }
    }

    async fn act(
        &self,
        image: &Image,
        next_index: u64,
        changes: Vec<Change>,
    ) -> Result<(), OpenError> {
        let mut gone = Vec::new();
        let mut view = ClusterView::clone(&self.node.view());
        for change in changes {
            match change {
                Change::None => {},
                Change::TopicCreated(topic) => {
                    self.create(&topic, 0).await?;
                    show_topic(&mut view, &topic);
                    self.coordinators.topic_created(&topic);
                },
                Change::TopicConfigured(topic) => {
                    self.configure(&topic).await?;
                    show_topic(&mut view, &topic);
                },
                Change::Configured(resource) => self.reconfigure(image, &resource).await?,
                Change::PartitionsAdded(topic, first) => {
                    self.create(&topic, first).await?;
                    show_topic(&mut view, &topic);
                },
                Change::TopicDeleted(topic) => {
                    self.close(topic.id).await;
                    self.coordinators.topic_deleted(&topic).await;
                    view.topics.remove(&topic.name);
                    view.by_id.remove(&topic.id);
                    gone.push(topic);
                },
                Change::EpochsAdvanced(topics) => {
                    for topic in topics {
                        self.advance(&topic).await?;
                        show_topic(&mut view, &topic);
                    }
                },
            }
        }
        self.node.env.seam("publisher_before_swap").await;
        show_brokers(&mut view, image, next_index, &self.node);
        self.node.show(view);
        for topic in gone {
            self.delete_logs(&topic).await?;
        }
        Ok(())
    }

    /// Creates the logs of a topic's partitions from `first` on and puts these into the table.
    async fn create(&self, topic: &Arc<Topic>, first: usize) -> Result<(), OpenError> {
        // Planted: the metadata say it, and only the next start acts on it.
        if first > 0 && self.node.env.probe().mutant("new_partitions_await_start") {
            return Ok(());
        }
        let config = topic_config(&self.node, topic);
        let led = self
            .led(topic)
            .into_iter()
            .filter(|(id, _)| usize::try_from(id.index.0).is_ok_and(|index| index >= first));
        for (id, epoch, log) in self.create_logs(led, &log_config(&config)).await {
            let led = match log {
                Ok(log) => lead(&self.node, topic, &config, id, epoch, log).await,
                Err(error) => Err(error),
            };
            match led {
                Ok(()) => {},
                Err(OpenError::Full(_)) => {
                    let unmade = Unmade { topic: Arc::clone(topic), epoch };
                    self.node.unmade.add(id, unmade).await;
                },
                Err(OpenError::Failed(_)) => self.node.partition_failed(id),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the logs of partitions, those of one directory together.
    async fn create_logs(
        &self,
        led: impl Iterator<Item = (PartitionId, LeaderEpoch)>,
        rules: &LogConfig,
    ) -> Vec<Created<E>> {
        let mut by_dir: BTreeMap<Option<usize>, Vec<(PartitionId, LeaderEpoch)>> = BTreeMap::new();
        for (id, epoch) in led {
            by_dir.entry(self.node.dirs.place(id)).or_default().push((id, epoch));
        }
        let mut created = Vec::new();
        for some in by_dir.into_values() {
            let dir = some.first().and_then(|(id, _)| self.node.dirs.of(id));
            let Some((_, dir)) = dir else {
                created.extend(some.into_iter().map(|(id, epoch)| (id, epoch, Err(no_place()))));
                continue;
            };
            let found = |id| Found { partition: id, replica_gen: REPLICA_GEN };
            let wished = some.iter().map(|(id, _)| (found(*id), rules.clone())).collect();
            let logs = dir.create_logs(wished).await;
            created.extend(some.into_iter().zip(logs).map(|((id, epoch), log)| (id, epoch, log)));
        }
        created
    }

    /// Puts a broker's own settings in force, in itself and in all topics, which inherit from them.
    async fn reconfigure(&self, image: &Image, resource: &Resource) -> Result<(), OpenError> {
        let is_mine = match resource {
            Resource::Brokers => true,
            Resource::Broker(id) => *id == self.node.config.node_id,
            Resource::Group(_) | Resource::ClientMetrics(_) => false,
        };
        if !is_mine {
            return Ok(());
        }
        self.node.env.probe().reached("broker_reconfigured");
        let before = self.node.rules();
        self.node.set_rules(&image.settings);
        self.inherit(image, &before).await
    }

    /// Puts in force in all topics what they inherit, if that is not as it was `before`.
    async fn inherit(&self, image: &Image, before: &BrokerConfig) -> Result<(), OpenError> {
        if before.topic_defaults != self.node.rules().topic_defaults {
            for topic in image.topics.values() {
                self.configure(topic).await?;
            }
        }
        Ok(())
    }

    /// Puts a topic's rules in force: in all its partitions first, for making what they hold durable
    /// may take its time.
    async fn configure(&self, topic: &Topic) -> Result<(), OpenError> {
        // Planted: the metadata say it, and no partition hears of it.
        if self.node.env.probe().mutant("mode_change_not_published") {
            return Ok(());
        }
        let config = topic_config(&self.node, topic);
        let led = self.led(topic);
        let partitions = led.iter().filter_map(|(id, _)| self.node.partitions.find(id));
        let changed: Vec<_> = partitions
            .map(|partition| {
                partition.log().set_config(log_config(&config));
                let promised = partition.configure(Arc::clone(&config));
                (partition, promised)
            })
            .collect();
        for (partition, promised) in changed {
            // Nothing is acknowledged any more from a directory that failed.
            if let Some(promised) = promised
                && partition.make_durable(promised).await.is_err()
            {
                self.node.partition_failed(partition.id());
            }
        }
        Ok(())
    }

    /// Lets the topic's leaders finish what they write and refuse everything else.
    async fn close(&self, topic: TopicId) {
        self.node.unmade.forget(topic).await;
        for (_, partition) in self.node.partitions.remove_topic(topic) {
            partition.close(Fate::Deleted);
            partition.drained().await;
        }
    }

    async fn advance(&self, topic: &Topic) -> Result<(), OpenError> {
        for (id, epoch) in self.led(topic) {
            if let Some(partition) =
                self.node.partitions.find(&id).filter(|found| !found.is_failed())
            {
                partition.begin_epoch(epoch).await?;
            }
        }
        Ok(())
    }

    async fn delete_logs(&self, topic: &Topic) -> Result<(), OpenError> {
        let led = self.led(topic);
        // What a failed directory holds of it goes when that comes back, with a start.
        let placed = |(id, _): &(PartitionId, LeaderEpoch)| {
            self.node.dirs.of(id).map(|(_, dir)| (*id, dir.clone()))
        };
        let placed: Vec<_> = led.iter().filter_map(placed).collect();
        let mut deletions =
            side_by_side(&self.node.env, "delete_logs", placed, |(id, dir)| async move {
                dir.delete_log(id, REPLICA_GEN).await
            });
        while let Some(deleted) = deletions.recv().await {
            match deleted {
                Ok(()) | Err(OpenError::Missing { .. } | OpenError::Failed(_)) => {},
                Err(error) => return Err(error),
            }
        }
        for (id, _) in led {
            self.node.dirs.forget(&id);
        }
        self.node.env.probe().reached("topic_logs_deleted");
        Ok(())
    }

    /// The partitions of a topic that this broker leads, with their epochs.
    fn led(&self, topic: &Topic) -> Vec<(PartitionId, LeaderEpoch)> {
        let me = Some(self.node.config.node_id);
        let numbered = (0..).map(PartitionIndex).zip(&topic.partitions);
        numbered
            .filter(|(_, partition)| partition.leader == me)
            .map(|(index, partition)| {
                (PartitionId { topic: topic.id, index }, partition.leader_epoch)
            })
            .collect()
    }
}

impl<E: Env> Publish for Publisher<E> {
    async fn publish(&mut self, image: &Image, next_index: u64, changes: Vec<Change>) {
        if let Err(error) = self.act(image, next_index, changes).await {
            self.node.env.probe().reached("publisher_failed");
            self.node.env.halt(format!("cannot follow the metadata: {error}"));
        }
    }

    async fn retell(&mut self, image: &Image, told: &BrokerConfig) {
        let before = self.node.rules();
        self.node.retell(told, &image.settings);
        if let Err(error) = self.inherit(image, &before).await {
            self.node.env.probe().reached("publisher_failed");
            self.node.env.halt(format!("cannot follow the file: {error}"));
        }
    }
}

/// Makes the log of a partition, in the place it has or gets; `is_missed` by this start, or it is new.
/// One that is missed is made beside its files, if there are any, and so says that it may have held
/// more than nothing.
///
/// # Errors
/// [`OpenError::Failed`] if there is no place left.
pub(crate) async fn create_log<E: Env>(
    node: &Node<E>,
    topic: &Topic,
    id: PartitionId,
    is_missed: bool,
) -> Result<Log<E>, OpenError> {
    let rules = log_config(&topic_config(node, topic));
    let found = Found { partition: id, replica_gen: REPLICA_GEN };
    if is_missed && let Some((at, _)) = node.dirs.opened().find(|(_, dir)| dir.has_unnamed(&found))
    {
        node.env.probe().reached("open_finds_unnamed_files");
        node.dirs.found(id, at);
    }
    node.dirs.place(id);
    match node.dirs.of(&id) {
        Some((_, dir)) if is_missed => dir.create_missing_log(id, REPLICA_GEN, rules).await,
        Some((_, dir)) => dir.create_log(id, REPLICA_GEN, rules).await,
        None => Err(no_place()),
    }
}

fn no_place() -> OpenError {
    DirectoryFailed { path: PathBuf::new(), reason: "no log directory is left".into() }.into()
}

/// Notes that `epoch` begins, unless the log knows it or has no batch of an older one.
///
/// # Errors
/// The directory failed, or its disk is full.
async fn begin_epoch<E: Env>(log: &Log<E>, epoch: LeaderEpoch) -> Result<(), WriteError> {
    if log.latest_epoch().is_some_and(|latest| latest.epoch < epoch) {
        log.begin_epoch(epoch).await?;
    }
    Ok(())
}

/// Puts an open log to work.
pub(crate) async fn lead<E: Env>(
    node: &Node<E>,
    topic: &Topic,
    config: &Arc<TopicConfig>,
    id: PartitionId,
    epoch: LeaderEpoch,
    log: Log<E>,
) -> Result<(), OpenError> {
    begin_epoch(&log, epoch).await?;
    let config = Arc::clone(config);
    let openers = Arc::clone(&node.openers);
    let internal = is_internal(&topic.name);
    let init = PartitionInit { epoch, config, internal, openers };
    node.partitions.insert(id, Partition::new(init, log));
    Ok(())
}

/// A topic's rules: its own on top of the broker's; the coordinators' topic has defaults of its own.
pub(crate) fn topic_config<E: Env>(node: &Node<E>, topic: &Topic) -> Arc<TopicConfig> {
    let mut defaults = node.rules().topic_defaults.clone();
    if &*topic.name == OFFSETS_TOPIC {
        defaults.compact = true;
        defaults.delete = false;
        defaults.segment_bytes = node.config.offsets_segment_bytes;
        // As in Kafka, what clients send elsewhere has nothing to do with it.
        defaults.compression = None;
    }
    Arc::new(defaults.with(&topic.configs))
}

fn log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.segment_bytes.min(storage::SEGMENT_BYTES_MAX),
        // As Kafka: what has to be compacted in time has to be in a closed segment in time.
        segment_age: if config.compact {
            config.segment_age.min(config.compaction_lag_max)
        } else {
            config.segment_age
        },
    }
}

fn show_topic(view: &mut ClusterView, topic: &Topic) {
    let shown = Arc::new(TopicView {
        name: Arc::clone(&topic.name),
        id: topic.id,
        internal: is_internal(&topic.name),
        configs: topic.configs.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| PartitionView {
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                replicas: Arc::clone(&partition.replicas),
                isr: Arc::clone(&partition.isr),
                offline: Vec::new(),
            })
            .collect(),
    });
    view.topics.insert(Arc::clone(&topic.name), Arc::clone(&shown));
    view.by_id.insert(topic.id, shown);
}

fn show_brokers<E: Env>(view: &mut ClusterView, image: &Image, next_index: u64, node: &Node<E>) {
    let shown = |broker: &Broker| BrokerView { rack: broker.rack.clone() };
    view.cluster_id = image.cluster_id;
    view.settings = Arc::clone(&image.settings);
    view.metadata_index = next_index;
    view.controller = node.config.node_id;
    view.brokers = image.brokers.iter().map(|(id, broker)| (*id, shown(broker))).collect();
}
