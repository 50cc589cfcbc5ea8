//! One broker, from start to stop: what the front door, the command line and the simulator use.
//!
//! Owns: the order of start (directory, metadata, logs, coordinators, background work) and of stop
//! (refuse, coordinators, drain writers, seal). Invariants: after `stop` began nothing new is
//! accepted; the directory is sealed only if every writer has finished; every request has an end.

mod admin;
pub(crate) mod opened;
mod start;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use base::{
    BrokerId, Offset, PartitionId, PartitionIndex, Probe, ProducerEpoch, ProducerId, TopicId,
};
use env::{Disk, Env};
use metadata::{Command, ConfigChange, OFFSETS_TOPIC, Reply};
use storage::{Durability, LogDir, SealOutcome};
use thiserror::Error;

use crate::api::{
    AlterSettings, AlterTopic, ClusterView, CreateTopic, CreatedTopic, DeleteRecordsError,
    DirectoryView, Fetch, FetchedPartition, FoundOffset, ListOffset, ListOffsetError, Produce,
    ProduceError, Produced, TopicError, TopicRef, group,
};
use crate::coordinator_host::Coordinators;
use crate::metadata_host::{MetadataFailed, MetadataHost};
use crate::node::Node;
use crate::partition::ledger::Fate;
use crate::partition::{Held, Submitted};

pub use start::StartError;

/// Producer ids reserved at a time.
pub(crate) const PRODUCER_ID_BLOCK: u16 = 1000;

/// A running broker. Clones share it.
pub struct Broker<E: Env> {
    inner: Arc<Inner<E>>,
}

impl<E: Env> Clone for Broker<E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<E: Env> std::fmt::Debug for Broker<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broker({})", self.inner.node.config.node_id)
    }
}

struct Inner<E: Env> {
    node: Arc<Node<E>>,
    coordinators: Arc<Coordinators<E>>,
    /// Read by whoever proposes, for as long as it waits; written by the stop, which so waits for
    /// every proposal to end and lets no further one begin.
    metadata: tokio::sync::RwLock<Option<MetadataHost>>,
    /// Producer ids reserved and not handed out yet.
    producer_ids: tokio::sync::Mutex<std::ops::Range<i64>>,
}

/// Why no producer id was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProducerIdError {
    /// All 2^63 are used up.
    #[error("no producer ids are left")]
    Exhausted,
    /// The metadata log failed, or its disk is full, or the broker is stopping.
    #[error("the metadata log failed, or its disk is full, or the broker is stopping")]
    Unavailable,
}

/// How a stop ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Whether every directory was sealed, so that the next start reads no log.
    pub sealed: bool,
    /// Directories that failed: what was acknowledged last may not be on their disks.
    pub failed: Vec<PathBuf>,
}

type FileOf<E> = <<E as Env>::Disk as Disk>::File;

impl<E: Env> Broker<E> {
    /// The metadata as clients may see it: one immutable snapshot.
    pub fn cluster(&self) -> Arc<ClusterView> {
        self.inner.node.view()
    }

    /// The partitions that are led here.
    pub(crate) fn partitions(&self) -> Vec<Arc<crate::partition::Partition<E>>> {
        self.inner.node.partitions.all()
    }

    /// The log directories, in the order of `log.dirs`, and how they are.
    pub fn directories(&self) -> Vec<DirectoryView> {
        self.inner.node.dirs.views()
    }

    /// What the flight recorder holds now. `version` is the program's.
    pub fn flight_record(&self, version: &str) -> base::trace::Record {
        let node = &self.inner.node;
        let (entries, dropped) = node.recorded();
        let (now, wall) = (node.env.now().0, node.env.wall().0);
        base::trace::Record { version: version.to_owned(), now, wall, dropped, entries }
    }

    pub(crate) fn directory_measures(&self) -> Vec<crate::measure::DirectoryMeasures> {
        self.inner.node.dirs.measures()
    }

    /// What the broker was told at its start.
    pub fn config(&self) -> &crate::BrokerConfig {
        &self.inner.node.config
    }

    /// Appends one batch: [`Broker::submit`], then waits for what was promised.
    ///
    /// # Errors
    /// [`ProduceError`] says whether the batch may still be in the log.
    pub async fn produce(&self, wish: Produce) -> Result<Produced, ProduceError> {
        let submitted = self.submit(wish, &mut Held::default()).await?;
        submitted.proven(&self.inner.node.env).await
    }

    /// Gives one batch its place. Batches submitted one after the other are in the log in that
    /// order; several [`Submitted::proven`] may then be awaited together. What is submitted with one
    /// `held` is written together, once it is let go: that has to come before any of those waits.
    ///
    /// # Errors
    /// [`ProduceError`]: the batch is not and will not be in the log.
    pub async fn submit(
        &self,
        wish: Produce,
        held: &mut Held<E>,
    ) -> Result<Submitted, ProduceError> {
        let node = &self.inner.node;
        if node.is_stopping() {
            node.env.probe().reached("produce_while_stopping");
            return Err(ProduceError::Stopping);
        }
        let partition = node.find(&wish.partition).inspect_err(|_| {
            node.env.probe().reached("produce_unknown_partition");
        })?;
        if partition.is_internal() && !wish.internal_allowed {
            node.env.probe().reached("produce_internal_topic");
            return Err(ProduceError::InternalTopic);
        }
        partition.submit(&wish.batch, (wish.acks, wish.deadline), held).await
    }

    /// Waits for the proof of a submitted batch.
    ///
    /// # Errors
    /// Those of [`Submitted::proven`].
    pub async fn proven(&self, submitted: Submitted) -> Result<Produced, ProduceError> {
        submitted.proven(&self.inner.node.env).await
    }

    /// Reads partitions, waiting as long as the request says. Dropping the future ends the wait.
    pub async fn fetch(&self, wish: Fetch) -> Vec<FetchedPartition<FileOf<E>>> {
        crate::fetch::fetch(&self.inner.node, wish).await
    }

    /// First offset of a partition that is led here.
    pub fn log_start(&self, id: &PartitionId) -> Option<Offset> {
        self.inner.node.partitions.find(id).map(|partition| partition.log_start())
    }

    /// Answers a question about offsets; `None` is "no such record".
    ///
    /// # Errors
    /// [`ListOffsetError`].
    pub async fn list_offset(
        &self,
        wish: &ListOffset,
    ) -> Result<Option<FoundOffset>, ListOffsetError> {
        let partition = self.inner.node.find(&wish.partition).inspect_err(|_| {
            self.inner.node.env.probe().reached("list_offsets_unknown_partition");
        })?;
        partition.list_offset(wish).await
    }

    /// Deletes the records of a partition below `upto` (`None`: below the high watermark), durably;
    /// returns the first offset that is left.
    ///
    /// # Errors
    /// [`DeleteRecordsError`]. Only after [`DeleteRecordsError::StorageFailed`] they may be gone.
    pub async fn delete_records(
        &self,
        id: PartitionId,
        upto: Option<Offset>,
    ) -> Result<Offset, DeleteRecordsError> {
        let node = &self.inner.node;
        if node.is_stopping() {
            return Err(DeleteRecordsError::Stopping);
        }
        let partition = node.find(&id).inspect_err(|_| {
            node.env.probe().reached("delete_records_unknown_partition");
        })?;
        if partition.is_internal() {
            node.env.probe().reached("delete_records_internal_topic");
            return Err(DeleteRecordsError::InternalTopic);
        }
        let guard = node.tasks.guard().ok_or(DeleteRecordsError::Stopping)?;
        partition.delete_records(upto, guard).await
    }

    /// Creates topics, each succeeding or failing alone; answers in the order of the request, once
    /// the topics can be used.
    pub async fn create_topics(
        &self,
        topics: Vec<CreateTopic>,
        validate_only: bool,
    ) -> Vec<Result<CreatedTopic, TopicError>> {
        let asked = topics.len();
        let node = &self.inner.node;
        let fresh = |topic| (topic, TopicId(node.env.random_uuid()));
        let command = Command::CreateTopics {
            topics: topics.into_iter().map(fresh).collect(),
            defaults: node.config.metadata_defaults(),
            validate_only,
        };
        match self.inner.propose(command).await {
            Ok(Reply::Created(outcomes)) => outcomes,
            Err(MetadataFailed::Full) => vec![Err(TopicError::StorageFull); asked],
            Ok(_) | Err(MetadataFailed::Gone) => vec![Err(TopicError::StorageFailed); asked],
        }
    }

    /// Creates a topic that a client named, with the broker's defaults; one that exists is fine.
    ///
    /// # Errors
    /// [`TopicError`] if the name is bad or the metadata log failed.
    pub async fn auto_create(&self, name: &str) -> Result<(), TopicError> {
        let config = &self.inner.node.config;
        let mut wish = CreateTopic { name: name.to_owned(), ..CreateTopic::default() };
        if name == OFFSETS_TOPIC {
            wish = crate::coordinator_host::offsets_topic(config, self.cluster().brokers.len());
        }
        match self.create_topics(vec![wish], false).await.pop() {
            Some(Ok(_) | Err(TopicError::Exists(_))) => Ok(()),
            Some(Err(error)) => Err(error),
            None => Err(TopicError::StorageFailed),
        }
    }

    /// Deletes topics, each succeeding or failing alone; answers in the order of the request.
    pub async fn delete_topics(
        &self,
        topics: Vec<TopicRef>,
    ) -> Vec<Result<(String, TopicId), TopicError>> {
        let asked = topics.len();
        if !self.inner.node.config.delete_topics {
            self.inner.node.env.probe().reached("topic_deletion_disabled");
            return vec![Err(TopicError::DeletionDisabled); asked];
        }
        match self.inner.propose(Command::DeleteTopics { topics }).await {
            Ok(Reply::Deleted(outcomes)) => outcomes,
            Err(MetadataFailed::Full) => vec![Err(TopicError::StorageFull); asked],
            Ok(_) | Err(MetadataFailed::Gone) => vec![Err(TopicError::StorageFailed); asked],
        }
    }

    /// Changes the overrides of topics, each succeeding or failing alone and whole; answers in the
    /// order of the request, once the change is durable and in force. No topic may be named twice.
    ///
    /// A batch keeps the durability under which it was accepted. When a change to `fsync` is
    /// answered, everything that was accepted before it is durable; where that could not be done,
    /// the answer is [`TopicError::NotDurable`], though the change is in force.
    pub async fn alter_topics(
        &self,
        topics: Vec<AlterTopic>,
        validate_only: bool,
    ) -> Vec<Result<(), TopicError>> {
        let asked = topics.len();
        let of_mode: Vec<_> = topics
            .iter()
            .map(|wish| changes_mode(&wish.change).then(|| wish.name.clone()))
            .collect();
        match self.inner.propose(Command::AlterTopics { topics, validate_only }).await {
            Ok(Reply::Altered(outcomes)) if validate_only => outcomes,
            Ok(Reply::Altered(outcomes)) => {
                let told = outcomes.into_iter().zip(of_mode);
                told.map(|(outcome, name)| {
                    outcome.and_then(|()| {
                        name.map_or(Ok(()), |name| self.inner.is_as_durable_as_told(&name))
                    })
                })
                .collect()
            },
            Err(MetadataFailed::Full) => vec![Err(TopicError::StorageFull); asked],
            Ok(_) | Err(MetadataFailed::Gone) => vec![Err(TopicError::StorageFailed); asked],
        }
    }

    /// Changes what is set for brokers, groups and subscriptions, each succeeding or failing alone and
    /// whole; answers in the order of the request, once the change is durable and in force. Nothing may
    /// be named twice. Of a change to `fsync` the same holds as in [`Broker::alter_topics`].
    pub async fn alter_settings(
        &self,
        wishes: Vec<AlterSettings>,
        validate_only: bool,
    ) -> Vec<Result<(), TopicError>> {
        let asked = wishes.len();
        let of_mode: Vec<bool> = wishes.iter().map(|wish| changes_mode(&wish.change)).collect();
        let file = self.file();
        let command = Command::AlterSettings { wishes, file, validate_only };
        match self.inner.propose(command).await {
            Ok(Reply::Altered(outcomes)) if validate_only => outcomes,
            Ok(Reply::Altered(outcomes)) => {
                let told = outcomes.into_iter().zip(of_mode);
                told.map(|(outcome, of_mode)| {
                    outcome.and_then(|()| {
                        let view = self.cluster();
                        let mut topics = view.topics.keys().filter(|_| of_mode);
                        topics.try_for_each(|name| self.inner.is_as_durable_as_told(name))
                    })
                })
                .collect()
            },
            Err(MetadataFailed::Full) => vec![Err(TopicError::StorageFull); asked],
            Ok(_) | Err(MetadataFailed::Gone) => vec![Err(TopicError::StorageFailed); asked],
        }
    }

    /// A producer id that nobody ever had, with its first epoch.
    ///
    /// # Errors
    /// [`ProducerIdError`].
    pub async fn init_producer_id(&self) -> Result<(ProducerId, ProducerEpoch), ProducerIdError> {
        let mut ids = self.inner.producer_ids.lock().await;
        if ids.is_empty() {
            let broker = self.inner.node.config.node_id;
            let command = Command::ReserveProducerIds { broker, count: PRODUCER_ID_BLOCK };
            match self.inner.propose(command).await {
                Ok(Reply::ProducerIds(Some(block))) => {
                    let first = block.first.0;
                    *ids = first..first.saturating_add(i64::from(block.count));
                },
                Ok(Reply::ProducerIds(None)) => return Err(ProducerIdError::Exhausted),
                Ok(_) | Err(MetadataFailed::Full | MetadataFailed::Gone) => {
                    return Err(ProducerIdError::Unavailable);
                },
            }
        }
        let id = ids.next().ok_or(ProducerIdError::Exhausted)?;
        Ok((ProducerId(id), ProducerEpoch(0)))
    }

    /// Who coordinates `group`; creates the coordinators' topic if this is the first to ask.
    /// `None`: nobody can now, ask again.
    pub async fn find_coordinator(&self, group: &str) -> Option<BrokerId> {
        let node = &self.inner.node;
        if !node.view().topics.contains_key(OFFSETS_TOPIC) {
            node.env.probe().reached("group_topic_created");
            if let Err(error) = self.auto_create(OFFSETS_TOPIC).await {
                tracing::warn!(%error, "the coordinators' topic cannot be created");
            }
        }
        self.inner.coordinators.hosts(group).then_some(node.config.node_id)
    }

    /// Asks a group's coordinator; [`group::Command::List`] asks all of them. Every command is answered:
    /// joins and syncs when the group is complete or its time limits have passed, commits and
    /// deletions within `offsets.commit.timeout.ms`, the rest at once.
    pub async fn group(&self, command: group::Command) -> group::Reply {
        self.inner.coordinators.ask(command).await
    }

    /// Asks about many groups at once, each as [`Broker::group`] does; the answers are in the order of
    /// `commands`. More than a mailbox holds (1024) for one coordinator are refused as not available.
    pub async fn groups(&self, commands: Vec<group::Command>) -> Vec<group::Reply> {
        self.inner.coordinators.ask_all(commands).await
    }

    /// Stops: refuses what is new, lets coordinators and writers finish, makes everything durable
    /// and seals the directory, so that the next start reads no log. A second call does nothing, and
    /// has nothing to tell.
    pub async fn stop(&self) -> Stopped {
        let node = &self.inner.node;
        // Proposals under way end, and no further one begins.
        drop(self.inner.metadata.write().await.take());
        let mut stopped = Stopped::default();
        if node.is_stopping() {
            return stopped;
        }
        node.begin_stop();
        self.inner.coordinators.stop().await;
        let partitions = node.partitions.all();
        for partition in &partitions {
            partition.close(Fate::Stopping);
        }
        for partition in &partitions {
            partition.drained().await;
        }
        node.cleaner.ended().await;
        stopped.sealed = true;
        let unmade = self.unmade().await;
        for (at, dir) in node.dirs.opened() {
            // The directory with the metadata tells what of them has no log.
            let unmade = if node.dirs.is_home(at) { &unmade } else { &BTreeSet::new() };
            self.seal(dir, unmade, &mut stopped).await;
        }
        if stopped.sealed {
            tracing::info!("stopped");
        }
        // Sealed or not: whoever starts on this directory next must find nobody at work in it.
        node.tasks.ended().await;
        stopped
    }
}

impl<E: Env> Broker<E> {
    /// The partitions that have no log, or whose log may be in a directory that is away: a start that
    /// finds none of theirs must not take it for lost (simulator seed 550918).
    async fn unmade(&self) -> BTreeSet<PartitionId> {
        let node = &self.inner.node;
        let mut unmade = node.dirs.unplaced();
        unmade.extend(node.unmade.ids().await);
        if !unmade.is_empty() {
            node.env.probe().reached("stop_with_unmade_log");
            let count = unmade.len();
            tracing::warn!(
                "{count} partitions have no log yet, or it is in a log directory that is away"
            );
        }
        unmade
    }

    /// Closes a directory, and notes whether that was done as it should be.
    async fn seal(&self, dir: &LogDir<E>, unmade: &BTreeSet<PartitionId>, stopped: &mut Stopped) {
        let path = dir.path().display();
        match dir.seal_but(unmade).await {
            Ok(SealOutcome::Sealed) => return,
            Ok(SealOutcome::NotAllOpened(logs)) => {
                tracing::error!(
                    logs,
                    "stopped without a seal in {path}: some logs were never opened"
                );
            },
            Err(error) => {
                self.inner.node.env.probe().reached("stop_without_seal");
                tracing::error!(%error, "stopped without a seal in {path}: the next start will recover");
                stopped.failed.push(dir.path().to_owned());
            },
        }
        stopped.sealed = false;
    }
}

impl<E: Env> Inner<E> {
    async fn propose(&self, command: Command) -> Result<Reply, MetadataFailed> {
        let host = self.metadata.read().await;
        let Some(host) = host.as_ref() else {
            self.node.env.probe().reached("metadata_while_stopping");
            return Err(MetadataFailed::Gone);
        };
        host.propose(command).await
    }

    /// Whether the word of a change of settings is true that was just carried out: under `fsync`
    /// nothing may be owed from before it.
    ///
    /// # Errors
    /// [`TopicError::NotDurable`].
    fn is_as_durable_as_told(&self, topic: &str) -> Result<(), TopicError> {
        let node = &self.node;
        let view = node.view();
        let Some(topic) = view.topics.get(topic) else { return Ok(()) };
        let config = node.rules().topic_defaults.with(&topic.configs);
        if config.durability != Durability::Fsync {
            return Ok(());
        }
        let ids = (0_i32..)
            .zip(&topic.partitions)
            .map(|(index, _)| PartitionId { topic: topic.id, index: PartitionIndex(index) });
        let is_down = |id: &PartitionId| {
            node.dirs.is_offline(id)
                || node.partitions.find(id).is_some_and(|found| found.is_failed())
        };
        let down: Vec<i32> = ids.filter(is_down).map(|id| id.index.0).collect();
        if down.is_empty() {
            return Ok(());
        }
        node.env.probe().reached("mode_change_not_durable");
        Err(TopicError::NotDurable(down))
    }
}

/// Whether a change may be one of the durability mode.
fn changes_mode(change: &ConfigChange) -> bool {
    const KEYS: [&str; 5] = [
        "gregor.durability",
        "flush.messages",
        "flush.ms",
        "log.flush.interval.messages",
        "log.flush.interval.ms",
    ];
    match change {
        ConfigChange::Replace(_) => true,
        ConfigChange::Edit(edits) => edits.iter().any(|(key, _)| KEYS.contains(&key.as_str())),
    }
}
