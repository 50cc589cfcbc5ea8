//! AlterPartitionReassignments and ListPartitionReassignments: replicas do not move in this version.
//!
//! Invariants: every partition that is named is answered; to stay where one is succeeds at once; so
//! none is ever under way. Source: KIP-455, KIP-860.

use base::{BrokerId, PartitionIndex, Probe};
use env::Env;
use protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::answer::{Growth, TooLong};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) async fn alter<E: Env>(
    context: &Context<'_, E>,
    request: AlterPartitionReassignmentsRequest,
) -> Outcome<FileOf<E>> {
    let view = context.shared.broker.cluster();
    let answer = |topic: &str, partition_index: i32, replicas: Option<Vec<i32>>| {
        let replicas: Option<Vec<BrokerId>> =
            replicas.map(|ids| ids.into_iter().map(BrokerId).collect());
        let index = PartitionIndex(partition_index);
        let refused = view.reassign(topic, index, replicas.as_deref()).err();
        if refused.is_some() {
            context.probe().reached("reassignment_refused");
        }
        ReassignablePartitionResponse {
            partition_index,
            error_code: refused.as_ref().map_or(ErrorCode::NONE, ErrorCode::from).0,
            error_message: refused.map(|error| error.to_string()),
        }
    };
    let mut growth = Growth::default();
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for one in topic.partitions {
            let answered = answer(&topic.name, one.partition_index, one.replicas);
            // It may name the topic again, and that may be long.
            let text = answered.error_message.as_ref().map_or(0, String::len);
            partitions.push(answered);
            let bytes = text + size_of::<ReassignablePartitionResponse>();
            if let Err(TooLong) = growth.by(context, bytes).await {
                return context.too_long();
            }
        }
        responses.push(ReassignableTopicResponse { partitions, name: topic.name });
    }
    context.reply(&AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses,
        error_message: None,
        ..AlterPartitionReassignmentsResponse::default()
    })
}

pub(crate) fn list<E: Env>(
    context: &Context<'_, E>,
    _request: &ListPartitionReassignmentsRequest,
) -> Outcome<FileOf<E>> {
    context.reply(&ListPartitionReassignmentsResponse {
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    })
}
