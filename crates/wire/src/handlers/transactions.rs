//! ListTransactions and DescribeTransactions: this version has no transactions, so none is found.
//! Source: KIP-664, KIP-994, KIP-1152.

use base::Probe;
use env::Env;
use protocol::messages::describe_transactions_response::TransactionState;
use protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest,
    ListTransactionsResponse,
};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The states that a transaction can be in.
const STATES: &[&str] = &[
    "CompleteAbort",
    "CompleteCommit",
    "Dead",
    "Empty",
    "Ongoing",
    "PrepareAbort",
    "PrepareCommit",
    "PrepareEpochFence",
];

pub(crate) fn list<E: Env>(
    context: &Context<'_, E>,
    request: ListTransactionsRequest,
) -> Outcome<FileOf<E>> {
    let mut unknown_state_filters = request.state_filters;
    unknown_state_filters.retain(|state| !STATES.contains(&state.as_str()));
    unknown_state_filters.sort();
    unknown_state_filters.dedup();
    context.reply(&ListTransactionsResponse { unknown_state_filters, ..Default::default() })
}

pub(crate) fn describe<E: Env>(
    context: &Context<'_, E>,
    request: DescribeTransactionsRequest,
) -> Outcome<FileOf<E>> {
    let states = request.transactional_ids.into_iter().map(|transactional_id| {
        context.probe().reached("describe_transactions_refused");
        let error = if transactional_id.is_empty() {
            ErrorCode::INVALID_REQUEST
        } else {
            ErrorCode::TRANSACTIONAL_ID_NOT_FOUND
        };
        TransactionState { error_code: error.0, transactional_id, ..TransactionState::default() }
    });
    let transaction_states = states.collect();
    context.reply(&DescribeTransactionsResponse { transaction_states, throttle_time_ms: 0 })
}
