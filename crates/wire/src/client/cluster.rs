//! Topics and brokers: metadata, create, delete.

use base::Instant;
use env::Env;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, IncrementalAlterConfigsRequest, MetadataRequest, MetadataResponse,
};

use super::{Client, ClientError, accepted};

const API_VERSIONS_VERSION: i16 = 4;
const METADATA_VERSION: i16 = 12;
const CREATE_PARTITIONS_VERSION: i16 = 3;
const CREATE_TOPICS_VERSION: i16 = 7;
const DELETE_TOPICS_VERSION: i16 = 6;
const ALTER_CONFIGS_VERSION: i16 = 1;
/// How long a broker may take to create or delete, in milliseconds.
const ADMIN_TIMEOUT_MS: i32 = 30_000;

/// A topic to be created.
#[derive(Clone, Debug, Default)]
pub struct TopicWish {
    /// Its name.
    pub name: String,
    /// `None` takes the broker's default.
    pub partitions: Option<i32>,
    /// `None` takes the broker's default.
    pub replication_factor: Option<i16>,
    /// Overrides of the broker's defaults.
    pub configs: Vec<(String, String)>,
}

impl<E: Env> Client<E> {
    /// What the broker speaks.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn api_versions(
        &mut self,
        deadline: Instant,
    ) -> Result<ApiVersionsResponse, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: "gregor".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        let response = self.call(API_VERSIONS_VERSION, &request, deadline).await?;
        accepted(response.error_code, None)?;
        Ok(response)
    }

    /// Brokers and topics; `None` is all topics. Creates none. Errors of single topics are in the
    /// answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metadata(
        &mut self,
        topics: Option<&[&str]>,
        deadline: Instant,
    ) -> Result<MetadataResponse, ClientError> {
        let named = |name: &&str| MetadataRequestTopic {
            name: Some((*name).to_owned()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.call(METADATA_VERSION, &request, deadline).await
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_topic(
        &mut self,
        wish: TopicWish,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let configs = wish.configs.into_iter();
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: wish.name,
                num_partitions: wish.partitions.unwrap_or(-1),
                replication_factor: wish.replication_factor.unwrap_or(-1),
                configs: configs
                    .map(|(name, value)| CreatableTopicConfig { name, value: Some(value) })
                    .collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: ADMIN_TIMEOUT_MS,
            validate_only: false,
        };
        let response = self.call(CREATE_TOPICS_VERSION, &request, deadline).await?;
        let topic = response.topics.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(topic.error_code, topic.error_message.as_deref())
    }

    /// Gives a topic more partitions, so that it has `count`. With `validate_only` nothing is changed.
    ///
    /// # Errors
    /// [`ClientError`]; the topic has as many as before then, unless the answer was lost.
    pub async fn add_partitions(
        &mut self,
        name: &str,
        count: i32,
        validate_only: bool,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let topic = CreatePartitionsTopic { name: name.to_owned(), count, assignments: None };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: ADMIN_TIMEOUT_MS,
            validate_only,
        };
        let response = self.call(CREATE_PARTITIONS_VERSION, &request, deadline).await?;
        let topic = response.results.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(topic.error_code, topic.error_message.as_deref())
    }

    /// Changes settings of a topic: those with a value get it, the others go back to the broker's
    /// default. With `validate_only` nothing is changed.
    ///
    /// # Errors
    /// [`ClientError`]; nothing of the topic is changed then, unless the answer was lost.
    pub async fn alter_topic(
        &mut self,
        name: &str,
        configs: &[(String, Option<String>)],
        validate_only: bool,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        const TOPIC: i8 = 2;
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        let edit = |(name, value): &(String, Option<String>)| AlterableConfig {
            name: name.clone(),
            config_operation: if value.is_some() { SET } else { DELETE },
            value: value.clone(),
        };
        let resource = AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name.to_owned(),
            configs: configs.iter().map(edit).collect(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only };
        let response = self.call(ALTER_CONFIGS_VERSION, &request, deadline).await?;
        let altered = response.responses.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(altered.error_code, altered.error_message.as_deref())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_topic(&mut self, name: &str, deadline: Instant) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name.to_owned()),
                ..DeleteTopicState::default()
            }],
            timeout_ms: ADMIN_TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        let response = self.call(DELETE_TOPICS_VERSION, &request, deadline).await?;
        let topic = response.responses.into_iter().next().ok_or(ClientError::Incomplete)?;
        accepted(topic.error_code, topic.error_message.as_deref())
    }
}
