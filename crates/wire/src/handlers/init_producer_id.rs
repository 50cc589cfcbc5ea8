//! InitProducerId: numbers for idempotent producers.
//!
//! Invariant: a transactional id is refused at once, in the way every client takes as final. The
//! answer has no room for a message; FindCoordinator, which clients ask first, gives one.

use base::Probe;
use env::Env;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: InitProducerIdRequest,
) -> Outcome<FileOf<E>> {
    let half_named = (request.producer_id == -1) != (request.producer_epoch == -1);
    let error = match request.transactional_id.as_deref() {
        None if !half_named => None,
        None | Some("") => Some(ErrorCode::INVALID_REQUEST),
        Some(_) => Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    };
    let given = match error {
        Some(error) => {
            context.probe().reached("init_producer_id_refused");
            Err(error)
        },
        None => {
            let given = context.shared.broker.init_producer_id().await;
            given.map_err(|error| {
                context.probe().reached("init_producer_id_failed");
                ErrorCode::from(&error)
            })
        },
    };
    let response = match given {
        Ok((id, epoch)) => InitProducerIdResponse {
            producer_id: id.0,
            producer_epoch: epoch.0,
            ..InitProducerIdResponse::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: error.0,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    };
    context.reply(&response)
}
