//! CreatePartitions: more partitions for topics that exist.
//!
//! Invariants: each topic succeeds or fails alone; a topic that is named twice fails, and is answered
//! once; success is answered once the new partitions are durable and can be used. Source: KIP-195,
//! KIP-599.

use std::collections::{BTreeMap, BTreeSet};

use base::{BrokerId, Probe};
use broker::api::{AddPartitions, TopicError};
use env::Env;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: CreatePartitionsRequest,
) -> Outcome<FileOf<E>> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let mut told = BTreeSet::new();
    let (mut results, mut wishes) = (Vec::new(), Vec::new());
    for topic in request.topics {
        if times.get(&topic.name) == Some(&1) {
            wishes.push(wish(topic));
        } else if told.insert(topic.name.clone()) {
            let error = TopicError::InvalidRequest("Duplicate topic name.".to_owned());
            results.push(respond(context, topic.name, Err(error)));
        }
    }
    if !wishes.is_empty() {
        let names: Vec<String> = wishes.iter().map(|wish| wish.name.clone()).collect();
        let outcomes = context.shared.broker.add_partitions(wishes, request.validate_only).await;
        let answers = names.into_iter().zip(outcomes);
        results.extend(answers.map(|(name, outcome)| respond(context, name, outcome)));
    }
    context.reply(&CreatePartitionsResponse { results, throttle_time_ms: 0 })
}

fn wish(topic: CreatePartitionsTopic) -> AddPartitions {
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    let assignment = topic.assignments;
    AddPartitions {
        name: topic.name,
        count: topic.count,
        assignment: assignment
            .map(|all| all.into_iter().map(|one| brokers(one.broker_ids)).collect()),
    }
}

fn respond<E: Env>(
    context: &Context<'_, E>,
    name: String,
    outcome: Result<(), TopicError>,
) -> CreatePartitionsTopicResult {
    let Err(error) = outcome else {
        return CreatePartitionsTopicResult { name, ..CreatePartitionsTopicResult::default() };
    };
    context.probe().reached("create_partitions_refused");
    // Of a topic that is not there Kafka says the number alone.
    let is_plain = error == TopicError::UnknownName;
    CreatePartitionsTopicResult {
        name,
        error_code: ErrorCode::from(&error).0,
        error_message: (!is_plain).then(|| error.to_string()),
    }
}
