//! What is named twice is answered once where it may be long, and no answer is longer than it may be.

use broker::api::Acks;
use bytes::Bytes;
use protocol::Request;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::*;
use wire::ErrorCode;
use wire::client::Client;

use crate::world::{Raw, Served, World, batch, framed};

type To = Client<env_tokio::TokioEnv>;

/// Kafka's number of the resource type "group".
const GROUP: i8 = 32;

async fn call<R: Request>(served: &Served, client: &mut To, version: i16, ask: &R) -> R::Response {
    client.call(version, ask, served.soon()).await.expect("answered")
}

/// Commits offsets of the first partitions of `t`, which has these, once the coordinator is there.
async fn commit(served: &Served, client: &mut To, group: &str, partitions: i32) {
    let part = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 7,
        committed_metadata: Some("note".to_owned()),
        ..OffsetCommitRequestPartition::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: (0..partitions).map(part).collect(),
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    loop {
        drop(client.find_coordinator(group, served.soon()).await);
        let answer = call(served, client, 8, &request).await;
        let codes = answer.topics[0].partitions.iter().map(|part| part.error_code);
        if codes.clone().all(|code| code == 0) {
            return;
        }
        let loading = [14, 15, 16];
        assert!(codes.clone().all(|code| loading.contains(&code)), "{answer:?}");
    }
}

fn group(id: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequestGroup {
    let topic = |(name, indexes): &(&str, &[i32])| OffsetFetchRequestTopics {
        name: (*name).to_owned(),
        partition_indexes: indexes.to_vec(),
        ..OffsetFetchRequestTopics::default()
    };
    OffsetFetchRequestGroup {
        group_id: id.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..OffsetFetchRequestGroup::default()
    }
}

/// The group, and what is told of each partition.
fn offsets_of(group: &offset_fetch_response::OffsetFetchResponseGroup) -> (String, String) {
    let mut told = Vec::new();
    for topic in &group.topics {
        for part in &topic.partitions {
            told.push(format!("{}-{} {}", topic.name, part.partition_index, part.committed_offset));
        }
    }
    (group.group_id.clone(), told.join(", "))
}

#[test]
fn offsets_of_a_group_that_is_named_often_are_told_once() {
    World::new("repeated-groups").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 3).await;
            let mut client = served.client().await;
            commit(&served, &mut client, "g", 2).await;
            let told = async |client: &mut To, groups| {
                let ask = OffsetFetchRequest { groups, ..OffsetFetchRequest::default() };
                let answer = call(&served, client, 8, &ask).await;
                answer.groups.iter().map(offsets_of).collect::<Vec<_>>()
            };
            let line = |id: &str, parts: &str| (id.to_owned(), parts.to_owned());

            let often = vec![group("g", None); 300];
            assert_eq!(told(&mut client, often).await, [line("g", "t-0 7, t-1 7")]);
            let parts: &[(&str, &[i32])] =
                &[("t", &[1, 1]), ("t", &[1, 2]), ("u", &[0]), ("u", &[0])];
            let apart =
                vec![group("g", Some(parts)), group("h", None), group("g", Some(&[("t", &[0])]))];
            let expected = [line("g", "t-0 7, t-1 7, t-2 -1, u-0 -1"), line("h", "")];
            assert_eq!(told(&mut client, apart).await, expected);
            let all = vec![group("g", Some(&[("t", &[2])])), group("g", None)];
            assert_eq!(told(&mut client, all).await, [line("g", "t-0 7, t-1 7")]);
        },
    );
}

#[test]
fn a_topic_that_is_named_often_costs_its_offsets_once() {
    World::new("repeated-topics").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            commit(&served, &mut client, "g", 1).await;
            let often = |name: &str| OffsetFetchRequest {
                group_id: "g".to_owned(),
                topics: Some(vec![
                    OffsetFetchRequestTopic {
                        name: name.to_owned(),
                        partition_indexes: vec![0, 0],
                    };
                    1000
                ]),
                ..OffsetFetchRequest::default()
            };

            for name in ["t", "u"] {
                let answer = call(&served, &mut client, 7, &often(name)).await;
                assert_eq!(answer.topics.len(), 1);
                assert_eq!(answer.topics[0].partitions.len(), 1);
            }
        },
    );
}

#[test]
fn a_partition_that_is_named_often_tells_its_producers_once() {
    World::new("repeated-producers").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 2).await;
            let mut client = served.client().await;
            let topic = |indexes: &[i32]| TopicRequest {
                name: "t".to_owned(),
                partition_indexes: indexes.to_vec(),
            };
            let ask =
                DescribeProducersRequest { topics: vec![topic(&[0, 1, 0]), topic(&[1, 7, 7])] };

            let answer = call(&served, &mut client, 0, &ask).await;

            let told = |topic: &describe_producers_response::TopicResponse| {
                topic.partitions.iter().map(|part| part.partition_index).collect::<Vec<_>>()
            };
            assert_eq!(answer.topics.iter().map(told).collect::<Vec<_>>(), [[0, 1, 7]]);
        },
    );
}

#[test]
fn records_are_deleted_whatever_time_their_client_gives_and_once_by_the_last_offset() {
    World::new("repeated-deletions").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let three = batch(&["a", "b", "c"]);
            client.produce(("t", 0), Acks::All, three, served.soon()).await.expect("written");
            let ask = |timeout_ms, offsets: &[i64]| DeleteRecordsRequest {
                timeout_ms,
                topics: offsets
                    .iter()
                    .map(|offset| DeleteRecordsTopic {
                        name: "t".to_owned(),
                        partitions: vec![DeleteRecordsPartition {
                            partition_index: 0,
                            offset: *offset,
                        }],
                    })
                    .collect(),
            };

            for (timeout_ms, offsets, start) in [(0, &[1][..], 1), (-1, &[3, 2], 2), (0, &[-1], 3)]
            {
                let answer = call(&served, &mut client, 2, &ask(timeout_ms, offsets)).await;
                let [topic] = answer.topics.as_slice() else { panic!("{answer:?}") };
                let [part] = topic.partitions.as_slice() else { panic!("{answer:?}") };
                assert_eq!((part.error_code, part.low_watermark), (0, start), "{timeout_ms} ms");
            }
        },
    );
}

#[test]
fn an_offset_that_is_named_often_is_deleted_once() {
    World::new("repeated-offsets").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            commit(&served, &mut client, "g", 1).await;
            let part = |partition_index| OffsetDeleteRequestPartition { partition_index };
            let topic = |name: &str| OffsetDeleteRequestTopic {
                name: name.to_owned(),
                partitions: vec![part(0), part(0), part(5), part(5)],
            };
            let ask = OffsetDeleteRequest {
                group_id: "g".to_owned(),
                topics: vec![topic("t"), topic("u"), topic("t")],
            };

            let answer = call(&served, &mut client, 0, &ask).await;

            let mut told = Vec::new();
            for topic in &answer.topics {
                for part in &topic.partitions {
                    let error = ErrorCode(part.error_code).name();
                    told.push(format!("{}-{} {error}", topic.name, part.partition_index));
                }
            }
            told.sort();
            let expected = [
                "t-0 NONE",
                "t-5 UNKNOWN_TOPIC_OR_PARTITION",
                "u-0 UNKNOWN_TOPIC_OR_PARTITION",
                "u-5 UNKNOWN_TOPIC_OR_PARTITION",
            ];
            assert_eq!(told, expected);
        },
    );
}

fn settings_of(names: impl Iterator<Item = String>, kind: i8) -> DescribeConfigsRequest {
    let resource = |resource_name| DescribeConfigsResource {
        resource_type: kind,
        resource_name,
        configuration_keys: None,
    };
    DescribeConfigsRequest {
        resources: names.map(resource).collect(),
        include_synonyms: true,
        include_documentation: true,
    }
}

/// The bytes of the answer, if there is one.
async fn answered(raw: &mut Raw, frame: Bytes) -> Option<usize> {
    raw.send(frame).await;
    raw.frame().await.map(|answer| answer.len())
}

#[test]
fn an_answer_that_would_be_too_long_ends_its_connection_and_a_long_one_does_not() {
    World::new("long-answers").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let names = |count: usize| (0..count).map(|at| format!("{at:x}"));
            let [few, many] =
                [1000, 100_000].map(|count| framed(4, 1, &settings_of(names(count), GROUP)));

            let long = answered(&mut served.raw().await, few).await.expect("an answer");
            let longer = answered(&mut served.raw().await, many).await;

            assert!(long > 1 << 20, "{long} bytes");
            assert_eq!(longer, None);
            // As far as a name goes it costs what it costs to ask.
            let name = "x".repeat(30_000);
            let elect = ElectLeadersRequest {
                topic_partitions: Some(vec![TopicPartitions {
                    topic: name,
                    partitions: (0..10_000).collect(),
                }]),
                ..ElectLeadersRequest::default()
            };
            assert_eq!(answered(&mut served.raw().await, framed(2, 1, &elect)).await, None);
            let mut client = served.client().await;
            assert_eq!(client.metadata(None, served.soon()).await.expect("served").topics.len(), 1);
        },
    );
}
