//! What those ask who run a cluster: more partitions, another configuration, who writes, where epochs
//! ended, what takes room.
//!
//! Invariants: partitions are answered for once they can be used, and a configuration once it is in
//! force; what is only looked at changes nothing, and costs no more than what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{LeaderEpoch, Offset, PartitionId, Probe};
use env::{Disk, Env};
use metadata::{Command, Reply};

use super::Broker;
use crate::BrokerConfig;
use crate::api::{
    ActiveProducer, AddPartitions, DirectoryUsage, EpochEnd, ListOffsetError, LogUsage, TopicError,
};
use crate::metadata_host::{MetadataFailed, NotRetold};

impl<E: Env> Broker<E> {
    /// Broker keys as the file has them: as at the start, until [`Broker::retell`].
    pub fn file(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&self.inner.node.rules().file)
    }

    /// Takes what the broker's file says now in the place of what it said: what may change while the
    /// broker runs is in force when this is answered, but where something that was set while it ran
    /// wins, and is kept below that. Everything else is to be in `told` as it was at the start. Of a
    /// change to `fsync` the same holds as in [`Broker::alter_topics`].
    ///
    /// # Errors
    /// [`TopicError::InvalidRequest`] if it clashes with what was set while the broker ran, and
    /// [`TopicError::StorageFailed`] if the broker is stopping: nothing is changed then.
    /// [`TopicError::NotDurable`]: it is in force.
    pub async fn retell(&self, told: BrokerConfig) -> Result<(), TopicError> {
        let node = &self.inner.node;
        let mode = || node.rules().topic_defaults.durability;
        let before = mode();
        let retold = match self.inner.metadata.read().await.as_ref() {
            Some(host) => host.retell(told).await,
            None => Err(NotRetold::Gone),
        };
        retold.map_err(|why| match why {
            NotRetold::Fault(why) => TopicError::InvalidRequest(why),
            NotRetold::Gone => TopicError::StorageFailed,
        })?;
        if mode() == before {
            return Ok(());
        }
        let view = self.cluster();
        view.topics.keys().try_for_each(|name| self.inner.is_as_durable_as_told(name))
    }

    /// Gives topics more partitions, each topic succeeding or failing alone and whole; answers in the
    /// order of the request, once the partitions are durable and can be used. No topic may be named
    /// twice.
    pub async fn add_partitions(
        &self,
        topics: Vec<AddPartitions>,
        validate_only: bool,
    ) -> Vec<Result<(), TopicError>> {
        let asked = topics.len();
        match self.inner.propose(Command::AddPartitions { topics, validate_only }).await {
            Ok(Reply::Added(outcomes)) => outcomes,
            Err(MetadataFailed::Full) => vec![Err(TopicError::StorageFull); asked],
            Ok(_) | Err(MetadataFailed::Gone) => vec![Err(TopicError::StorageFailed); asked],
        }
    }

    /// Where an epoch ended; `None` for one that never was there.
    ///
    /// # Errors
    /// [`ListOffsetError`].
    pub fn end_of_epoch(
        &self,
        wish: &EpochEnd,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ListOffsetError> {
        let node = &self.inner.node;
        let partition = node.find(&wish.partition).inspect_err(|_| {
            node.env.probe().reached("end_of_epoch_unknown_partition");
        })?;
        partition.end_of_epoch(wish)
    }

    /// The idempotent producers that a partition remembers, by id.
    ///
    /// # Errors
    /// [`ListOffsetError`].
    pub fn active_producers(
        &self,
        id: &PartitionId,
    ) -> Result<Vec<ActiveProducer>, ListOffsetError> {
        Ok(self.inner.node.find(id)?.active_producers())
    }

    /// The log directories in the order of `log.dirs`, and what is in them: of these partitions, or
    /// of all.
    pub async fn usage(&self, asked: Option<&BTreeSet<PartitionId>>) -> Vec<DirectoryUsage> {
        let node = &self.inner.node;
        let partitions = match asked {
            Some(asked) => asked.iter().filter_map(|id| node.partitions.find(id)).collect(),
            None => node.partitions.all(),
        };
        let placed: Vec<_> = partitions
            .into_iter()
            .filter_map(|partition| Some((node.dirs.of(&partition.id())?.0, partition)))
            .collect();
        let mut usage = Vec::new();
        for (at, path, dir) in node.dirs.of_logs() {
            let here = placed.iter().filter(|(place, _)| *place == at && dir.is_some());
            let logs = here.map(|(_, partition)| LogUsage {
                partition: partition.id(),
                bytes: partition.log().size_bytes(),
            });
            let logs = logs.collect();
            let space = match dir {
                Some(_) => node.env.disk().space(&path).await.ok(),
                None => None,
            };
            usage.push(DirectoryUsage { path, is_failed: dir.is_none(), space, logs });
        }
        usage
    }
}
