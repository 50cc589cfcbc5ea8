//! DeleteTopics, by name or by id.
//!
//! Invariants: each topic succeeds or fails alone; a topic named twice, or both ways, or neither
//! way, is refused; an error never tells the name behind an id. Source: KIP-4, KIP-516.

use std::collections::{BTreeMap, BTreeSet};

use base::{Probe, TopicId};
use broker::api::{TopicError, TopicRef};
use env::Env;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Older clients do not know the number for "deletion is disabled".
const DISABLED_VERSION_MIN: i16 = 3;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DeleteTopicsRequest,
) -> Outcome<FileOf<E>> {
    let by_name = |name| Ok(TopicRef::Name(name));
    let named = request.topic_names.into_iter().map(by_name);
    let asked: Vec<_> = named.chain(request.topics.into_iter().map(reference)).collect();
    let mut times: BTreeMap<TopicRef, usize> = BTreeMap::new();
    for reference in asked.iter().flatten() {
        *times.entry(reference.clone()).or_default() += 1;
    }
    let is_single = |reference: &&TopicRef| times.get(*reference) == Some(&1);
    let wishes = asked.iter().flatten().filter(is_single).cloned().collect();
    let mut outcomes = context.shared.broker.delete_topics(wishes).await.into_iter();
    let mut told = BTreeSet::new();
    let responses = asked.into_iter().filter_map(|asked| {
        let (reference, outcome) = match asked {
            Err(state) => return Some(refused(context, state)),
            Ok(reference) if is_single(&&reference) => {
                (reference, outcomes.next().unwrap_or(Err(TopicError::StorageFailed)))
            },
            // Told once, however often it is named.
            Ok(reference) if !told.insert(reference.clone()) => return None,
            Ok(reference) => {
                let error = TopicError::InvalidRequest("Duplicate topic name.".to_owned());
                (reference, Err(error))
            },
        };
        Some(respond(context, reference, outcome))
    });
    let responses = responses.collect();
    context.reply(&DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
}

/// The one way in which a topic is named.
fn reference(state: DeleteTopicState) -> Result<TopicRef, DeleteTopicState> {
    match (state.name, state.topic_id.is_zero()) {
        (Some(name), true) => Ok(TopicRef::Name(name)),
        (None, false) => Ok(TopicRef::Id(TopicId(state.topic_id))),
        (name, _) => Err(DeleteTopicState { name, topic_id: state.topic_id }),
    }
}

fn refused<E: Env>(context: &Context<'_, E>, state: DeleteTopicState) -> DeletableTopicResult {
    context.probe().reached("delete_topic_badly_named");
    let why = match state.name {
        Some(_) => "You may not specify both topic name and topic id.",
        None => "Neither topic name nor id were specified.",
    };
    DeletableTopicResult {
        name: state.name,
        topic_id: state.topic_id,
        error_code: ErrorCode::INVALID_REQUEST.0,
        error_message: Some(why.to_owned()),
    }
}

fn respond<E: Env>(
    context: &Context<'_, E>,
    reference: TopicRef,
    outcome: Result<(String, TopicId), TopicError>,
) -> DeletableTopicResult {
    let (name, topic_id) = match reference {
        TopicRef::Name(name) => (Some(name), TopicId::default()),
        TopicRef::Id(id) => (None, id),
    };
    match outcome {
        Ok((name, id)) => DeletableTopicResult {
            name: Some(name),
            topic_id: id.0,
            ..DeletableTopicResult::default()
        },
        Err(error) => {
            context.probe().reached("delete_topic_refused");
            let code = match ErrorCode::from(&error) {
                ErrorCode::TOPIC_DELETION_DISABLED if context.version() < DISABLED_VERSION_MIN => {
                    ErrorCode::INVALID_REQUEST
                },
                code => code,
            };
            DeletableTopicResult {
                name,
                topic_id: topic_id.0,
                error_code: code.0,
                error_message: Some(error.to_string()),
            }
        },
    }
}
