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

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) fn alter<E: Env>(
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
    let responses = request.topics.into_iter().map(|topic| {
        let all = topic.partitions.into_iter();
        let partitions = all.map(|one| answer(&topic.name, one.partition_index, one.replicas));
        ReassignableTopicResponse { partitions: partitions.collect(), name: topic.name }
    });
    let responses = responses.collect();
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
