//! What those ask who run a cluster, as nobody should ask it: partitions that cannot be added, epochs
//! and producers of nothing, elections, moves, other quorums.

use protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use protocol::messages::describe_quorum_request::{
    DescribeQuorumRequest, PartitionData, TopicData,
};
use protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::{NOBODY, OWN, Odd};
use crate::client::TOPIC;
use crate::client::errors::{INVALID_PARTITIONS, NONE, UNKNOWN_TOPIC_OR_PARTITION};

const INVALID_REQUEST: i16 = 42;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const PREFERRED_LEADER_NOT_AVAILABLE: i16 = 80;
const ELECTION_NOT_NEEDED: i16 = 84;
const NO_REASSIGNMENT_IN_PROGRESS: i16 = 85;
/// No topic has this partition.
const NO_PARTITION: i32 = 999;

impl Odd {
    pub(super) async fn operators(&mut self) {
        self.add_partitions().await;
        for (topic, partition, allowed) in [
            (OWN, 0, &[NONE][..]),
            (OWN, NO_PARTITION, &[UNKNOWN_TOPIC_OR_PARTITION]),
            (NOBODY, 0, &[UNKNOWN_TOPIC_OR_PARTITION]),
        ] {
            self.epoch_ends(topic, partition, allowed).await;
            self.producers(topic, partition, allowed).await;
        }
        self.elect().await;
        self.reassign().await;
        self.quorum().await;
        let ask = DescribeLogDirsRequest::default();
        self.ask(4, &ask, |answer| Some(answer.error_code), &[NONE]).await;
    }

    /// None of these adds one.
    async fn add_partitions(&mut self) {
        let to = |name: &str, count| CreatePartitionsTopic {
            name: name.into(),
            count,
            ..CreatePartitionsTopic::default()
        };
        for (topics, allowed) in [
            (vec![to(OWN, 1)], INVALID_PARTITIONS),
            (vec![to(TOPIC, 0)], INVALID_PARTITIONS),
            (vec![to(NOBODY, 2)], UNKNOWN_TOPIC_OR_PARTITION),
            (vec![to(OWN, 2), to(OWN, 3)], INVALID_REQUEST),
        ] {
            let ask = CreatePartitionsRequest {
                topics,
                timeout_ms: 500,
                validate_only: self.dice.chance(500),
            };
            let code =
                |answer: &protocol::messages::create_partitions_response::CreatePartitionsResponse| {
                    Some(answer.results.first()?.error_code)
                };
            self.ask(2, &ask, code, &[allowed]).await;
        }
    }

    async fn epoch_ends(&mut self, topic: &str, partition: i32, allowed: &[i16]) {
        let part = OffsetForLeaderPartition {
            partition,
            current_leader_epoch: -1,
            leader_epoch: i32::try_from(self.dice.below(4)).unwrap_or(0),
        };
        let ask = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic { topic: topic.into(), partitions: vec![part] }],
            ..OffsetForLeaderEpochRequest::default()
        };
        let code = |answer: &protocol::messages::offset_for_leader_epoch_response::OffsetForLeaderEpochResponse| {
            Some(answer.topics.first()?.partitions.first()?.error_code)
        };
        self.ask(3, &ask, code, allowed).await;
    }

    async fn producers(&mut self, topic: &str, partition: i32, allowed: &[i16]) {
        let topic = TopicRequest { name: topic.into(), partition_indexes: vec![partition] };
        let ask = DescribeProducersRequest { topics: vec![topic] };
        let code = |answer: &protocol::messages::describe_producers_response::DescribeProducersResponse| {
            Some(answer.topics.first()?.partitions.first()?.error_code)
        };
        self.ask(0, &ask, code, allowed).await;
    }

    async fn elect(&mut self) {
        for (election_type, topic, allowed) in [
            // Who is offline with its directory has no leader.
            (0, OWN, &[ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE][..]),
            (1, NOBODY, &[UNKNOWN_TOPIC_OR_PARTITION]),
            (7, OWN, &[INVALID_REQUEST]),
        ] {
            let named = TopicPartitions { topic: topic.into(), partitions: vec![0] };
            let ask = ElectLeadersRequest {
                election_type,
                topic_partitions: Some(vec![named]),
                timeout_ms: 500,
            };
            let code =
                |answer: &protocol::messages::elect_leaders_response::ElectLeadersResponse| {
                    let first = answer.replica_election_results.first()?;
                    Some(first.partition_result.first()?.error_code)
                };
            self.ask(2, &ask, code, allowed).await;
        }
    }

    async fn reassign(&mut self) {
        for (topic, replicas, allowed) in [
            (OWN, Some(vec![1]), NONE),
            (OWN, Some(vec![9]), INVALID_REPLICA_ASSIGNMENT),
            (OWN, None, NO_REASSIGNMENT_IN_PROGRESS),
            (NOBODY, None, UNKNOWN_TOPIC_OR_PARTITION),
        ] {
            let partition = ReassignablePartition { partition_index: 0, replicas };
            let ask = AlterPartitionReassignmentsRequest {
                topics: vec![ReassignableTopic { name: topic.into(), partitions: vec![partition] }],
                timeout_ms: 500,
                ..AlterPartitionReassignmentsRequest::default()
            };
            let code = |answer: &protocol::messages::alter_partition_reassignments_response::AlterPartitionReassignmentsResponse| {
                Some(answer.responses.first()?.partitions.first()?.error_code)
            };
            self.ask(1, &ask, code, &[allowed]).await;
        }
    }

    async fn quorum(&mut self) {
        for (topic, allowed) in [("__cluster_metadata", NONE), (NOBODY, UNKNOWN_TOPIC_OR_PARTITION)]
        {
            let partitions = vec![PartitionData { partition_index: 0 }];
            let ask = DescribeQuorumRequest {
                topics: vec![TopicData { topic_name: topic.into(), partitions }],
            };
            let code =
                |answer: &protocol::messages::describe_quorum_response::DescribeQuorumResponse| {
                    Some(answer.topics.first()?.partitions.first()?.error_code)
                };
            self.ask(2, &ask, code, &[allowed]).await;
        }
    }
}
