//! One handler per API: Kafka's message in, a question to the broker, Kafka's message out.
//!
//! Owns: which APIs are served. Invariants: what is advertised is served in every version (but for
//! Produce 0 to 2, which Kafka advertises for librdkafka's sake and refuses as well); a handler
//! answers every element of its request and does work proportional to it; nothing that a handler
//! leaves behind keeps a request's bytes alive.

pub(crate) mod api_versions;
mod fetch;
mod metadata;
mod produce;
mod topics;

use env::Env;
use protocol::{ApiKey, DecodeError, Reader, Request};

use crate::dispatch::{Context, Outcome};
use crate::server::FileOf;

/// The APIs of this version, by number.
pub(crate) const SERVED: &[ApiKey] =
    &[ApiKey::Produce, ApiKey::Fetch, ApiKey::Metadata, ApiKey::ApiVersions];

/// The range in which `key` is advertised, if it is served.
pub(crate) fn advertised(key: ApiKey) -> Option<(i16, i16)> {
    if SERVED.contains(&key) { key.advertised() } else { None }
}

/// Whether a request is handled, rather than its connection closed.
pub(crate) fn serves(key: ApiKey, version: i16) -> bool {
    let advertised = advertised(key);
    advertised.is_some_and(|(min, max)| min <= version && version <= max)
        && key.has_version(version)
}

/// Handles a request that is [served](serves).
///
/// # Errors
/// [`DecodeError`] if the body does not parse.
pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    reader: Reader<'_>,
) -> Result<Outcome<FileOf<E>>, DecodeError> {
    let outcome = match context.header.api_key {
        ApiKey::Produce => produce::handle(context, body(context, reader)?).await,
        ApiKey::Fetch => fetch::handle(context, body(context, reader)?).await,
        ApiKey::Metadata => metadata::handle(context, body(context, reader)?).await,
        ApiKey::ApiVersions => api_versions::handle(context, &body(context, reader)?),
        _ => Outcome::Close,
    };
    Ok(outcome)
}

/// Reads a request's body. Bytes behind it are tolerated, as Kafka does.
fn body<E: Env, R: Request>(
    context: &Context<'_, E>,
    mut reader: Reader<'_>,
) -> Result<R, DecodeError> {
    R::decode(&mut reader, context.version())
}
