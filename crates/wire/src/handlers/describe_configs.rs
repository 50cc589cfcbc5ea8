//! DescribeConfigs: what is in force for topics, this broker, its loggers, groups and subscriptions to
//! client metrics.
//!
//! Invariants: every resource is answered alone, and once however often it
//! is named; keys that do not exist are left out silently; null
//! or no key names mean all of them. Source: KIP-226, KIP-569.

use std::collections::BTreeSet;

use base::Probe;
use broker::api::Resource;
use env::Env;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::answer::Answer;
use super::configs::{self, Effective};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Kafka's number for the resource type "topic".
pub(super) const TOPIC: i8 = 2;
/// Kafka's number for the resource type "broker".
pub(super) const BROKER: i8 = 4;
/// Kafka's number for the resource type "broker logger".
pub(super) const BROKER_LOGGER: i8 = 8;
/// Kafka's number for the resource type "client metrics".
pub(super) const CLIENT_METRICS: i8 = 16;
/// Kafka's number for the resource type "group".
pub(super) const GROUP: i8 = 32;

/// What it takes to find all settings of something, in the words of [`Answer::worked`].
const SETTINGS_WORK: usize = 16 * 1024;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DescribeConfigsRequest,
) -> Outcome<FileOf<E>> {
    let show =
        Show { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let mut seen = BTreeSet::new();
    let mut resources = request.resources;
    resources.retain(|one| seen.insert((one.resource_type, one.resource_name.clone())));
    let mut answer = Answer::of::<DescribeConfigsResponse>(context, 0, resources.len());
    let mut pushed = Ok(());
    for resource in resources {
        // Groups need not be there to have settings: a name of a few bytes costs all of them, also if
        // one alone is wanted.
        answer.worked(SETTINGS_WORK);
        pushed = answer.push(&describe(context, resource, show)).await;
        if pushed.is_err() {
            break;
        }
    }
    answer.end(pushed)
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
            let wanted = resource.configuration_keys.filter(|keys| !keys.is_empty());
            let wanted: Option<BTreeSet<String>> = wanted.map(|keys| keys.into_iter().collect());
            let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
            let shown = all.into_iter().filter(|one| is_wanted(&one.name));
            let shown = shown.map(|one| result(one, show)).collect();
            (ErrorCode::NONE, None, shown)
        },
        Err((error, message)) => {
            context.probe().reached("describe_configs_refused");
            (error, message, Vec::new())
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
) -> Result<Vec<Effective>, (ErrorCode, Option<String>)> {
    let settings = &context.shared.settings;
    let broker = &context.shared.broker;
    let view = broker.cluster();
    let file = broker.file();
    let layers = view.layers(settings.node_id, &file);
    let name = resource.resource_name.as_str();
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, Some(why)));
    match resource.resource_type {
        TOPIC => {
            if let Err(why) = broker::api::check_name(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(why)));
            }
            let topic = view.topics.get(name);
            let topic = topic.ok_or((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None))?;
            Ok(configs::of_topic(&topic.configs, &layers))
        },
        BROKER if name.is_empty() => Ok(configs::of_cluster(&layers)),
        BROKER | BROKER_LOGGER => {
            if name.is_empty() {
                return invalid("Broker id must not be empty".to_owned());
            }
            let Ok(named) = name.parse::<i32>() else {
                let name = shortened(name);
                return invalid(format!("Broker id must be an integer, but it is: {name}"));
            };
            let is_logger = resource.resource_type == BROKER_LOGGER;
            if named != settings.node_id.0 {
                let or_all = if is_logger { "" } else { " or empty string," };
                return invalid(format!(
                    "Unexpected broker id, expected {}{or_all} but received {named}",
                    settings.node_id
                ));
            }
            Ok(if is_logger {
                configs::of_loggers(settings.loggers.levels())
            } else {
                configs::of_broker(&layers)
            })
        },
        GROUP if name.is_empty() => invalid("Group name must not be empty".to_owned()),
        GROUP => {
            let own = view.settings_of(&Resource::Group(name.into()));
            Ok(configs::of_group(own, &layers))
        },
        CLIENT_METRICS if name.is_empty() => {
            invalid("Client metrics subscription name must not be empty".to_owned())
        },
        CLIENT_METRICS => {
            let own = view.settings_of(&Resource::ClientMetrics(name.into()));
            Ok(configs::of_client_metrics(own))
        },
        _ => invalid(MALFORMED.to_owned()),
    }
}

/// What Kafka says of a kind of resource that nobody knows.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";

/// Enough of a client's text to recognize it by.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}

fn result(one: Effective, show: Show) -> DescribeConfigsResourceResult {
    let synonyms = one.synonyms.into_iter().filter(|_| show.synonyms);
    let synonyms = synonyms.map(|synonym| DescribeConfigsSynonym {
        name: synonym.name,
        value: synonym.value,
        source: synonym.source,
    });
    DescribeConfigsResourceResult {
        name: one.name,
        value: one.value,
        read_only: one.read_only,
        config_source: one.source,
        is_sensitive: one.sensitive,
        synonyms: synonyms.collect(),
        config_type: one.kind,
        documentation: one.doc.filter(|_| show.documentation).map(str::to_owned),
    }
}
