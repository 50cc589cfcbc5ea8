//! Work that nobody waits for: making logs durable, deleting old segments, forgetting producers.
//!
//! Invariants: the flusher keeps every log's durable end within the bounds of `storage`; retention
//! deletes whole segments below the high watermark only; a failed directory halts the broker.

use std::sync::Arc;

use base::{Duration, Probe};
use env::Env;

use crate::node::Node;

/// Kafka's first look at old segments comes this long after the start.
const RETENTION_FIRST: Duration = Duration::from_secs(30);

/// Starts all of it. The tasks end when the broker stops.
pub(crate) fn start<E: Env>(node: &Arc<Node<E>>) {
    node.env.spawn("flusher", flush(Arc::clone(node)));
    node.env.spawn("retention", retain(Arc::clone(node)));
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
            if let Err(failed) = partition.retain(now).await {
                node.env.halt(failed.to_string());
                return;
            }
        }
    }
}
