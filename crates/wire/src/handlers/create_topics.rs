//! CreateTopics.
//!
//! Invariants: each topic succeeds or fails alone; success is answered once the topics can be used;
//! a name that is asked for twice is answered once, behind the others, as Kafka does.
//! Source: KIP-4, KIP-464, KIP-525.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{BrokerId, Probe};
use broker::api::{CreateTopic, CreatedTopic, TopicError};
use env::Env;
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::answer::Answer;
use super::configs;
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Topics in one request; as many as Kafka allows partitions.
const TOPICS_MAX: usize = 10_000;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: CreateTopicsRequest,
) -> Outcome<FileOf<E>> {
    if request.topics.len() > TOPICS_MAX {
        context.probe().reached("create_topics_too_many");
        let error = TopicError::Policy(format!("More than {TOPICS_MAX} topics in one request."));
        let topics = request.topics.into_iter().map(|topic| failure(topic.name, &error)).collect();
        return context.reply(&CreateTopicsResponse { topics, ..CreateTopicsResponse::default() });
    }
    let (single, twice) = apart(request.topics);
    let mut answers = Vec::with_capacity(single.len());
    let mut wishes = Vec::with_capacity(single.len());
    for topic in single {
        let name = topic.name.clone();
        match wish(topic) {
            Ok(wish) => {
                answers.push((name, None, overrides(&wish)));
                wishes.push(wish);
            },
            Err(error) => answers.push((name, Some(error), BTreeMap::new())),
        }
    }
    let broker = &context.shared.broker;
    let mut outcomes = broker.create_topics(wishes, request.validate_only).await.into_iter();
    let topics = answers.into_iter().map(|(name, refused, overrides)| {
        let outcome = match refused {
            Some(error) => Err(error),
            None => outcomes.next().unwrap_or(Err(TopicError::StorageFailed)),
        };
        match outcome {
            Ok(created) => success(context, name, &created, &overrides),
            Err(error) => {
                context.probe().reached("create_topic_refused");
                failure(name, &error)
            },
        }
    });
    let duplicate = TopicError::InvalidRequest("Duplicate topic name.".to_owned());
    let count = topics.len() + twice.len();
    let topics = topics.chain(twice.into_iter().map(|name| failure(name, &duplicate)));
    // Each has all of its settings in it.
    let mut answer = Answer::of::<CreateTopicsResponse>(context, 2, count);
    let mut pushed = Ok(());
    for topic in topics {
        pushed = answer.push(&topic).await;
        if pushed.is_err() {
            break;
        }
    }
    answer.end(pushed)
}

/// The topics whose name is asked for once, in order, and the names that are asked for again.
fn apart(topics: Vec<CreatableTopic>) -> (Vec<CreatableTopic>, BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    let again: BTreeSet<String> = topics
        .iter()
        .filter(|topic| !seen.insert(topic.name.as_str()))
        .map(|topic| topic.name.clone())
        .collect();
    let single = topics.into_iter().filter(|topic| !again.contains(&topic.name)).collect();
    (single, again)
}

/// A topic in the broker's words.
fn wish(topic: CreatableTopic) -> Result<CreateTopic, TopicError> {
    let assignment = match topic.assignments {
        assignments if assignments.is_empty() => None,
        _ if topic.replication_factor != -1 => return Err(not_left_open("replication factor")),
        _ if topic.num_partitions != -1 => return Err(not_left_open("numPartitions")),
        assignments => Some(assigned(assignments)?),
    };
    Ok(CreateTopic {
        name: topic.name,
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignment,
        configs: topic.configs.into_iter().map(|config| (config.name, config.value)).collect(),
    })
}

fn not_left_open(what: &str) -> TopicError {
    TopicError::InvalidRequest(format!(
        "A manual partition assignment was specified, but {what} was not set to -1."
    ))
}

fn assigned(
    assignments: Vec<CreatableReplicaAssignment>,
) -> Result<BTreeMap<i32, Vec<BrokerId>>, TopicError> {
    let mut assigned = BTreeMap::new();
    for one in assignments {
        let brokers = one.broker_ids.into_iter().map(BrokerId).collect();
        if assigned.insert(one.partition_index, brokers).is_some() {
            return Err(TopicError::InvalidAssignment(format!(
                "Found multiple manual partition assignments for partition {}",
                one.partition_index
            )));
        }
    }
    Ok(assigned)
}

fn overrides(wish: &CreateTopic) -> BTreeMap<Arc<str>, Arc<str>> {
    let given = wish.configs.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    given.map(|(name, value)| (Arc::from(name.as_str()), Arc::from(value.trim()))).collect()
}

fn success<E: Env>(
    context: &Context<'_, E>,
    name: String,
    created: &CreatedTopic,
    overrides: &BTreeMap<Arc<str>, Arc<str>>,
) -> CreatableTopicResult {
    let effective = if context.version() >= 5 {
        let broker = &context.shared.broker;
        let view = broker.cluster();
        let node_id = context.shared.settings.node_id;
        configs::of_topic(overrides, &view.layers(node_id, &broker.file()))
    } else {
        Vec::new()
    };
    let configs = effective.into_iter().map(|one| CreatableTopicConfigs {
        name: one.name,
        value: one.value,
        read_only: false,
        config_source: one.source,
        is_sensitive: false,
    });
    CreatableTopicResult {
        name,
        topic_id: created.id.0,
        error_message: None,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.collect()),
        ..CreatableTopicResult::default()
    }
}

fn failure(name: String, error: &TopicError) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: ErrorCode::from(error).0,
        error_message: Some(error.to_string()),
        ..CreatableTopicResult::default()
    }
}
