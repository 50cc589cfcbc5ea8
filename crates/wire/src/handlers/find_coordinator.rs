//! FindCoordinator: who coordinates groups. Nobody coordinates transactions yet.
//!
//! Invariants: one answer per key, however often it is named; the empty group has a coordinator, for it may commit by itself; a
//! transactional id fails at once and with a message. Clients of the batched versions (Java) show the
//! message of a code they do not expect; older ones (librdkafka) retry every code but 53 for ever, so
//! they get that. Source: KIP-699, KIP-932.

use std::collections::BTreeSet;

use base::Probe;
use env::Env;
use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::answer::{Growth, TooLong};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// The first version that asks for several keys.
const BATCHED_VERSION_MIN: i16 = 4;

const NO_TRANSACTIONS: &str =
    "This broker does not support transactions yet; use a producer without a transactional id.";
const NOT_AVAILABLE: &str = "The coordinator is not available.";
const UNKNOWN_TYPE: &str = "This broker coordinates groups only.";

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: FindCoordinatorRequest,
) -> Outcome<FileOf<E>> {
    if context.version() >= BATCHED_VERSION_MIN {
        let mut seen = BTreeSet::new();
        let mut keys = request.coordinator_keys;
        keys.retain(|key| seen.insert(key.clone()));
        let mut growth = Growth::default();
        let mut coordinators = Vec::with_capacity(keys.len());
        for key in keys {
            let found = find(context, request.key_type, key).await;
            let text = found.key.len() + found.host.len();
            let text = text + found.error_message.as_ref().map_or(0, String::len);
            coordinators.push(found);
            if let Err(TooLong) = growth.by(context, text + size_of::<Coordinator>()).await {
                return context.too_long();
            }
        }
        return context.reply(&FindCoordinatorResponse {
            coordinators,
            ..FindCoordinatorResponse::default()
        });
    }
    let found = find(context, request.key_type, request.key).await;
    context.reply(&FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    })
}

async fn find<E: Env>(context: &Context<'_, E>, key_type: i8, key: String) -> Coordinator {
    let shared = context.shared;
    let refused = match key_type {
        GROUP => None,
        TRANSACTION if context.version() < BATCHED_VERSION_MIN => {
            Some((ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, NO_TRANSACTIONS))
        },
        TRANSACTION => Some((ErrorCode::INVALID_REQUEST, NO_TRANSACTIONS)),
        _ => Some((ErrorCode::INVALID_REQUEST, UNKNOWN_TYPE)),
    };
    if let Some((error, message)) = refused {
        context.probe().reached("find_coordinator_refused");
        return nobody(key, error, message);
    }
    let leader = shared.broker.find_coordinator(&key).await;
    let at = leader.and_then(|leader| Some((leader, shared.advertised(leader)?)));
    let Some((leader, (host, port))) = at else {
        context.probe().reached("find_coordinator_not_available");
        return nobody(key, ErrorCode::COORDINATOR_NOT_AVAILABLE, NOT_AVAILABLE);
    };
    Coordinator {
        key,
        node_id: leader.0,
        host: host.to_owned(),
        port,
        error_code: ErrorCode::NONE.0,
        error_message: None,
    }
}

fn nobody(key: String, error: ErrorCode, message: &str) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code: error.0,
        error_message: Some(message.to_owned()),
    }
}
