//! ApiVersions: the first contact.
//!
//! Invariants: the answer's header is always version 0; an unknown version is answered in version
//! 0 with the one range a client needs to try again; no tagged field that holds its default is
//! sent. No feature is finalized, because nothing this broker does hangs on one: producers then
//! speak the older transaction protocol and old clients meet no tagged field at all. Source:
//! KIP-511, KIP-1242, KAFKA-17011.

use base::Probe;
use env::Env;
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::{ApiKey, Wire};

use super::{SERVED, advertised};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// A client that does not yet know which broker it talks to.
const NOBODY: i32 = -1;

pub(crate) fn handle<E: Env>(
    context: &Context<'_, E>,
    request: &ApiVersionsRequest,
) -> Outcome<FileOf<E>> {
    let shared = context.shared;
    let error = if context.version() >= 3
        && !(is_software(&request.client_software_name)
            && is_software(&request.client_software_version))
    {
        shared.env.probe().reached("api_versions_bad_software_name");
        ErrorCode::INVALID_REQUEST
    } else if request.cluster_id.is_none() != (request.node_id == NOBODY) {
        shared.env.probe().reached("api_versions_half_named");
        ErrorCode::INVALID_REQUEST
    } else if is_elsewhere(context, request) {
        shared.env.probe().reached("api_versions_other_cluster");
        ErrorCode::REBOOTSTRAP_REQUIRED
    } else {
        ErrorCode::NONE
    };
    let mut response =
        ApiVersionsResponse { error_code: error.0, ..ApiVersionsResponse::default() };
    if error.is_none() {
        response.api_keys = SERVED.iter().filter_map(|key| entry(*key)).collect();
    }
    context.reply(&response)
}

/// Answers a version nobody knows, without looking at the body.
pub(crate) fn unknown_version<E: Env>(context: &Context<'_, E>) -> Outcome<FileOf<E>> {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION.0,
        api_keys: entry(ApiKey::ApiVersions).into_iter().collect(),
        ..ApiVersionsResponse::default()
    };
    let correlation_id = context.header.correlation_id;
    let frame = protocol::frame::framed(ApiKey::ApiVersions, 0, correlation_id, |writer| {
        response.encode(writer, 0)
    });
    context.finish(frame, Vec::new())
}

fn entry(key: ApiKey) -> Option<ApiVersion> {
    let (min_version, max_version) = advertised(key)?;
    Some(ApiVersion { api_key: key.to_i16(), min_version, max_version })
}

/// Whether the client means another cluster or another broker than this one.
fn is_elsewhere<E: Env>(context: &Context<'_, E>, request: &ApiVersionsRequest) -> bool {
    let Some(cluster_id) = &request.cluster_id else { return false };
    let shared = context.shared;
    *cluster_id != shared.broker.cluster().cluster_id.to_string()
        || request.node_id != shared.settings.node_id.0
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_software(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_pattern() {
        for good in ["a", "apache-kafka-java", "4.4.0", "0", "a.b-c9"] {
            assert!(is_software(good), "{good}");
        }
        for bad in ["", "-", ".a", "a.", "a b", "a_b", "é"] {
            assert!(!is_software(bad), "{bad}");
        }
    }

    #[test]
    fn everything_served_is_advertised_as_kafka_advertises_it() {
        for key in SERVED {
            assert_eq!(advertised(*key), key.advertised(), "{key:?}");
        }
        assert_eq!(advertised(ApiKey::ConsumerGroupDescribe), None);
        assert!(SERVED.is_sorted_by_key(|key| key.to_i16()));
    }
}
