//! What several handlers say about topics: where partitions are, what a client may do, and what it has
//! named.

use std::collections::BTreeMap;

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

/// Topics and partitions in the order in which they are named first, each once and with what is said of
/// it last.
pub(super) fn once_each<T>(
    named: impl Iterator<Item = (String, impl Iterator<Item = (i32, T)>)>,
) -> Vec<(String, Vec<(i32, T)>)> {
    let mut places: BTreeMap<String, (usize, BTreeMap<i32, usize>)> = BTreeMap::new();
    let mut topics: Vec<(String, Vec<(i32, T)>)> = Vec::new();
    for (name, partitions) in named {
        let next = topics.len();
        let (at, known) = places.entry(name.clone()).or_insert((next, BTreeMap::new()));
        if *at == next {
            topics.push((name, Vec::new()));
        }
        let Some((_, once)) = topics.get_mut(*at) else { unreachable!("it is there by now") };
        for (index, what) in partitions {
            let at = *known.entry(index).or_insert(once.len());
            match once.get_mut(at) {
                Some(before) => *before = (index, what),
                None => once.push((index, what)),
            }
        }
    }
    topics
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_twice_is_there_once_where_it_was_first_and_as_it_was_last() {
        let named = [("b", vec![(1, 'x'), (0, 'y'), (1, 'z')]), ("a", vec![(7, 'p')])];
        let named = named.into_iter().chain([("b", vec![(2, 'q'), (0, 'r')]), ("c", vec![])]);
        let named = named.map(|(name, parts)| (name.to_owned(), parts.into_iter()));

        let once = once_each(named);

        let told: Vec<_> = once.iter().map(|(name, parts)| (&**name, &**parts)).collect();
        let of_b = [(1, 'z'), (0, 'r'), (2, 'q')];
        assert_eq!(told, [("b", &of_b[..]), ("a", &[(7, 'p')]), ("c", &[])]);
    }
}
