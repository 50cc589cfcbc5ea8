//! What those ask who run a cluster: more partitions, who writes, where epochs ended, what takes room.
//!
//! Invariants: partitions are answered for once they can be used; what is only looked at changes
//! nothing, and costs no more than what was asked for.

use std::collections::BTreeSet;

use base::{LeaderEpoch, Offset, PartitionId, Probe};
use env::{Disk, Env};
use metadata::{Command, Reply};

use super::Broker;
use crate::api::{
    ActiveProducer, AddPartitions, DirectoryUsage, EpochEnd, ListOffsetError, LogUsage, TopicError,
};
use crate::metadata_host::MetadataFailed;

impl<E: Env> Broker<E> {
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
