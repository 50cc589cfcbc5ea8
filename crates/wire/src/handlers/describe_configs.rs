//! DescribeConfigs: what is in force for topics and for this broker.
//!
//! Invariants: every resource is answered alone, and once however often it
//! is named; keys that do not exist are left out silently; null
//! or no key names mean all of them. Source: KIP-226, KIP-569.

use std::collections::BTreeSet;

use base::Probe;
use env::Env;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::configs::{self, Effective};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Kafka's number for the resource type "topic".
pub(super) const TOPIC: i8 = 2;
/// Kafka's number for the resource type "broker".
pub(super) const BROKER: i8 = 4;

pub(crate) fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DescribeConfigsRequest,
) -> Outcome<FileOf<E>> {
    let show =
        Show { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let mut seen = BTreeSet::new();
    let mut resources = request.resources;
    resources.retain(|one| seen.insert((one.resource_type, one.resource_name.clone())));
    let results = resources.into_iter().map(|resource| describe(context, resource, show));
    context.reply(&DescribeConfigsResponse { results: results.collect(), throttle_time_ms: 0 })
}

/// What was asked for beyond the values.
#[derive(Clone, Copy)]
struct Show {
    synonyms: bool,
    documentation: bool,
}

fn describe<E: Env>(
    context: &Context<'_, E>,
    resource: DescribeConfigsResource,
    show: Show,
) -> DescribeConfigsResult {
    let (error_code, error_message, configs) = match effective(context, &resource) {
        Ok(all) => {
            let read_only = resource.resource_type == BROKER;
            let wanted = resource.configuration_keys.filter(|keys| !keys.is_empty());
            let wanted: Option<BTreeSet<String>> = wanted.map(|keys| keys.into_iter().collect());
            let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
            let shown = all.into_iter().filter(|one| is_wanted(one.key.name));
            let shown = shown.map(|one| result(one, read_only, show)).collect();
            (ErrorCode::NONE, None, shown)
        },
        Err((error, message)) => {
            context.probe().reached("describe_configs_refused");
            (error, Some(message), Vec::new())
        },
    };
    DescribeConfigsResult {
        error_code: error_code.0,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs,
    }
}

fn effective<E: Env>(
    context: &Context<'_, E>,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Effective>, (ErrorCode, String)> {
    let settings = &context.shared.settings;
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            if !broker::api::is_legal_name(name) {
                let message = format!("Topic name is invalid: '{}'", shortened(name));
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, message));
            }
            let view = context.shared.broker.cluster();
            let topic = view.topics.get(name).ok_or_else(|| {
                let message = "This server does not host this topic-partition.".to_owned();
                (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message)
            })?;
            Ok(configs::of_topic(topic, &settings.static_configs))
        },
        // Defaults of the whole cluster that were set while it ran: there are none.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER if name == settings.node_id.to_string() => {
            Ok(configs::of_broker(&settings.static_configs))
        },
        BROKER => Err((
            ErrorCode::INVALID_REQUEST,
            format!(
                "Unexpected broker id, expected {} or empty string, but received {}",
                settings.node_id,
                shortened(name)
            ),
        )),
        other => Err((
            ErrorCode::INVALID_REQUEST,
            format!(
                "Unsupported resource type: {other}. This broker describes topics and brokers."
            ),
        )),
    }
}

/// Enough of a client's text to recognize it by.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}

fn result(one: Effective, read_only: bool, show: Show) -> DescribeConfigsResourceResult {
    let synonyms = one.synonyms.into_iter().filter(|_| show.synonyms);
    let synonyms = synonyms.map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.to_owned(),
        value: synonym.value,
        source: synonym.source,
    });
    DescribeConfigsResourceResult {
        name: one.key.name.to_owned(),
        value: one.value,
        read_only,
        config_source: one.source,
        is_sensitive: false,
        synonyms: synonyms.collect(),
        config_type: configs::type_number(one.key.kind),
        documentation: show.documentation.then(|| one.key.doc.to_owned()),
    }
}
