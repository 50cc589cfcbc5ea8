//! ListConfigResources: what can have settings of its own. Version 0 is the old
//! ListClientMetricsResources. Source: KIP-1000, KIP-1142.

use std::collections::BTreeSet;

use base::Probe;
use broker::api::Resource;
use env::Env;
use protocol::messages::list_config_resources_response::ConfigResource;
use protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::describe_configs::{BROKER, TOPIC};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(crate) fn list<E: Env>(
    context: &Context<'_, E>,
    request: ListConfigResourcesRequest,
) -> Outcome<FileOf<E>> {
    let supported: &[i8] = if context.version() == 0 {
        &[CLIENT_METRICS]
    } else {
        &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP]
    };
    let asked: BTreeSet<i8> = request.resource_types.into_iter().collect();
    if asked.iter().any(|kind| !supported.contains(kind)) {
        context.probe().reached("list_config_resources_refused");
        let error_code = ErrorCode::UNSUPPORTED_VERSION.0;
        return context.reply(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let is_asked = |kind: i8| {
        if asked.is_empty() { supported.contains(&kind) } else { asked.contains(&kind) }
    };
    let view = context.shared.broker.cluster();
    let resource = |resource_type, resource_name| ConfigResource { resource_name, resource_type };
    let mut config_resources = Vec::new();
    for of in view.settings.keys() {
        match of {
            // An older version took longer names in, with which no answer can be written.
            Resource::Group(name) | Resource::ClientMetrics(name)
                if i16::try_from(name.len()).is_err() => {},
            Resource::Group(name) if is_asked(GROUP) => {
                config_resources.push(resource(GROUP, name.to_string()));
            },
            Resource::ClientMetrics(name) if is_asked(CLIENT_METRICS) => {
                config_resources.push(resource(CLIENT_METRICS, name.to_string()));
            },
            _ => {},
        }
    }
    for kind in [BROKER_LOGGER, BROKER].into_iter().filter(|kind| is_asked(*kind)) {
        let brokers = context.reachable(&view);
        config_resources.extend(brokers.map(|broker| resource(kind, broker.id.to_string())));
    }
    if is_asked(TOPIC) {
        let topics = view.topics.keys();
        config_resources.extend(topics.map(|name| resource(TOPIC, name.to_string())));
    }
    context.reply(&ListConfigResourcesResponse { config_resources, ..Default::default() })
}
