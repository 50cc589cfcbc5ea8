//! DescribeClientQuotas: nobody has a quota in this version, so none is found; a filter that cannot
//! be is refused all the same. Source: KIP-546.

use std::collections::BTreeSet;

use base::Probe;
use env::Env;
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::describe_configs::shortened;
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

pub(crate) fn describe<E: Env>(
    context: &Context<'_, E>,
    request: DescribeClientQuotasRequest,
) -> Outcome<FileOf<E>> {
    let response = match check(&request.components) {
        Ok(()) => DescribeClientQuotasResponse {
            entries: Some(Vec::new()),
            ..DescribeClientQuotasResponse::default()
        },
        Err((error, message)) => {
            context.probe().reached("describe_client_quotas_refused");
            DescribeClientQuotasResponse {
                error_code: error.0,
                error_message: Some(message),
                entries: None,
                ..DescribeClientQuotasResponse::default()
            }
        },
    };
    context.reply(&response)
}

fn check(components: &[ComponentData]) -> Result<(), (ErrorCode, String)> {
    let invalid = |message: &str| Err((ErrorCode::INVALID_REQUEST, message.to_owned()));
    let mut seen = BTreeSet::new();
    for one in components {
        let kind = one.entity_type.as_str();
        if kind.is_empty() {
            return invalid("Invalid empty entity type.");
        }
        if !seen.insert(kind) {
            let kind = shortened(kind);
            return invalid(&format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
        if ![IP, USER, CLIENT_ID].contains(&kind) {
            let message = format!("Unsupported entity type {}", shortened(kind));
            return Err((ErrorCode::UNSUPPORTED_VERSION, message));
        }
        match (one.match_type, &one.match_) {
            (0, None) => {
                return invalid(
                    "Request specified MATCH_TYPE_EXACT, but set match string to null.",
                );
            },
            (1, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
                );
            },
            (2, Some(_)) => {
                return invalid(
                    "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
                );
            },
            (0..=2, _) => {},
            (other, _) => return invalid(&format!("Unknown match type {other}")),
        }
    }
    if seen.contains(IP) && seen.len() > 1 {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used \
             with user or clientId filter component.",
        );
    }
    Ok(())
}
