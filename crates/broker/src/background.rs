//! Work that nobody waits for: making logs durable, deleting old segments, forgetting producers,
//! compacting.
//!
//! Invariants: the flusher keeps every log's durable end within the bounds of `storage`; retention
//! deletes whole segments below the high watermark only; one log is compacted at a time; a failed
//! directory halts the broker.

mod cleaner;

use std::sync::Arc;

use base::{Duration, Probe};
use env::Env;

use crate::node::Node;

/// Kafka's first look at old segments comes this long after the start.
const RETENTION_FIRST: Duration = Duration::from_secs(30);

/// Starts all of it. The tasks end when the broker stops.
pub(crate) fn start<E: Env>(node: &Arc<Node<E>>) {
    let (flusher, retention) = (Arc::clone(node), Arc::clone(node));
    let (flushing, retaining) = (node.tasks.guard(), node.tasks.guard());
    node.env.spawn("flusher", async move {
        flush(flusher).await;
        drop(flushing);
    });
    node.env.spawn("retention", async move {
        retain(retention).await;
        drop(retaining);
    });
    if node.config.cleaner_enabled {
        let (cleaner, cleaning) = (Arc::clone(node), node.cleaner.guard());
        node.env.spawn_dedicated("cleaner", async move {
            cleaner::run(cleaner).await;
            drop(cleaning);
        });
    }
}

async fn flush<E: Env>(node: Arc<Node<E>>) {
    if let Err(failed) = node.dir.run_flusher().await {
        node.env.probe().reached("flusher_failed");
        node.env.halt(failed.to_string());
    }
}

async fn retain<E: Env>(node: Arc<Node<E>>) {
    let mut pause = RETENTION_FIRST.min(node.config.retention_check_interval);
    while node.nap(pause).await {
        pause = node.config.retention_check_interval;
        let now = node.env.wall();
        for partition in node.partitions.all() {
            partition.expire_producers(now, node.config.producer_expiration);
            // A partition that is deleted meanwhile refuses; that is no failure of the directory.
            if partition.retain(now).await.is_err()
                && let Some(failed) = node.dir.failed()
            {
                node.env.halt(failed.to_string());
                return;
            }
        }
    }
}
