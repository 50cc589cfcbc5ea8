//! What several handlers say about topics: where partitions are, and what a client may do.

use base::BrokerId;
use broker::api::{ClusterView, PartitionView};

use crate::error_code::ErrorCode;

/// Authorized operations that were not asked for.
pub(super) const NOT_ASKED: i32 = i32::MIN;
/// Everything one can do with a topic: the answer where nobody is denied anything (a bit for each
/// `AclOperation`).
pub(super) const TOPIC_OPERATIONS: i32 = 3576;
/// Everything one can do with a group.
pub(super) const GROUP_OPERATIONS: i32 = 3400;
/// Everything one can do with the cluster.
pub(super) const CLUSTER_OPERATIONS: i32 = 8096;

/// Where a partition is, in Kafka's numbers.
pub(super) struct Placement {
    pub(super) error: ErrorCode,
    /// −1 for none.
    pub(super) leader: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
    /// Replicas on brokers, or in log directories, that are not alive.
    pub(super) offline: Vec<i32>,
}

impl Placement {
    pub(super) fn of(view: &ClusterView, placed: &PartitionView) -> Self {
        let alive = placed.leader.filter(|leader| view.brokers.contains_key(leader));
        let is_offline =
            |id: &&BrokerId| !view.brokers.contains_key(id) || placed.offline.contains(id);
        let offline = placed.replicas.iter().filter(is_offline);
        Self {
            error: if alive.is_some() { ErrorCode::NONE } else { ErrorCode::LEADER_NOT_AVAILABLE },
            leader: alive.map_or(-1, |leader| leader.0),
            replicas: placed.replicas.iter().map(|id| id.0).collect(),
            isr: placed.isr.iter().map(|id| id.0).collect(),
            offline: offline.map(|id| id.0).collect(),
        }
    }
}
