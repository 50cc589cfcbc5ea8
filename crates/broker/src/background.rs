//! Work that nobody waits for: making logs durable, deleting old segments, forgetting producers,
//! compacting.
//!
//! Invariants: the flusher keeps every log's durable end within the bounds of `storage`; retention
//! deletes whole segments below the high watermark only; one log is compacted at a time; a failed
//! directory is told to the node, a full disk is said once when it fills up and once when there is
//! room again.

mod cleaner;

use std::sync::Arc;

use base::trace::Kind;
use base::{Duration, Probe};
use env::Env;
use storage::{LogDir, Room};

use crate::coordinator_host::Coordinators;
use crate::node::Node;
use crate::unmade;

/// Kafka's first look at old segments comes this long after the start.
const RETENTION_FIRST: Duration = Duration::from_secs(30);

/// Starts all of it. The tasks end when the broker stops.
pub(crate) fn start<E: Env>(node: &Arc<Node<E>>, coordinators: &Arc<Coordinators<E>>) {
    for (at, dir) in node.dirs.opened() {
        let (flusher, dir) = (Arc::clone(node), dir.clone());
        let flushing = node.tasks.guard();
        node.env.spawn("flusher", async move {
            flush(flusher, at, dir).await;
            drop(flushing);
        });
    }
    let (retention, retaining) = (Arc::clone(node), node.tasks.guard());
    node.env.spawn("retention", async move {
        retain(retention).await;
        drop(retaining);
    });
    let (maker, making) =
        (unmade::run(Arc::clone(node), Arc::clone(coordinators)), node.tasks.guard());
    node.env.spawn("unmade_logs", async move {
        maker.await;
        drop(making);
    });
    if node.config.cleaner_enabled {
        let (cleaner, cleaning) = (Arc::clone(node), node.cleaner.guard());
        node.env.spawn_dedicated("cleaner", async move {
            cleaner::run(cleaner).await;
            drop(cleaning);
        });
    }
}

async fn flush<E: Env>(node: Arc<Node<E>>, at: usize, dir: LogDir<E>) {
    let dir = &dir;
    if let Err(failed) = dir.run_flusher(|room| tell(&node, dir, &room)).await {
        node.env.probe().reached("flusher_failed");
        node.directory_failed(at, &failed.to_string());
    }
}

/// What the log says of a disk that fills up, and of one that has room again.
fn tell<E: Env>(node: &Node<E>, dir: &LogDir<E>, room: &Room) {
    let path = dir.path().display();
    node.record(Kind::Room, &(dir.path(), room));
    match room {
        Room::Full { what, .. } => tracing::warn!(
            "the disk of {path} is full ({what}): producers get KAFKA_STORAGE_ERROR, reads go on; \
             free some space, no restart is needed"
        ),
        Room::Enough => tracing::warn!("the disk of {path} has room again"),
    }
}

async fn retain<E: Env>(node: Arc<Node<E>>) {
    let mut pause = RETENTION_FIRST.min(node.config.retention_check_interval);
    while node.nap(pause).await {
        pause = node.config.retention_check_interval;
        let now = node.env.wall();
        for partition in node.partitions.all() {
            partition.expire_producers(now, node.rules().producer_expiration);
            // A partition that is deleted meanwhile refuses, a full disk is tried again, and of a
            // failed directory its flusher tells.
            drop(partition.retain(now).await);
        }
    }
}
