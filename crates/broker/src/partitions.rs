//! The partitions that this broker leads.
//!
//! Owns: the table from id to partition. Invariant: a partition is in the table only while its log
//! exists: created before it becomes visible, gone from the table before the log is deleted.

use std::sync::Arc;

use base::{PartitionId, SortedMap, TopicId};
use env::{Env, Lock, Rank};

use crate::partition::Partition;

/// Taken alone.
const TABLE_RANK: Rank = Rank(50);

/// The table.
pub(crate) struct Partitions<E: Env> {
    by_id: Lock<SortedMap<PartitionId, Arc<Partition<E>>>>,
}

impl<E: Env> Default for Partitions<E> {
    fn default() -> Self {
        Self { by_id: Lock::new(TABLE_RANK, SortedMap::new()) }
    }
}

impl<E: Env> Partitions<E> {
    /// The partition, if it is here.
    pub(crate) fn find(&self, id: &PartitionId) -> Option<Arc<Partition<E>>> {
        self.by_id.lock().get(id).cloned()
    }

    pub(crate) fn insert(&self, id: PartitionId, partition: Arc<Partition<E>>) {
        self.by_id.lock().insert(id, partition);
    }

    /// Takes a topic's partitions out, in order.
    pub(crate) fn remove_topic(&self, topic: TopicId) -> Vec<(PartitionId, Arc<Partition<E>>)> {
        let mut by_id = self.by_id.lock();
        let gone: Vec<PartitionId> = by_id.keys().filter(|id| id.topic == topic).copied().collect();
        gone.into_iter().filter_map(|id| by_id.remove(&id).map(|p| (id, p))).collect()
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition<E>>> {
        self.by_id.lock().values().cloned().collect()
    }
}
