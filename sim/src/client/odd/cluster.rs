//! Topics, configurations, the cluster and producer ids as nobody should ask for them.

use base::Uuid;
use protocol::messages::api_versions_request::ApiVersionsRequest;
use protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use protocol::messages::describe_cluster_request::DescribeClusterRequest;
use protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use protocol::messages::init_producer_id_request::InitProducerIdRequest;
use protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use protocol::messages::sasl_handshake_request::SaslHandshakeRequest;

use super::{NO_ID, NOBODY, OWN, Odd};
use crate::client::errors::{NONE, TOPIC_ALREADY_EXISTS};

/// How many there are.
pub(super) const STEPS: usize = CREATE + ASK;
const CREATE: usize = 6;
const ASK: usize = 17;

pub(super) fn topic(name: &str, num_partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    }
}

pub(super) fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: 500, validate_only: false }
}

impl Odd {
    /// Asks for its own topic until it is there.
    pub(super) async fn make_topic(&mut self) {
        self.job.history.topic_wished(OWN, true);
        loop {
            let allowed = &[NONE, TOPIC_ALREADY_EXISTS];
            // Next to nothing is kept of it, so that its log loses its beginning.
            let config =
                CreatableTopicConfig { name: "retention.bytes".into(), value: Some("1".into()) };
            let ask = create(vec![CreatableTopic { configs: vec![config], ..topic(OWN, 1) }]);
            let code =
                |answer: &protocol::messages::create_topics_response::CreateTopicsResponse| {
                    Some(answer.topics.first()?.error_code)
                };
            let answer = self.ask(5, &ask, code, allowed).await;
            if answer.and_then(|a| code(&a)).is_some_and(|code| allowed.contains(&code)) {
                return self.job.history.topic_settled(OWN, true);
            }
            self.job.world.sleep_ms(50).await;
        }
    }

    pub(super) async fn cluster(&mut self, number: usize) {
        if number >= CREATE {
            return self.look(number - CREATE).await;
        }
        let (topics, allowed): (_, &[i16]) = match number {
            0 => (vec![topic("bad name!", 1)], &[17]),
            1 => (vec![topic(NOBODY, 0)], &[37]),
            2 => {
                let replication_factor = if self.dice.chance(500) { 0 } else { 9 };
                (vec![CreatableTopic { replication_factor, ..topic(NOBODY, 1) }], &[38])
            },
            3 => {
                let config =
                    CreatableTopicConfig { name: "no.such.key".into(), value: Some("1".into()) };
                (vec![CreatableTopic { configs: vec![config], ..topic(NOBODY, 1) }], &[40])
            },
            4 => (vec![topic(NOBODY, 1), topic(NOBODY, 1)], &[42]),
            _ => (vec![topic(OWN, 1)], &[TOPIC_ALREADY_EXISTS]),
        };
        let code = |answer: &protocol::messages::create_topics_response::CreateTopicsResponse| {
            Some(answer.topics.first()?.error_code)
        };
        self.ask(5, &create(topics), code, allowed).await;
    }

    async fn look(&mut self, number: usize) {
        match number {
            0 | 1 => self.delete_nobody(number == 1).await,
            2 => self.describe_configs(2, OWN).await,
            3 => self.describe_configs(4, "1").await,
            4 => self.describe_configs(99, "?").await,
            5 | 6 => {
                let endpoint_type = if number == 5 { 1 } else { 2 };
                let ask =
                    DescribeClusterRequest { endpoint_type, ..DescribeClusterRequest::default() };
                let allowed: &[i16] = if number == 5 { &[NONE] } else { &[114] };
                self.ask(1, &ask, |answer| Some(answer.error_code), allowed).await;
            },
            7 => self.topic_partitions(-1, &[OWN]).await,
            8 => self.topic_partitions(0, &[NOBODY, OWN]).await,
            9 => {
                let ask =
                    ListPartitionReassignmentsRequest { timeout_ms: 500, ..Default::default() };
                self.ask(0, &ask, |answer| Some(answer.error_code), &[NONE]).await;
            },
            10 => self.producer_id(Some("t"), -1, &[53]).await,
            11 => self.producer_id(Some(""), -1, &[42]).await,
            12 => {
                let ask = ApiVersionsRequest {
                    client_software_name: "no software!".into(),
                    ..ApiVersionsRequest::default()
                };
                self.ask(3, &ask, |answer| Some(answer.error_code), &[42]).await;
                let ask = ApiVersionsRequest {
                    client_software_name: "odd".into(),
                    client_software_version: "1".into(),
                    node_id: 1,
                    ..ApiVersionsRequest::default()
                };
                self.ask(5, &ask, |answer| Some(answer.error_code), &[42]).await;
            },
            13 => self.metadata().await,
            14 => self.alter_configs().await,
            15 => {
                let ask = SaslHandshakeRequest { mechanism: "PLAIN".into() };
                self.ask(1, &ask, |answer| Some(answer.error_code), &[34]).await;
            },
            _ => {
                let ask = FindCoordinatorRequest {
                    key: "k".into(),
                    key_type: 9,
                    ..FindCoordinatorRequest::default()
                };
                self.ask(3, &ask, |answer| Some(answer.error_code), &[42]).await;
            },
        }
    }

    async fn delete_nobody(&mut self, twice_named: bool) {
        let name = Some(NOBODY.to_owned());
        let topic_id = if twice_named { NO_ID } else { Uuid::ZERO };
        let state = DeleteTopicState { name, topic_id };
        let ask = DeleteTopicsRequest {
            topics: vec![state],
            timeout_ms: 500,
            ..DeleteTopicsRequest::default()
        };
        let answer = self.ask(6, &ask, |_| None, &[]).await;
        let code = answer.and_then(|answer| Some(answer.responses.first()?.error_code));
        self.job.world.check("errors", code != Some(NONE), || "odd DeleteTopics: 0".into());
    }

    async fn describe_configs(&mut self, resource_type: i8, name: &str) {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: None,
        };
        let ask = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: self.dice.chance(500),
            include_documentation: false,
        };
        let allowed: &[i16] = if resource_type == 99 { &[42] } else { &[NONE] };
        let code =
            |answer: &protocol::messages::describe_configs_response::DescribeConfigsResponse| {
                Some(answer.results.first()?.error_code)
            };
        self.ask(4, &ask, code, allowed).await;
    }

    async fn alter_configs(&mut self) {
        for (resource_type, name, key, allowed) in [
            (2, OWN, "no.such.key", 40),
            (2, NOBODY, "retention.ms", 3),
            (2, "bad name!", "retention.ms", 17),
            (4, "1", "node.id", 42),
            (4, "9", "log.retention.ms", 42),
            (8, "1", "root", 40),
            (32, "", "consumer.session.timeout.ms", 42),
        ] {
            let config =
                AlterableConfig { name: key.into(), config_operation: 0, value: Some("1".into()) };
            let resource = AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: vec![config],
            };
            let ask = IncrementalAlterConfigsRequest {
                resources: vec![resource],
                validate_only: self.dice.chance(500),
            };
            let code = |answer: &IncrementalAlterConfigsResponse| {
                Some(answer.responses.first()?.error_code)
            };
            self.ask(1, &ask, code, &[allowed]).await;
        }
    }

    async fn topic_partitions(&mut self, partition_index: i32, names: &[&str]) {
        let cursor = Cursor { topic_name: OWN.into(), partition_index };
        let ask = DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
            response_partition_limit: 1,
            cursor: (partition_index < 0).then_some(cursor),
        };
        self.ask(0, &ask, |_| None, &[]).await;
    }

    async fn producer_id(&mut self, name: Option<&str>, producer_id: i64, allowed: &[i16]) {
        let ask = InitProducerIdRequest {
            transactional_id: name.map(Into::into),
            transaction_timeout_ms: 60_000,
            producer_id,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        self.ask(3, &ask, |answer| Some(answer.error_code), allowed).await;
    }

    async fn metadata(&mut self) {
        for (version, topic_id, name) in
            [(12, Uuid::ZERO, Some(NOBODY.to_owned())), (12, NO_ID, None), (10, NO_ID, None)]
        {
            let ask = MetadataRequest {
                topics: Some(vec![MetadataRequestTopic { topic_id, name }]),
                allow_auto_topic_creation: false,
                ..MetadataRequest::default()
            };
            let code = |answer: &protocol::messages::metadata_response::MetadataResponse| {
                Some(answer.topics.first()?.error_code)
            };
            self.ask(version, &ask, code, &[3, 42, 100]).await;
        }
    }
}
