//! The smallest element of each array, very many times: what it costs to answer.
//!
//! Owns: one such request of every API that has an array. Of each the answer may be only so many times
//! as long as the request, whatever the element stands for: a group with many offsets, a topic with
//! many partitions, all settings of something. Where each of many names is another one, and costs its
//! own answer, the answer has a limit, behind which the connection is closed.

use protocol::messages::alter_configs_request::AlterConfigsResource;
use protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::incremental_alter_configs_request::AlterConfigsResource as EditedResource;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;

use super::*;

/// How often an element is repeated.
const TIMES: usize = 10_000;
/// Bytes of an answer for a byte of the request, at most.
const FACTOR_MAX: usize = 32;
/// One element in full, whatever it is.
const ELEMENT_BYTES: usize = MIB;
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 64 * MIB;
/// It has offsets.
const GROUP: &str = "hostile";
/// It has 200 partitions.
const WIDE: &str = "wide";
/// Kafka's numbers of the resource types "topic" and "group".
const OF_TOPIC: i8 = 2;
const OF_GROUP: i8 = 32;

/// The answer to a request, if there is one.
fn ask<R: Request>(broker: &Broker, version: i16, ask: &R) -> (usize, Option<R::Response>) {
    let request = frame_of(version, 1, ask);
    let mut stream = broker.connect();
    throw(&mut stream, &request);
    let Ok(answer) = read_frame(&mut stream) else { return (request.len(), None) };
    let bound = request.len() * FACTOR_MAX + ELEMENT_BYTES;
    let (asked, answered) = (request.len(), answer.len());
    assert!(answered <= bound, "{:?}: {asked} bytes cost {answered}", R::KEY);
    let (_, response) = frame::read_response::<R>(&answer, version).unwrap();
    (asked, Some(response))
}

fn bounded<R: Request>(broker: &Broker, version: i16, request: &R) {
    let (_, answer) = ask(broker, version, request);
    assert!(answer.is_some(), "{:?} is answered", R::KEY);
}

/// Offsets with long texts for every partition of `wide`: 200 KB.
fn commit(broker: &Broker) {
    let key = FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..<_>::default() };
    let part = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_metadata: Some("x".repeat(1000)),
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: WIDE.into(),
        partitions: (0..200).map(part).collect(),
        ..OffsetCommitRequestTopic::default()
    };
    let commit = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    loop {
        bounded(broker, 6, &key);
        let (_, answer) = ask(broker, 8, &commit);
        let answer = answer.expect("an answer");
        let code = answer.topics[0].partitions[0].error_code;
        if code == 0 {
            break;
        }
        // The coordinator loads, or is not there yet.
        assert!([14, 15, 16].contains(&code), "error {code}");
    }
}

pub(crate) fn repeated(broker: &Broker) {
    commit(broker);
    topics(broker);
    partitions(broker);
    groups(broker);
    members(broker);
    settings(broker);
    invented(broker);
}

fn topics(broker: &Broker) {
    let named = MetadataRequestTopic { name: Some(WIDE.into()), ..MetadataRequestTopic::default() };
    let topics = Some(vec![named; TIMES]);
    bounded(broker, 12, &MetadataRequest { topics, ..MetadataRequest::default() });
    let topics = vec![describe_topic_partitions_request::TopicRequest { name: WIDE.into() }; TIMES];
    let limit = 2000;
    let paged = DescribeTopicPartitionsRequest {
        topics,
        response_partition_limit: limit,
        ..DescribeTopicPartitionsRequest::default()
    };
    bounded(broker, 0, &paged);
    let nowhere = CreatableTopic { name: "x".into(), ..CreatableTopic::default() };
    let topics = vec![nowhere; TIMES];
    bounded(broker, 7, &CreateTopicsRequest { topics, ..CreateTopicsRequest::default() });
    let nowhere = DeleteTopicState { name: Some(String::new()), ..DeleteTopicState::default() };
    let topics = vec![nowhere; TIMES];
    bounded(broker, 6, &DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() });
    let topic_names = vec![String::new(); TIMES];
    bounded(broker, 5, &DeleteTopicsRequest { topic_names, ..DeleteTopicsRequest::default() });
    let topics = vec![CreatePartitionsTopic::default(); TIMES];
    bounded(broker, 3, &CreatePartitionsRequest { topics, ..CreatePartitionsRequest::default() });
    let dir = DescribableLogDirTopic { topic: WIDE.into(), partitions: vec![0] };
    bounded(broker, 4, &DescribeLogDirsRequest { topics: Some(vec![dir; TIMES]) });
}

fn partitions(broker: &Broker) {
    let indexes = || vec![0; TIMES];
    let topics = vec![describe_producers_request::TopicRequest {
        name: TOPIC.into(),
        partition_indexes: indexes(),
    }];
    bounded(broker, 0, &DescribeProducersRequest { topics });
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..<_>::default() }; TIMES];
    let topics = vec![ListOffsetsTopic { name: TOPIC.into(), partitions }];
    bounded(broker, 10, &ListOffsetsRequest { topics, ..ListOffsetsRequest::default() });
    let partitions = vec![OffsetForLeaderPartition::default(); TIMES];
    let topics = vec![OffsetForLeaderTopic { topic: TOPIC.into(), partitions }];
    let ends = OffsetForLeaderEpochRequest { topics, ..OffsetForLeaderEpochRequest::default() };
    bounded(broker, 4, &ends);
    let partitions = vec![DeleteRecordsPartition::default(); TIMES];
    let topics = vec![DeleteRecordsTopic { name: WIDE.into(), partitions }];
    bounded(broker, 2, &DeleteRecordsRequest { topics, timeout_ms: 0 });
    let topic_partitions =
        Some(vec![TopicPartitions { topic: WIDE.into(), partitions: indexes() }]);
    let elect = ElectLeadersRequest { topic_partitions, ..ElectLeadersRequest::default() };
    bounded(broker, 2, &elect);
    let partitions = vec![ReassignablePartition { replicas: None, ..<_>::default() }; TIMES];
    let topics = vec![ReassignableTopic { name: WIDE.into(), partitions }];
    let moves = AlterPartitionReassignmentsRequest { topics, ..<_>::default() };
    bounded(broker, 0, &moves);
    let topics = vec![TopicData {
        topic_name: WIDE.into(),
        partitions: vec![PartitionData::default(); TIMES],
    }];
    bounded(broker, 2, &DescribeQuorumRequest { topics });
    let partitions =
        vec![FetchPartition { partition_max_bytes: 100, ..FetchPartition::default() }; TIMES];
    let topics = vec![FetchTopic { topic: TOPIC.into(), partitions, ..FetchTopic::default() }];
    bounded(broker, 12, &FetchRequest { topics, max_bytes: 1000, ..FetchRequest::default() });
    let partition_data = vec![PartitionProduceData::default(); TIMES];
    let topic_data =
        vec![TopicProduceData { name: TOPIC.into(), partition_data, ..<_>::default() }];
    let produce = ProduceRequest { acks: 1, topic_data, ..ProduceRequest::default() };
    bounded(broker, PRODUCE_VERSION, &produce);
}

fn groups(broker: &Broker) {
    let all = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    let groups = vec![all.clone(); TIMES];
    bounded(broker, 9, &OffsetFetchRequest { groups, ..OffsetFetchRequest::default() });
    let topic = OffsetFetchRequestTopics {
        name: WIDE.into(),
        partition_indexes: vec![0],
        ..OffsetFetchRequestTopics::default()
    };
    let groups = vec![OffsetFetchRequestGroup { topics: Some(vec![topic; TIMES]), ..all }];
    bounded(broker, 9, &OffsetFetchRequest { groups, ..OffsetFetchRequest::default() });
    let keys = vec![String::new(); TIMES];
    for key_type in 0..3 {
        let coordinator_keys = keys.clone();
        let find = FindCoordinatorRequest { key_type, coordinator_keys, ..<_>::default() };
        bounded(broker, 6, &find);
    }
    let groups = vec![GROUP.to_owned(); TIMES];
    bounded(broker, 6, &DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() });
    bounded(broker, 2, &DeleteGroupsRequest { groups_names: keys.clone() });
    let states_filter = keys.clone();
    bounded(broker, 5, &ListGroupsRequest { states_filter, ..ListGroupsRequest::default() });
    bounded(broker, 0, &DescribeTransactionsRequest { transactional_ids: keys.clone() });
    let state_filters = keys;
    let list = ListTransactionsRequest { state_filters, ..ListTransactionsRequest::default() };
    bounded(broker, 1, &list);
    let part = OffsetCommitRequestPartition::default();
    let topic = OffsetCommitRequestTopic {
        name: WIDE.into(),
        partitions: vec![part; TIMES],
        ..OffsetCommitRequestTopic::default()
    };
    // Each of its records would name the group.
    let commit = OffsetCommitRequest {
        group_id: "g".repeat(30_000),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    bounded(broker, 8, &commit);
}

fn members(broker: &Broker) {
    let partitions = vec![OffsetDeleteRequestPartition::default(); TIMES];
    let topics = vec![OffsetDeleteRequestTopic { name: WIDE.into(), partitions }];
    bounded(broker, 0, &OffsetDeleteRequest { group_id: "x".into(), topics });
    let members = vec![MemberIdentity::default(); TIMES];
    let leave = LeaveGroupRequest { group_id: "x".into(), members, ..LeaveGroupRequest::default() };
    bounded(broker, 5, &leave);
    // Many ways of assignment, none of them the others'.
    for round in ["a", "b"] {
        let offer =
            |at| JoinGroupRequestProtocol { name: format!("{round}{at}"), ..<_>::default() };
        let join = JoinGroupRequest {
            group_id: "many-protocols".into(),
            session_timeout_ms: 6000,
            rebalance_timeout_ms: 6000,
            protocol_type: "consumer".into(),
            protocols: (0..TIMES).map(offer).collect(),
            ..JoinGroupRequest::default()
        };
        bounded(broker, 3, &join);
    }
    let assignments = vec![SyncGroupRequestAssignment::default(); TIMES];
    let sync = SyncGroupRequest {
        group_id: "x".into(),
        protocol_type: Some(String::new()),
        protocol_name: Some(String::new()),
        assignments,
        ..SyncGroupRequest::default()
    };
    bounded(broker, 5, &sync);
}

fn settings(broker: &Broker) {
    for resource_type in [OF_TOPIC, OF_GROUP] {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: WIDE.into(),
            configuration_keys: None,
        };
        let resources = vec![resource; TIMES];
        let describe = DescribeConfigsRequest {
            resources,
            include_synonyms: true,
            include_documentation: true,
        };
        bounded(broker, 4, &describe);
    }
    let resource_types = vec![OF_TOPIC; TIMES];
    bounded(broker, 1, &ListConfigResourcesRequest { resource_types });
    let resources = vec![AlterConfigsResource { resource_type: OF_TOPIC, ..<_>::default() }; TIMES];
    bounded(broker, 2, &AlterConfigsRequest { resources, ..AlterConfigsRequest::default() });
    let resources = vec![EditedResource { resource_type: OF_TOPIC, ..<_>::default() }; TIMES];
    let edit = IncrementalAlterConfigsRequest { resources, ..<_>::default() };
    bounded(broker, 1, &edit);
    let components = vec![ComponentData::default(); TIMES];
    let quotas = DescribeClientQuotasRequest { components, ..<_>::default() };
    bounded(broker, 1, &quotas);
}

/// Names of which each is another one: nothing of them has to be there to have settings.
fn invented(broker: &Broker) {
    let named = |at: usize| DescribeConfigsResource {
        resource_type: OF_GROUP,
        resource_name: at.to_string(),
        configuration_keys: None,
    };
    let resources = (0..20 * TIMES).map(named).collect();
    let describe = DescribeConfigsRequest { resources, ..DescribeConfigsRequest::default() };
    let mut stream = broker.connect();
    throw(&mut stream, &frame_of(4, 1, &describe));
    let answered = bytes_until_closed(stream);
    assert!(answered <= ANSWER_BYTES_MAX, "{answered} bytes");
    // A topic's name in what is said of each of its partitions.
    let topic = TopicPartitions { topic: "x".repeat(30_000), partitions: (0..20_000).collect() };
    let topic_partitions = Some(vec![topic]);
    let elect = ElectLeadersRequest { topic_partitions, ..ElectLeadersRequest::default() };
    let mut stream = broker.connect();
    throw(&mut stream, &frame_of(2, 1, &elect));
    let answered = bytes_until_closed(stream);
    assert!(answered <= ANSWER_BYTES_MAX, "{answered} bytes");
}
