//! Who leads and who holds a replica: what an administrator may ask to be changed.
//!
//! Invariant: nothing moves in this version, for there is one broker: a partition's leader is its only
//! replica. So every answer follows from the snapshot of the metadata alone. Source: KIP-460, KIP-455;
//! the order of the checks is Kafka's.

use base::{BrokerId, PartitionIndex};
use metadata::check_assignment;
use thiserror::Error;

use super::{ClusterView, PartitionView};

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first replica.
    Preferred,
    /// Any replica, if there is no leader.
    Unclean,
}

/// Why no leader was elected. Texts are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoElection {
    /// There is no such topic.
    #[error("No such topic as {0}")]
    UnknownTopic(String),
    /// The topic has no such partition.
    #[error("No such partition as {0}-{1}")]
    UnknownPartition(String, PartitionIndex),
    /// Who is wanted leads already.
    #[error("Leader election not needed for topic partition.")]
    NotNeeded,
    /// The first replica cannot lead.
    #[error("The preferred leader was not available.")]
    PreferredNotAvailable,
    /// No replica can lead.
    #[error("Eligible topic partition leaders are not available.")]
    NoneEligible,
}

/// Why replicas are not moved. Texts are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReassignError {
    /// There is no such topic.
    #[error("Unable to find a topic named {0}.")]
    UnknownTopic(String),
    /// The topic has no such partition.
    #[error("Unable to find partition {0}:{1}.")]
    UnknownPartition(String, PartitionIndex),
    /// There is nothing to be given up.
    #[error("No partition reassignment is in progress.")]
    NoneInProgress,
    /// The list of replicas cannot be, or is not the present one.
    #[error("{0}")]
    InvalidAssignment(String),
}

impl ClusterView {
    fn placed(&self, topic: &str, index: PartitionIndex) -> Option<Option<&PartitionView>> {
        Some(self.topics.get(topic)?.partition(index))
    }

    /// Why a partition gets no other leader than it has.
    pub fn elect(&self, topic: &str, index: PartitionIndex, election: Election) -> NoElection {
        let Some(placed) = self.placed(topic, index) else {
            return NoElection::UnknownTopic(topic.to_owned());
        };
        let Some(placed) = placed else {
            return NoElection::UnknownPartition(topic.to_owned(), index);
        };
        match (election, placed.leader) {
            (Election::Unclean, Some(_)) => NoElection::NotNeeded,
            (Election::Preferred, Some(leader)) if placed.replicas.first() == Some(&leader) => {
                NoElection::NotNeeded
            },
            (Election::Preferred, _) => NoElection::PreferredNotAvailable,
            (Election::Unclean, None) => NoElection::NoneEligible,
        }
    }

    /// Whether a partition's replicas are `replicas`; `None` gives up a move that is under way.
    ///
    /// # Errors
    /// [`ReassignError`].
    pub fn reassign(
        &self,
        topic: &str,
        index: PartitionIndex,
        replicas: Option<&[BrokerId]>,
    ) -> Result<(), ReassignError> {
        let unknown = || ReassignError::UnknownTopic(topic.to_owned());
        let placed = self.placed(topic, index).ok_or_else(unknown)?;
        let unknown = || ReassignError::UnknownPartition(topic.to_owned(), index);
        let placed = placed.ok_or_else(unknown)?;
        let replicas = replicas.ok_or(ReassignError::NoneInProgress)?;
        check_assignment(|id| self.brokers.contains_key(id), replicas, None)
            .map_err(ReassignError::InvalidAssignment)?;
        if *replicas == *placed.replicas {
            return Ok(());
        }
        let why = "Replicas cannot be moved by a broker of this version.".to_owned();
        Err(ReassignError::InvalidAssignment(why))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{LeaderEpoch, TopicId};

    use super::super::{BrokerView, TopicView};
    use super::*;

    /// One broker, and the topic `t`: its first partition is led, its second one offline.
    fn view() -> ClusterView {
        let me: Arc<[BrokerId]> = vec![BrokerId(1)].into();
        let partition = |leader| PartitionView {
            leader,
            leader_epoch: LeaderEpoch(0),
            replicas: Arc::clone(&me),
            isr: Arc::clone(&me),
            offline: Vec::new(),
        };
        let topic = Arc::new(TopicView {
            name: "t".into(),
            id: TopicId::default(),
            internal: false,
            configs: <_>::default(),
            partitions: vec![partition(Some(BrokerId(1))), partition(None)],
        });
        let mut view = ClusterView::default();
        view.brokers.insert(BrokerId(1), BrokerView::default());
        view.topics.insert(Arc::clone(&topic.name), topic);
        view
    }

    #[test]
    fn who_leads_need_not_be_elected_and_who_is_offline_cannot_be() {
        let elect = |topic, index, election| {
            view().elect(topic, PartitionIndex(index), election).to_string()
        };

        let not_needed = "Leader election not needed for topic partition.";
        assert_eq!(elect("t", 0, Election::Preferred), not_needed);
        assert_eq!(elect("t", 0, Election::Unclean), not_needed);
        let preferred = "The preferred leader was not available.";
        assert_eq!(elect("t", 1, Election::Preferred), preferred);
        let none = "Eligible topic partition leaders are not available.";
        assert_eq!(elect("t", 1, Election::Unclean), none);
        assert_eq!(elect("t", 2, Election::Unclean), "No such partition as t-2");
        assert_eq!(elect("u", 0, Election::Unclean), "No such topic as u");
    }

    #[test]
    fn replicas_stay_where_they_are() {
        let reassign = |topic, index, replicas: Option<&[i32]>| {
            let replicas: Option<Vec<BrokerId>> =
                replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
            let index = PartitionIndex(index);
            let answer = view().reassign(topic, index, replicas.as_deref());
            answer.map_err(|error| error.to_string())
        };
        let refused = |text: &str| Err(text.to_owned());

        assert_eq!(reassign("t", 0, Some(&[1])), Ok(()));
        let none = "No partition reassignment is in progress.";
        assert_eq!(reassign("t", 0, None), refused(none));
        let empty = "The manual partition assignment includes an empty replica list.";
        assert_eq!(reassign("t", 0, Some(&[])), refused(empty));
        let unknown = "The manual partition assignment includes broker 2, but no such broker is \
                       registered.";
        assert_eq!(reassign("t", 0, Some(&[2, 1])), refused(unknown));
        assert_eq!(reassign("t", 2, None), refused("Unable to find partition t:2."));
        assert_eq!(reassign("u", 0, None), refused("Unable to find a topic named u."));
    }
}
