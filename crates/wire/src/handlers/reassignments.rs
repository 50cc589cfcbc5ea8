//! ListPartitionReassignments: replicas do not move in this version, so none is ever under way.

use env::Env;
use protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::dispatch::{Context, Outcome};
use crate::server::FileOf;

pub(crate) fn handle<E: Env>(
    context: &Context<'_, E>,
    _request: &ListPartitionReassignmentsRequest,
) -> Outcome<FileOf<E>> {
    context.reply(&ListPartitionReassignmentsResponse {
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    })
}
