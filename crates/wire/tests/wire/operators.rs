//! What those ask who run a cluster, in every version and word for word.

use broker::api::Acks;
use bytes::Bytes;
use protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::describe_producers_request::TopicRequest as ProducersOf;
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::messages::*;
use records::{BatchBuilder, NewRecord, Producer};
use wire::ErrorCode;
use wire::client::Client;

use super::{Table, ok};
use crate::world::{Served, World, batch};

type To = Client<env_tokio::TokioEnv>;

/// A row for each of these APIs; the topic `t` has one partition, which holds records.
pub async fn every_version(table: &mut Table) {
    let grow = |version: i16| {
        let count = 2 + i32::from(version);
        let topics = vec![to_partitions("t", count)];
        CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false }
    };
    table.each(grow, |version, answer| ok(version, answer.results[0].error_code)).await;
    let ends = |_| epoch_ends("t", &[(0, -1, 0)]);
    table
        .each(ends, |version, answer| {
            let part = &answer.topics[0].partitions[0];
            ok(version, part.error_code);
            assert_eq!(part.leader_epoch, 0);
            assert!(part.end_offset > 0, "records are there");
        })
        .await;
    let dirs = |_| DescribeLogDirsRequest { topics: None };
    table
        .each(dirs, |version, answer| {
            ok(version, answer.results[0].error_code);
            assert_eq!(answer.results[0].total_bytes > 0, version >= 4);
            assert!(answer.results[0].topics.iter().any(|topic| topic.name == "t"));
        })
        .await;
    let producers = |_| producers_of("t", &[0]);
    table
        .each(producers, |version, answer| ok(version, answer.topics[0].partitions[0].error_code))
        .await;
    let elect = |_| ElectLeadersRequest {
        topic_partitions: None,
        timeout_ms: 10_000,
        ..ElectLeadersRequest::default()
    };
    table
        .each(elect, |version, answer| {
            ok(version, answer.error_code);
            // If all are asked for, every topic is named, and nothing is said of a partition whose
            // leader need not be elected.
            let told = answer.replica_election_results;
            assert!(told.iter().any(|one| one.topic == "t"), "{told:?}");
            assert!(told.iter().all(|one| one.partition_result.is_empty()), "{told:?}");
        })
        .await;
    let reassign = |_| reassignment(&[("t", 0, Some(&[1]))]);
    table
        .each(reassign, |version, answer| {
            ok(version, answer.error_code);
            ok(version, answer.responses[0].partitions[0].error_code);
        })
        .await;
    let quorum = |_| quorum_of("__cluster_metadata", 0);
    table
        .each(quorum, |version, answer| {
            ok(version, answer.error_code);
            let part = &answer.topics[0].partitions[0];
            ok(version, part.error_code);
            assert_eq!((part.leader_id, part.current_voters.len()), (1, 1));
            assert_eq!(part.current_voters[0].log_end_offset, part.high_watermark);
            assert_eq!(part.current_voters[0].replica_directory_id.is_zero(), version < 2);
            assert_eq!(answer.nodes.len(), usize::from(version >= 2));
        })
        .await;
}

fn to_partitions(name: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic { name: name.to_owned(), count, assignments: None }
}

/// Partition, present epoch, epoch asked about.
fn epoch_ends(topic: &str, asked: &[(i32, i32, i32)]) -> OffsetForLeaderEpochRequest {
    let part = |(partition, current, epoch): &(i32, i32, i32)| OffsetForLeaderPartition {
        partition: *partition,
        current_leader_epoch: *current,
        leader_epoch: *epoch,
    };
    let partitions = asked.iter().map(part).collect();
    let topic = OffsetForLeaderTopic { topic: topic.to_owned(), partitions };
    OffsetForLeaderEpochRequest { topics: vec![topic], ..OffsetForLeaderEpochRequest::default() }
}

fn producers_of(name: &str, partition_indexes: &[i32]) -> DescribeProducersRequest {
    let partition_indexes = partition_indexes.to_vec();
    let topic = ProducersOf { name: name.to_owned(), partition_indexes };
    DescribeProducersRequest { topics: vec![topic] }
}

fn quorum_of(name: &str, partition_index: i32) -> DescribeQuorumRequest {
    let partitions = vec![PartitionData { partition_index }];
    let topic = TopicData { topic_name: name.to_owned(), partitions };
    DescribeQuorumRequest { topics: vec![topic] }
}

fn reassignment(asked: &[(&str, i32, Option<&[i32]>)]) -> AlterPartitionReassignmentsRequest {
    let topic = |(name, partition_index, replicas): &(&str, i32, Option<&[i32]>)| {
        let replicas = replicas.map(<[i32]>::to_vec);
        let partition = ReassignablePartition { partition_index: *partition_index, replicas };
        ReassignableTopic { name: (*name).to_owned(), partitions: vec![partition] }
    };
    AlterPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: asked.iter().map(topic).collect(),
        ..AlterPartitionReassignmentsRequest::default()
    }
}

fn told(code: i16, message: Option<&str>) -> String {
    format!("{} {}", ErrorCode(code).name(), message.unwrap_or("-"))
}

async fn grow(
    served: &Served,
    client: &mut To,
    topics: Vec<CreatePartitionsTopic>,
    validate_only: bool,
) -> Vec<String> {
    let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only };
    let answer = client.call(3, &request, served.soon()).await.expect("answered");
    let results = answer.results.into_iter();
    let line = |one: create_partitions_response::CreatePartitionsTopicResult| {
        format!("{}: {}", one.name, told(one.error_code, one.error_message.as_deref()))
    };
    results.map(line).collect()
}

/// Writes a batch; the offset of its first record.
async fn write(served: &Served, client: &mut To, to: (&str, i32), batch: Bytes) -> i64 {
    let written = client.produce(to, Acks::All, batch, served.soon()).await.expect("written");
    written.expect("an answer").base_offset
}

async fn partitions(served: &Served, client: &mut To, topic: &str) -> usize {
    let answer = client.metadata(Some(&[topic]), served.soon()).await.expect("metadata");
    let topic = &answer.topics[0];
    assert!(topic.partitions.iter().all(|partition| partition.leader_id == 1), "{topic:?}");
    topic.partitions.len()
}

#[test]
fn new_partitions_take_and_give_records_once_they_are_answered_for() {
    World::new("grown").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let asked = vec![to_partitions("t", 3)];
            assert_eq!(grow(&served, &mut client, asked.clone(), true).await, ["t: NONE -"]);
            assert_eq!(partitions(&served, &mut client, "t").await, 1, "it was only checked");

            assert_eq!(grow(&served, &mut client, asked, false).await, ["t: NONE -"]);

            assert_eq!(write(&served, &mut client, ("t", 2), batch(&["a", "b"])).await, 0);
            assert_eq!(partitions(&served, &mut client, "t").await, 3);
            let request = epoch_ends("t", &[(2, 0, 0), (1, 0, 0)]);
            let answer = client.call(4, &request, served.soon()).await.expect("answered");
            let ends = answer.topics[0].partitions.iter().map(|part| part.end_offset);
            assert_eq!(ends.collect::<Vec<_>>(), [2, 0]);
        },
    );
}

#[test]
fn each_topic_is_refused_more_partitions_alone_in_kafkas_words() {
    World::new("not-grown").serve(
        |_, _| {},
        |served| async move {
            for name in ["t", "u"] {
                served.topic(name, 2).await;
            }
            let mut client = served.client().await;
            let with = |count, replicas: &[i32]| CreatePartitionsTopic {
                assignments: Some(vec![CreatePartitionsAssignment {
                    broker_ids: replicas.to_vec(),
                }]),
                ..to_partitions("t", count)
            };
            let topics = vec![
                to_partitions("t", 2),
                to_partitions("v", 3),
                to_partitions("u", 3),
                to_partitions("w", 3),
                to_partitions("w", 4),
            ];
            let expected = [
                "w: INVALID_REQUEST Duplicate topic name.",
                "t: INVALID_PARTITIONS Topic already has 2 partition(s).",
                "v: UNKNOWN_TOPIC_OR_PARTITION -",
                "u: NONE -",
            ];
            assert_eq!(grow(&served, &mut client, topics, false).await, expected);
            for (wish, expected) in [
                (
                    to_partitions("t", 0),
                    "t: INVALID_PARTITIONS The topic t currently has 2 partition(s); 0 would not \
                     be an increase.",
                ),
                (
                    with(5, &[1]),
                    "t: INVALID_REPLICA_ASSIGNMENT Attempted to add 3 additional partition(s), but \
                     only 1 assignment(s) were specified.",
                ),
                (
                    with(3, &[1, 1]),
                    "t: INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes the \
                     broker 1 more than once.",
                ),
                (
                    to_partitions("t", 10_003),
                    "t: POLICY_VIOLATION Excessively large number of additional partitions per \
                     request.",
                ),
            ] {
                assert_eq!(grow(&served, &mut client, vec![wish], false).await, [expected]);
            }
            assert_eq!(partitions(&served, &mut client, "t").await, 2);
            assert_eq!(partitions(&served, &mut client, "u").await, 3);
        },
    );
}

#[test]
fn an_epoch_ends_at_the_end_of_the_log_or_never_was() {
    World::new("epoch-ends").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 2).await;
            let mut client = served.client().await;
            write(&served, &mut client, ("t", 0), batch(&["a", "b", "c"])).await;
            let asked = [(0, -1, 0), (1, -1, 0), (0, 0, 1), (0, -1, -1), (0, 3, 0), (9, -1, 0)];
            let expected = [
                "0: 0 ends at 3, NONE",
                "1: 0 ends at 0, NONE",
                "0: -1 ends at -1, NONE",
                "0: -1 ends at -1, NONE",
                "0: -1 ends at -1, UNKNOWN_LEADER_EPOCH",
                "9: -1 ends at -1, UNKNOWN_TOPIC_OR_PARTITION",
            ];
            let request = epoch_ends("t", &asked);
            let answer = client.call(4, &request, served.soon()).await.expect("answered");
            let line = |part: &offset_for_leader_epoch_response::EpochEndOffset| {
                let (epoch, end) = (part.leader_epoch, part.end_offset);
                format!("{}: {epoch} ends at {end}, {}", part.partition, told_code(part.error_code))
            };
            let lines: Vec<_> = answer.topics[0].partitions.iter().map(line).collect();
            assert_eq!(lines, expected);
            let request = epoch_ends("u", &[(0, -1, 0)]);
            let answer = client.call(4, &request, served.soon()).await.expect("answered");
            let code = answer.topics[0].partitions[0].error_code;
            assert_eq!(ErrorCode(code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        },
    );
}

fn told_code(code: i16) -> &'static str {
    ErrorCode(code).name()
}

#[test]
fn a_log_directory_tells_what_each_log_takes_and_what_is_left() {
    World::new("log-dirs").serve(
        |_, settings| settings.working_dir = "/somewhere".into(),
        |served| async move {
            served.topic("t", 2).await;
            served.topic("u", 1).await;
            let mut client = served.client().await;
            write(&served, &mut client, ("t", 1), batch(&["a"])).await;
            let named = |topic: &str, partitions: &[i32]| DescribableLogDirTopic {
                topic: topic.to_owned(),
                partitions: partitions.to_vec(),
            };
            let shown = async |client: &mut To, topics| {
                let request = DescribeLogDirsRequest { topics };
                let answer = client.call(5, &request, served.soon()).await.expect("answered");
                let [dir] = answer.results.as_slice() else { panic!("{answer:?}") };
                assert!(dir.log_dir.starts_with('/') && dir.usable_bytes <= dir.total_bytes);
                assert!(dir.usable_bytes > 0 && !dir.is_cordoned);
                let line = |topic: &describe_log_dirs_response::DescribeLogDirsTopic| {
                    let parts = topic.partitions.iter();
                    let sizes = parts.map(|part| (part.partition_index, part.partition_size));
                    (topic.name.clone(), sizes.collect::<Vec<_>>())
                };
                dir.topics.iter().map(line).collect::<Vec<_>>()
            };
            let one = i64::try_from(batch(&["a"]).len()).unwrap();
            let (t, u) = (("t".to_owned(), vec![(0, 0), (1, one)]), ("u".to_owned(), vec![(0, 0)]));
            assert_eq!(shown(&mut client, None).await, [t.clone(), u]);
            let asked = vec![named("t", &[1, 7]), named("nowhere", &[0])];
            assert_eq!(shown(&mut client, Some(asked)).await, [("t".to_owned(), vec![(1, one)])]);
            assert_eq!(shown(&mut client, Some(Vec::new())).await, []);
        },
    );
}

#[test]
fn the_producers_that_a_partition_remembers_are_told() {
    World::new("producers").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 2).await;
            let mut client = served.client().await;
            let (id, epoch) = served.broker.init_producer_id().await.expect("an id");
            let producer = Producer { id, epoch, base_sequence: Some(0) };
            let mut builder = BatchBuilder::new().producer(producer);
            for time in [7, 9, 8] {
                let timestamp = base::Timestamp(time);
                let record = NewRecord { timestamp, value: Some(b"v"), ..NewRecord::default() };
                builder.push(&record).expect("small");
            }
            let bytes = builder.finish_bytes().expect("not empty");
            write(&served, &mut client, ("t", 1), bytes).await;

            let request = producers_of("t", &[0, 1, 2]);
            let answer = client.call(0, &request, served.soon()).await.expect("answered");

            let [none, some, unknown] = answer.topics[0].partitions.as_slice() else { panic!() };
            assert!(none.error_code == 0 && none.active_producers.is_empty());
            let [found] = some.active_producers.as_slice() else { panic!("{some:?}") };
            assert_eq!((found.producer_id, found.producer_epoch), (id.0, 0));
            assert_eq!((found.last_sequence, found.last_timestamp), (2, 9));
            assert_eq!((found.coordinator_epoch, found.current_txn_start_offset), (-1, -1));
            let missing = told(unknown.error_code, unknown.error_message.as_deref());
            assert_eq!(missing, "UNKNOWN_TOPIC_OR_PARTITION -");
            for (name, expected) in [
                (
                    "nowhere",
                    "UNKNOWN_TOPIC_OR_PARTITION This server does not host this topic-partition.",
                ),
                (
                    "",
                    "INVALID_TOPIC_EXCEPTION Topic name is invalid: the empty string is not allowed",
                ),
            ] {
                let request = producers_of(name, &[0]);
                let answer = client.call(0, &request, served.soon()).await.expect("answered");
                let part = &answer.topics[0].partitions[0];
                assert_eq!(told(part.error_code, part.error_message.as_deref()), expected);
            }
        },
    );
}

#[test]
fn nobody_else_is_elected_and_nothing_moves() {
    World::new("elections").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let elect = |election_type, named: Option<&[(&str, i32)]>| ElectLeadersRequest {
                election_type,
                topic_partitions: named.map(|named| {
                    let one = |(topic, index): &(&str, i32)| TopicPartitions {
                        topic: (*topic).to_owned(),
                        partitions: vec![*index],
                    };
                    named.iter().map(one).collect()
                }),
                timeout_ms: 10_000,
            };
            let named: &[(&str, i32)] = &[("t", 0), ("t", 1), ("u", 0)];
            let request = elect(0, Some(named));
            let answer = client.call(2, &request, served.soon()).await.expect("answered");
            let results = &answer.replica_election_results;
            let lines: Vec<_> = results
                .iter()
                .flat_map(|topic| &topic.partition_result)
                .map(|part| told(part.error_code, part.error_message.as_deref()))
                .collect();
            let expected = [
                "ELECTION_NOT_NEEDED Leader election not needed for topic partition.",
                "UNKNOWN_TOPIC_OR_PARTITION No such partition as t-1",
                "UNKNOWN_TOPIC_OR_PARTITION No such topic as u",
            ];
            assert_eq!(lines, expected);
            let all = client.call(2, &elect(1, None), served.soon()).await.expect("answered");
            let results = &all.replica_election_results;
            assert_eq!((results.len(), results[0].partition_result.len()), (1, 0));
            let refused = client.call(2, &elect(9, Some(named)), served.soon()).await.unwrap();
            assert_eq!(ErrorCode(refused.error_code), ErrorCode::INVALID_REQUEST);

            let asked: [(&str, i32, Option<&[i32]>); 4] =
                [("t", 0, Some(&[1])), ("t", 0, None), ("t", 0, Some(&[2])), ("u", 0, None)];
            let request = reassignment(&asked);
            let answer = client.call(1, &request, served.soon()).await.expect("answered");
            let lines: Vec<_> = answer
                .responses
                .iter()
                .flat_map(|topic| &topic.partitions)
                .map(|part| told(part.error_code, part.error_message.as_deref()))
                .collect();
            let expected = [
                "NONE -",
                "NO_REASSIGNMENT_IN_PROGRESS No partition reassignment is in progress.",
                "INVALID_REPLICA_ASSIGNMENT The manual partition assignment includes broker 2, but \
                 no such broker is registered.",
                "UNKNOWN_TOPIC_OR_PARTITION Unable to find a topic named u.",
            ];
            assert_eq!(lines, expected);
        },
    );
}

#[test]
fn only_the_metadata_log_has_a_quorum() {
    World::new("quorum").serve(
        |_, _| {},
        |served| async move {
            let mut client = served.client().await;
            for (name, partition) in [("t", 0), ("__cluster_metadata", 1)] {
                let request = quorum_of(name, partition);
                let answer = client.call(2, &request, served.soon()).await.expect("answered");
                let part = &answer.topics[0].partitions[0];
                let told = told(part.error_code, part.error_message.as_deref());
                let expected =
                    "UNKNOWN_TOPIC_OR_PARTITION This server does not host this topic-partition.";
                assert_eq!((part.partition_index, &*told), (partition, expected));
            }
            let request = quorum_of("__cluster_metadata", 0);
            let answer = client.call(2, &request, served.soon()).await.expect("answered");
            let before = answer.topics[0].partitions[0].high_watermark;
            served.topic("t", 1).await;
            let answer = client.call(2, &request, served.soon()).await.expect("answered");
            assert!(answer.topics[0].partitions[0].high_watermark > before);
            let listener = &answer.nodes[0].listeners[0];
            assert_eq!((&*listener.host, listener.port), ("127.0.0.1", served.addr.port()));
        },
    );
}
