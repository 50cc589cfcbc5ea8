//! The cleaner: compacts the logs of compacted topics, the filthiest first.
//!
//! Invariants: one log at a time; whether a log is due is its topic's rules, judged anew before
//! every cleaning; a log that could not be cleaned does not keep the others waiting; nothing wakes
//! up more often than `log.cleaner.backoff.ms`. Source: Kafka's log cleaner; ADR 0015.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::PartitionId;
use base::trace::Kind;
use env::Env;
use storage::clean::Dirty;

use crate::node::Node;
use crate::partition::{CleaningEnd, Partition};

/// Cleans until the broker stops.
pub(super) async fn run<E: Env>(node: Arc<Node<E>>) {
    while node.nap(node.rules().cleaner_backoff).await {
        let mut tried = BTreeSet::new();
        while let Some((partition, dirty)) = filthiest(&node, &tried).await {
            match partition.compact(dirty, &node).await {
                CleaningEnd::Cleaned if node.is_stopping() => return,
                CleaningEnd::Cleaned => node.record(Kind::Clean, &partition.id()),
                CleaningEnd::Refused => {
                    tried.insert(partition.id());
                },
            }
        }
    }
}

/// The log with the largest share of bytes that were never compacted, of those that are due.
async fn filthiest<E: Env>(
    node: &Node<E>,
    tried: &BTreeSet<PartitionId>,
) -> Option<(Arc<Partition<E>>, Dirty)> {
    let now = node.env.wall();
    let mut found: Option<(Arc<Partition<E>>, Dirty)> = None;
    for partition in node.partitions.all() {
        if tried.contains(&partition.id()) {
            continue;
        }
        let dirty = partition.dirty(now).await.filter(|dirty| dirty.due);
        let most = found.as_ref().map_or(0, |(_, dirty)| dirty.dirty_ppm);
        if let Some(dirty) = dirty.filter(|dirty| found.is_none() || dirty.dirty_ppm > most) {
            found = Some((partition, dirty));
        }
    }
    found
}
