//! SaslHandshake and SaslAuthenticate on a listener without SASL.
//!
//! Invariant: both are answered, and refused, as Kafka does on a PLAINTEXT listener: a client that is
//! told to authenticate learns at once that it cannot, where a closed connection would be tried again
//! for ever. Source: KIP-43, KIP-152.

use base::Probe;
use env::Env;
use protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

const NOT_NOW: &str = "SaslAuthenticate request received after successful authentication";

pub(crate) fn handshake<E: Env>(
    context: &Context<'_, E>,
    _request: &SaslHandshakeRequest,
) -> Outcome<FileOf<E>> {
    context.probe().reached("sasl_refused");
    context.reply(&SaslHandshakeResponse {
        error_code: ErrorCode::ILLEGAL_SASL_STATE.0,
        ..SaslHandshakeResponse::default()
    })
}

pub(crate) fn authenticate<E: Env>(
    context: &Context<'_, E>,
    _request: &SaslAuthenticateRequest,
) -> Outcome<FileOf<E>> {
    context.probe().reached("sasl_refused");
    context.reply(&SaslAuthenticateResponse {
        error_code: ErrorCode::ILLEGAL_SASL_STATE.0,
        error_message: Some(NOT_NOW.to_owned()),
        ..SaslAuthenticateResponse::default()
    })
}
