//! ElectLeaders: there is one broker, so that nobody else can be elected.
//!
//! Invariants: every partition that is named is answered; asked about all, only those are answered
//! that have no leader or not the wanted one. Source: KIP-183, KIP-460.

use base::{PartitionIndex, Probe};
use broker::api::{ClusterView, Election, NoElection};
use env::Env;
use protocol::messages::elect_leaders_request::TopicPartitions;
use protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::answer::{Growth, TooLong};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: ElectLeadersRequest,
) -> Outcome<FileOf<E>> {
    let view = context.shared.broker.cluster();
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        other => return refused(context, request, &format!("Unknown election type {other}")),
    };
    let replica_election_results = match request.topic_partitions {
        Some(topics) => {
            let mut growth = Growth::default();
            let mut results = Vec::with_capacity(topics.len());
            for topic in topics {
                match named(context, &view, (topic, election), &mut growth).await {
                    Ok(result) => results.push(result),
                    Err(TooLong) => return context.too_long(),
                }
            }
            results
        },
        None => everywhere(&view, election),
    };
    context.reply(&ElectLeadersResponse {
        replica_election_results,
        ..ElectLeadersResponse::default()
    })
}

/// The partitions that are named of a topic.
async fn named<E: Env>(
    context: &Context<'_, E>,
    view: &ClusterView,
    (topic, election): (TopicPartitions, Election),
    growth: &mut Growth,
) -> Result<ReplicaElectionResult, TooLong> {
    let mut partition_result = Vec::with_capacity(topic.partitions.len());
    for index in topic.partitions {
        let (_, result) = answer(view, &topic.topic, index, election);
        // It may name the topic again, and that may be long.
        let text = result.error_message.as_ref().map_or(0, String::len);
        partition_result.push(result);
        growth.by(context, text + size_of::<PartitionResult>()).await?;
    }
    Ok(ReplicaElectionResult { topic: topic.topic, partition_result })
}

fn everywhere(view: &ClusterView, election: Election) -> Vec<ReplicaElectionResult> {
    let topics = view.topics.iter().map(|(name, topic)| {
        let indexes = (0..).zip(&topic.partitions).map(|(index, _)| index);
        let answers = indexes.map(|index| answer(view, name, index, election));
        let told = answers.filter(|(why, _)| *why != NoElection::NotNeeded);
        let partition_result = told.map(|(_, result)| result).collect();
        ReplicaElectionResult { topic: name.to_string(), partition_result }
    });
    topics.collect()
}

fn answer(
    view: &ClusterView,
    topic: &str,
    partition_id: i32,
    election: Election,
) -> (NoElection, PartitionResult) {
    let why = view.elect(topic, PartitionIndex(partition_id), election);
    let error_code = ErrorCode::from(&why).0;
    let error_message = Some(why.to_string());
    (why, PartitionResult { partition_id, error_code, error_message })
}

/// The whole request is refused.
fn refused<E: Env>(
    context: &Context<'_, E>,
    request: ElectLeadersRequest,
    why: &str,
) -> Outcome<FileOf<E>> {
    context.probe().reached("elect_leaders_refused");
    let result = |partition_id| PartitionResult {
        partition_id,
        error_code: ErrorCode::INVALID_REQUEST.0,
        error_message: Some(why.to_owned()),
    };
    let named = request.topic_partitions.unwrap_or_default().into_iter();
    let results = named.map(|topic| ReplicaElectionResult {
        topic: topic.topic,
        partition_result: topic.partitions.into_iter().map(result).collect(),
    });
    context.reply(&ElectLeadersResponse {
        error_code: ErrorCode::INVALID_REQUEST.0,
        replica_election_results: results.collect(),
        ..ElectLeadersResponse::default()
    })
}
