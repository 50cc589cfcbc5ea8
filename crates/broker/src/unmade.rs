//! Logs for which there was no room when their topic was created.
//!
//! Owns: the list of them, and the task that tries again. Invariants: a topic is never refused once
//! it is in the metadata; a log is made at most once, and not after its topic was deleted; nothing
//! runs while the list is empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Duration, LeaderEpoch, PartitionId, Probe, TopicId};
use env::Env;
use metadata::Topic;
use storage::OpenError;
use tokio::sync::{Mutex, Notify};

use crate::coordinator_host::Coordinators;
use crate::node::Node;
use crate::publisher::{create_log, lead, topic_config};

/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// A log that is still to be made.
pub(crate) struct Unmade {
    pub(crate) topic: Arc<Topic>,
    pub(crate) epoch: LeaderEpoch,
}

/// All of them.
#[derive(Default)]
pub(crate) struct UnmadeLogs {
    by_id: Mutex<BTreeMap<PartitionId, Unmade>>,
    kick: Notify,
}

impl UnmadeLogs {
    /// Takes one in.
    pub(crate) async fn add(&self, id: PartitionId, unmade: Unmade) {
        self.by_id.lock().await.insert(id, unmade);
        self.kick.notify_one();
    }

    /// Whose logs are still to be made. Waits for an attempt that is under way.
    pub(crate) async fn ids(&self) -> Vec<PartitionId> {
        self.by_id.lock().await.keys().copied().collect()
    }

    /// Makes the task look around.
    pub(crate) fn wake(&self) {
        self.kick.notify_one();
    }

    /// The topic is deleted: none of its logs will be made from now on.
    pub(crate) async fn forget(&self, topic: TopicId) {
        self.by_id.lock().await.retain(|id, _| id.topic != topic);
    }
}

/// Makes them as soon as there is room. Ends when the broker stops.
pub(crate) async fn run<E: Env>(node: Arc<Node<E>>, coordinators: Arc<Coordinators<E>>) {
    loop {
        let is_idle = node.unmade.by_id.lock().await.is_empty();
        if is_idle && !node.is_stopping() {
            node.unmade.kick.notified().await;
        }
        if !node.nap(TRY_EVERY).await {
            return;
        }
        if let Err(error) = try_all(&node, &coordinators).await {
            node.env.halt(format!("cannot follow the metadata: {error}"));
            return;
        }
    }
}

async fn try_all<E: Env>(
    node: &Arc<Node<E>>,
    coordinators: &Coordinators<E>,
) -> Result<(), OpenError> {
    let mut by_id = node.unmade.by_id.lock().await;
    while let Some((id, unmade)) = by_id.pop_first() {
        match create_log(node, &unmade.topic, id, false).await {
            Ok(log) => {
                node.env.probe().reached("log_made_later");
                let config = topic_config(node, &unmade.topic);
                lead(node, &unmade.topic, &config, id, unmade.epoch, log).await?;
                coordinators.partition_led(&unmade.topic, id);
            },
            Err(OpenError::Full(_)) => {
                by_id.insert(id, unmade);
                return Ok(());
            },
            Err(OpenError::Failed(_)) => node.partition_failed(id),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
