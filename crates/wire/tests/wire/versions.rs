//! Every API that is advertised answers in every version that is advertised.

use std::collections::BTreeMap;

use base::Uuid;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::*;
use protocol::{ApiKey, Records, Request};
use wire::ErrorCode;
use wire::client::Client;

use crate::world::{Served, World, batch};

#[path = "operators.rs"]
mod operators;

/// What has been asked in which versions.
struct Table {
    served: Served,
    client: Client<env_tokio::TokioEnv>,
    topic: Uuid,
    advertised: BTreeMap<i16, (i16, i16)>,
    seen: Vec<i16>,
}

impl Table {
    /// Asks in every version and holds the error of the answer against `expected`.
    async fn each<R: Request>(
        &mut self,
        mut ask: impl FnMut(i16) -> R,
        mut check: impl FnMut(i16, R::Response),
    ) {
        let key = R::KEY.to_i16();
        let (min, max) = self.advertised[&key];
        self.seen.push(key);
        for version in min.max(R::VERSION_MIN)..=max {
            let request = ask(version);
            let answer = self.client.call(version, &request, self.served.soon()).await;
            let answer = answer.unwrap_or_else(|error| panic!("{:?} {version}: {error}", R::KEY));
            check(version, answer);
        }
    }
}

fn ok(version: i16, code: i16) {
    assert_eq!(ErrorCode(code), ErrorCode::NONE, "in version {version}");
}

#[test]
fn every_advertised_version_answers() {
    World::new("versions").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let soon = served.soon();
            let advertised = client.api_versions(soon).await.expect("versions").api_keys;
            let topics = client.metadata(Some(&["t"]), soon).await.expect("metadata").topics;
            let mut table = Table {
                served,
                client,
                topic: topics[0].topic_id,
                advertised: advertised
                    .iter()
                    .map(|key| (key.api_key, (key.min_version, key.max_version)))
                    .collect(),
                seen: Vec::new(),
            };
            assert!(!table.topic.is_zero());

            records(&mut table).await;
            cluster(&mut table).await;
            administration(&mut table).await;
            settings_change(&mut table).await;
            topics_come_and_go(&mut table).await;
            coordinators(&mut table).await;
            offsets(&mut table).await;
            members(&mut table).await;
            deletions(&mut table).await;
            nobodys(&mut table).await;
            operators::every_version(&mut table).await;

            table.seen.sort_unstable();
            let all: Vec<i16> = table.advertised.keys().copied().collect();
            assert_eq!(table.seen, all, "every API has its row here");
            assert_eq!(table.advertised[&ApiKey::Produce.to_i16()], (0, 13));
        },
    );
}

async fn records(table: &mut Table) {
    let topic_id = table.topic;
    let mut expected = 0;
    let produce = |version: i16| ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: if version < 13 { "t".to_owned() } else { String::new() },
            topic_id: if version < 13 { Uuid::ZERO } else { topic_id },
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Records::Bytes(batch(&["v"])),
            }],
        }],
        ..ProduceRequest::default()
    };
    table
        .each(produce, |version, answer| {
            let part = &answer.responses[0].partition_responses[0];
            ok(version, part.error_code);
            assert_eq!(part.base_offset, expected);
            assert_eq!(answer.responses[0].topic_id.is_zero(), version < 13);
            expected += 1;
        })
        .await;
    let fetch = |version: i16| FetchRequest {
        max_wait_ms: 1000,
        min_bytes: 1,
        isolation_level: i8::from(version % 2 == 0),
        topics: vec![FetchTopic {
            topic: if version < 13 { "t".to_owned() } else { String::new() },
            topic_id: if version < 13 { Uuid::ZERO } else { topic_id },
            partitions: vec![FetchPartition {
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
        }],
        ..FetchRequest::default()
    };
    table
        .each(fetch, |version, answer| {
            ok(version, answer.error_code);
            let part = &answer.responses[0].partitions[0];
            ok(version, part.error_code);
            assert_eq!(part.high_watermark, expected);
            let batches = part.records.as_bytes().expect("bytes").clone();
            assert_eq!(crate::world::values(batches, 0).len(), usize::try_from(expected).unwrap());
            assert_eq!(part.aborted_transactions.is_some(), version % 2 == 0);
        })
        .await;
    lookups(table, expected).await;
}

async fn lookups(table: &mut Table, expected: i64) {
    for (timestamp, found, since) in
        [(-1, expected, 1), (-2, 0, 1), (i64::MAX, -1, 1), (-4, 0, 8), (-5, -1, 9), (-6, -1, 11)]
    {
        let list = |_| ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: "t".to_owned(),
                partitions: vec![ListOffsetsPartition {
                    timestamp,
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        table
            .each(list, |version, answer| {
                let part = &answer.topics[0].partitions[0];
                let expected = if version >= since {
                    (ErrorCode::NONE, found)
                } else {
                    (ErrorCode::UNSUPPORTED_VERSION, -1)
                };
                assert_eq!((ErrorCode(part.error_code), part.offset), expected, "{timestamp}");
            })
            .await;
    }
    table.seen.dedup();
    let delete = |_| DeleteRecordsRequest {
        timeout_ms: 10_000,
        topics: vec![DeleteRecordsTopic {
            name: "t".to_owned(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset: 1 }],
        }],
    };
    table
        .each(delete, |version, answer| {
            let part = &answer.topics[0].partitions[0];
            ok(version, part.error_code);
            assert_eq!(part.low_watermark, 1);
        })
        .await;
    let plain =
        |_| InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
    table.each(plain, |version, answer| ok(version, answer.error_code)).await;
}

async fn cluster(table: &mut Table) {
    let port = i32::from(table.served.addr.port());
    let software = |version| ApiVersionsRequest {
        client_software_name: if version >= 3 { "a".to_owned() } else { String::new() },
        client_software_version: if version >= 3 { "1".to_owned() } else { String::new() },
        ..ApiVersionsRequest::default()
    };
    table.each(software, |version, answer| ok(version, answer.error_code)).await;
    let topic_id = table.topic;
    let named = |version: i16| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: if version >= 12 { topic_id } else { Uuid::ZERO },
            name: (version < 12).then(|| "t".to_owned()),
        }]),
        allow_auto_topic_creation: version < 4,
        include_topic_authorized_operations: version >= 8,
        include_cluster_authorized_operations: (8..=10).contains(&version),
    };
    table
        .each(named, |version, answer| {
            ok(version, answer.topics[0].error_code);
            assert_eq!(answer.topics[0].name.as_deref(), Some("t"));
            assert_eq!(answer.topics[0].partitions[0].leader_id, 1);
            assert_eq!((&*answer.brokers[0].host, answer.brokers[0].port), ("127.0.0.1", port));
        })
        .await;
    table.seen.pop();
    let all = |version: i16| MetadataRequest {
        topics: if version == 0 { Some(Vec::new()) } else { None },
        ..MetadataRequest::default()
    };
    table.each(all, |_, answer| assert_eq!(answer.topics.len(), 1)).await;
}

async fn administration(table: &mut Table) {
    let port = i32::from(table.served.addr.port());
    let describe = |_| DescribeClusterRequest::default();
    table
        .each(describe, |version, answer| {
            ok(version, answer.error_code);
            assert_eq!(answer.brokers[0].port, port);
        })
        .await;
    let configs = |version: i16| DescribeConfigsRequest {
        resources: [(2, "t"), (4, "1")]
            .map(|(resource_type, name)| DescribeConfigsResource {
                resource_type,
                resource_name: name.to_owned(),
                configuration_keys: None,
            })
            .to_vec(),
        include_synonyms: true,
        include_documentation: version >= 3,
    };
    table
        .each(configs, |version, answer| {
            for result in answer.results {
                ok(version, result.error_code);
                assert!(result.configs.len() > 20);
                assert!(result.configs.iter().all(|config| config.config_source == 5));
            }
        })
        .await;
    let handshake = |_| SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
    let refused = |code| assert_eq!(ErrorCode(code), ErrorCode::ILLEGAL_SASL_STATE);
    table.each(handshake, |_, answer| refused(answer.error_code)).await;
    let authenticate = |_| SaslAuthenticateRequest::default();
    table.each(authenticate, |_, answer| refused(answer.error_code)).await;
    let moves = |_| ListPartitionReassignmentsRequest::default();
    table.each(moves, |version, answer| ok(version, answer.error_code)).await;
    let pages = |_| DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "t".to_owned() }],
        cursor: Some(Cursor { topic_name: "t".to_owned(), partition_index: 0 }),
        ..DescribeTopicPartitionsRequest::default()
    };
    table
        .each(pages, |version, answer| {
            ok(version, answer.topics[0].error_code);
            assert_eq!(answer.topics[0].partitions.len(), 1);
            assert_eq!(answer.next_cursor, None);
        })
        .await;
}

async fn settings_change(table: &mut Table) {
    let replace = |version: i16| AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".to_owned(),
            configs: vec![alter_configs_request::AlterableConfig {
                name: "retention.ms".to_owned(),
                value: Some(version.to_string()),
            }],
        }],
        validate_only: version > 0,
    };
    table
        .each(replace, |version, answer| {
            ok(version, answer.responses[0].error_code);
            assert_eq!(answer.responses[0].error_message, None);
        })
        .await;
    let edit = |_| IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".to_owned(),
            configs: vec![incremental_alter_configs_request::AlterableConfig {
                name: "retention.ms".to_owned(),
                config_operation: 1,
                value: None,
            }],
        }],
        validate_only: false,
    };
    table.each(edit, |version, answer| ok(version, answer.responses[0].error_code)).await;
    let view = table.served.broker.cluster();
    assert!(view.topics["t"].configs.is_empty(), "set once, checked twice, deleted twice");
}

async fn topics_come_and_go(table: &mut Table) {
    let create = |version: i16| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: format!("made-{version}"),
            num_partitions: -1,
            replication_factor: -1,
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    table
        .each(create, |version, answer| {
            let topic = &answer.topics[0];
            ok(version, topic.error_code);
            assert_eq!(topic.error_message, None);
            if version >= 5 {
                assert_eq!((topic.num_partitions, topic.replication_factor), (1, 1));
                assert!(topic.configs.as_ref().is_some_and(|configs| configs.len() > 20));
            }
            assert_eq!(topic.topic_id.is_zero(), version < 7);
        })
        .await;
    let delete = |version: i16| {
        let name = format!("made-{}", version + 1);
        let mut request = DeleteTopicsRequest::default();
        if version >= 6 {
            request.topics = vec![DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO }];
        } else {
            request.topic_names = vec![name];
        }
        request
    };
    table.each(delete, |version, answer| ok(version, answer.responses[0].error_code)).await;
}

async fn coordinators(table: &mut Table) {
    let find = |version: i16| FindCoordinatorRequest {
        key: if version < 4 { "g".to_owned() } else { String::new() },
        coordinator_keys: if version < 4 { Vec::new() } else { vec!["g".to_owned()] },
        ..FindCoordinatorRequest::default()
    };
    table
        .each(find, |version, answer| {
            ok(version, answer.error_code);
            let batched =
                answer.coordinators.first().map(|found| (found.error_code, found.node_id));
            assert_eq!(batched.unwrap_or((answer.error_code, answer.node_id)), (0, 1));
        })
        .await;
    let soon = table.served.soon();
    while table.client.committed_offsets("g", None, soon).await.is_err() {
        assert!(table.client.is_usable(), "the coordinator loads");
    }
}

async fn offsets(table: &mut Table) {
    let topic_id = table.topic;
    let commit = |version: i16| OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: if version < 10 { "t".to_owned() } else { String::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { topic_id },
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: i64::from(version),
                committed_leader_epoch: if version >= 6 { 0 } else { -1 },
                committed_metadata: Some("m".to_owned()),
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    table
        .each(commit, |version, answer| ok(version, answer.topics[0].partitions[0].error_code))
        .await;
    let fetch = |version: i16| {
        let mut request = OffsetFetchRequest::default();
        if version < 8 {
            request.group_id = "g".to_owned();
            request.topics = Some(vec![OffsetFetchRequestTopic {
                name: "t".to_owned(),
                partition_indexes: vec![0, 1],
            }]);
        } else {
            request.topics = Some(Vec::new());
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: "g".to_owned(),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: if version < 10 { "t".to_owned() } else { String::new() },
                    topic_id: if version < 10 { Uuid::ZERO } else { topic_id },
                    partition_indexes: vec![0, 1],
                }]),
                ..OffsetFetchRequestGroup::default()
            }];
        }
        request
    };
    table
        .each(fetch, |version, answer| {
            ok(version, answer.error_code);
            let offsets: Vec<i64> = if version < 8 {
                answer.topics[0].partitions.iter().map(|part| part.committed_offset).collect()
            } else {
                ok(version, answer.groups[0].error_code);
                let topic = &answer.groups[0].topics[0];
                topic.partitions.iter().map(|part| part.committed_offset).collect()
            };
            assert_eq!(offsets, [10, -1]);
        })
        .await;
}

async fn members(table: &mut Table) {
    let mut joined = BTreeMap::new();
    let join = |version: i16| JoinGroupRequest {
        group_id: format!("joined-{version}"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: if version >= 1 { 10_000 } else { -1 },
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: bytes::Bytes::from_static(b"s"),
        }],
        ..JoinGroupRequest::default()
    };
    table
        .each(join, |version, answer| {
            let expected =
                if version < 4 { ErrorCode::NONE } else { ErrorCode::MEMBER_ID_REQUIRED };
            assert_eq!(ErrorCode(answer.error_code), expected, "in version {version}");
            joined.insert(version, (answer.member_id, answer.generation_id));
        })
        .await;
    let (member, generation) = joined[&0].clone();
    let sync = |version: i16| SyncGroupRequest {
        group_id: "joined-0".to_owned(),
        generation_id: generation,
        member_id: member.clone(),
        protocol_type: (version >= 5).then(|| "consumer".to_owned()),
        protocol_name: (version >= 5).then(|| "range".to_owned()),
        ..SyncGroupRequest::default()
    };
    table.each(sync, |version, answer| ok(version, answer.error_code)).await;
    let heartbeat = |_| HeartbeatRequest {
        group_id: "joined-0".to_owned(),
        generation_id: generation,
        member_id: member.clone(),
        ..HeartbeatRequest::default()
    };
    table.each(heartbeat, |version, answer| ok(version, answer.error_code)).await;
    groups(table).await;
    leave(table, &member).await;
}

async fn groups(table: &mut Table) {
    let list = |_| ListGroupsRequest::default();
    table
        .each(list, |version, answer| {
            ok(version, answer.error_code);
            let states: BTreeMap<_, _> =
                answer.groups.iter().map(|one| (&*one.group_id, &*one.group_state)).collect();
            assert!(states.contains_key("g"));
            assert_eq!(states["joined-0"], if version >= 4 { "Stable" } else { "" });
        })
        .await;
    let describe = |_| DescribeGroupsRequest {
        groups: vec!["joined-0".to_owned(), "nobody".to_owned()],
        ..DescribeGroupsRequest::default()
    };
    table
        .each(describe, |version, answer| {
            ok(version, answer.groups[0].error_code);
            assert_eq!(answer.groups[0].group_state, "Stable");
            assert_eq!(answer.groups[1].group_state, "Dead");
            let missing = if version < 6 { ErrorCode::NONE } else { ErrorCode::GROUP_ID_NOT_FOUND };
            assert_eq!(ErrorCode(answer.groups[1].error_code), missing);
        })
        .await;
}

async fn leave(table: &mut Table, member: &str) {
    let leave = |version: i16| {
        let mut request = LeaveGroupRequest { group_id: "joined-0".to_owned(), ..<_>::default() };
        if version < 3 {
            request.member_id = member.to_owned();
        } else {
            let member_id = member.to_owned();
            request.members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
        }
        request
    };
    table
        .each(leave, |version, answer| {
            let code = answer.members.first().map_or(answer.error_code, |member| member.error_code);
            let expected =
                if version == 0 { ErrorCode::NONE } else { ErrorCode::UNKNOWN_MEMBER_ID };
            assert_eq!(ErrorCode(code), expected, "in version {version}");
        })
        .await;
}

async fn deletions(table: &mut Table) {
    let offsets = |_| OffsetDeleteRequest {
        group_id: "g".to_owned(),
        topics: vec![offset_delete_request::OffsetDeleteRequestTopic {
            name: "t".to_owned(),
            partitions: vec![offset_delete_request::OffsetDeleteRequestPartition {
                partition_index: 0,
            }],
        }],
    };
    table
        .each(offsets, |version, answer| {
            ok(version, answer.error_code);
            ok(version, answer.topics[0].partitions[0].error_code);
        })
        .await;
    let groups = |_| DeleteGroupsRequest { groups_names: vec!["g".to_owned()] };
    table
        .each(groups, |version, answer| {
            // Its last offset is gone, and nobody was ever a member.
            let code = ErrorCode(answer.results[0].error_code);
            assert_eq!(code, ErrorCode::GROUP_ID_NOT_FOUND, "in version {version}");
            assert_eq!(answer.results[0].error_message, None);
        })
        .await;
}

/// What this version has none of.
async fn nobodys(table: &mut Table) {
    let quotas = |_| DescribeClientQuotasRequest::default();
    table
        .each(quotas, |version, answer| {
            ok(version, answer.error_code);
            assert_eq!(answer.entries, Some(Vec::new()));
        })
        .await;
    let describe =
        |_| DescribeTransactionsRequest { transactional_ids: vec!["x".to_owned(), String::new()] };
    table
        .each(describe, |version, answer| {
            let codes: Vec<ErrorCode> =
                answer.transaction_states.iter().map(|one| ErrorCode(one.error_code)).collect();
            let expected = [ErrorCode::TRANSACTIONAL_ID_NOT_FOUND, ErrorCode::INVALID_REQUEST];
            assert_eq!(codes, expected, "in version {version}");
        })
        .await;
    let list = |_| ListTransactionsRequest {
        state_filters: vec!["Ongoing".to_owned(), "Sleeping".to_owned()],
        ..ListTransactionsRequest::default()
    };
    table
        .each(list, |version, answer| {
            ok(version, answer.error_code);
            assert!(answer.transaction_states.is_empty());
            assert_eq!(answer.unknown_state_filters, ["Sleeping"]);
        })
        .await;
    let resources = |version: i16| ListConfigResourcesRequest {
        resource_types: if version == 0 { Vec::new() } else { vec![2, 4] },
    };
    table
        .each(resources, |version, answer| {
            ok(version, answer.error_code);
            let found = answer.config_resources.into_iter();
            let found: Vec<_> = found.map(|one| (one.resource_type, one.resource_name)).collect();
            if version == 0 {
                assert_eq!(found, [], "client metrics");
            } else {
                assert_eq!(found[0], (4, "1".to_owned()));
                assert!(found.contains(&(2, "t".to_owned())), "{found:?}");
            }
        })
        .await;
}
