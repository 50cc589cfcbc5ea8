//! AlterConfigs and IncrementalAlterConfigs: a topic's own settings, changed while it is in use.
//!
//! Invariants: each resource succeeds or fails alone and whole, one that is named twice fails;
//! success is answered once the change is durable and in force. No setting of a broker can change
//! while it runs. Source: KIP-226, KIP-339; texts and the order of the checks are Kafka's.

use std::collections::{BTreeMap, BTreeSet};

use base::Probe;
use broker::api::{AlterTopic, ConfigChange, ConfigEdit, TopicError};
use env::Env;
use protocol::messages::alter_configs_request::AlterableConfig as Replacement;
use protocol::messages::incremental_alter_configs_request::AlterableConfig as Edit;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
};

use super::describe_configs::{BROKER, TOPIC, shortened};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Why a resource was not changed.
type Refusal = (ErrorCode, String);

/// One resource of either request.
struct Asked {
    resource_type: i8,
    name: String,
    /// The keys it names.
    keys: Vec<String>,
    change: Result<ConfigChange, Refusal>,
}

/// Replaces all settings of each resource.
pub(crate) async fn replace<E: Env>(
    context: &Context<'_, E>,
    request: AlterConfigsRequest,
) -> Outcome<FileOf<E>> {
    let asked = request.resources.into_iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name,
        keys: resource.configs.iter().map(|config| config.name.clone()).collect(),
        change: replacement(resource.configs),
    });
    let answers = alter(context, asked.collect(), request.validate_only).await;
    let answer = |(asked, outcome): (Asked, Result<(), Refusal>)| {
        let (error_code, error_message) = told(outcome);
        alter_configs_response::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.name,
        }
    };
    let responses = answers.into_iter().map(answer).collect();
    context.reply(&AlterConfigsResponse { responses, throttle_time_ms: 0 })
}

/// Changes the settings that each resource names.
pub(crate) async fn edit<E: Env>(
    context: &Context<'_, E>,
    request: IncrementalAlterConfigsRequest,
) -> Outcome<FileOf<E>> {
    let asked = request.resources.into_iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name,
        keys: resource.configs.iter().map(|config| config.name.clone()).collect(),
        change: edits(resource.configs),
    });
    let answers = alter(context, asked.collect(), request.validate_only).await;
    let answer = |(asked, outcome): (Asked, Result<(), Refusal>)| {
        let (error_code, error_message) = told(outcome);
        incremental_alter_configs_response::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.name,
        }
    };
    let responses = answers.into_iter().map(answer).collect();
    context.reply(&IncrementalAlterConfigsResponse { responses, throttle_time_ms: 0 })
}

fn told(outcome: Result<(), Refusal>) -> (i16, Option<String>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE.0, None),
        Err((code, message)) => (code.0, Some(message)),
    }
}

/// Each resource with its outcome, in the order of the request.
async fn alter<E: Env>(
    context: &Context<'_, E>,
    resources: Vec<Asked>,
    validate_only: bool,
) -> Vec<(Asked, Result<(), Refusal>)> {
    let mut times: BTreeMap<(i8, String), usize> = BTreeMap::new();
    for one in &resources {
        *times.entry((one.resource_type, one.name.clone())).or_default() += 1;
    }
    let mut wishes = Vec::new();
    let mut checked = Vec::new();
    for one in resources {
        let is_single = times.get(&(one.resource_type, one.name.clone())) == Some(&1);
        let outcome = if is_single {
            check(context, &one).map(|wish| wish.map(|wish| wishes.push(wish)))
        } else {
            Err(invalid_request("Each resource must appear at most once.".to_owned()))
        };
        checked.push((one, outcome));
    }
    let mut outcomes = if wishes.is_empty() {
        Vec::new().into_iter()
    } else {
        context.shared.broker.alter_topics(wishes, validate_only).await.into_iter()
    };
    let answers = checked.into_iter().map(|(one, outcome)| {
        let outcome = outcome.and_then(|proposed| match proposed {
            Some(()) => {
                let outcome = outcomes.next().unwrap_or(Err(TopicError::StorageFailed));
                outcome.map_err(|error| (ErrorCode::from(&error), error.to_string()))
            },
            None => Ok(()),
        });
        if outcome.is_err() {
            context.probe().reached("alter_configs_refused");
        }
        (one, outcome)
    });
    answers.collect()
}

/// What the broker is asked for, if there is anything to ask.
fn check<E: Env>(context: &Context<'_, E>, one: &Asked) -> Result<Option<AlterTopic>, Refusal> {
    let change = one.change.clone()?;
    match one.resource_type {
        TOPIC => Ok(Some(AlterTopic { name: one.name.clone(), change })),
        BROKER => {
            let node_id = context.shared.settings.node_id;
            if !one.name.is_empty() {
                let named = one.name.parse::<i32>().map_err(|_| {
                    let name = shortened(&one.name);
                    invalid_request(format!("Node id must be an integer, but it is: {name}"))
                })?;
                if named != node_id.0 {
                    let why =
                        format!("Unexpected broker id, expected {node_id}, but received {named}");
                    return Err(invalid_request(why));
                }
            }
            if one.keys.is_empty() {
                return Ok(None);
            }
            context.probe().reached("alter_configs_of_broker");
            let keys = shortened(&one.keys.join(", "));
            Err(invalid_request(format!("Cannot update these configs dynamically: [{keys}]")))
        },
        other => Err(invalid_request(format!("Unknown resource type {other}"))),
    }
}

fn invalid_request(why: String) -> Refusal {
    (ErrorCode::INVALID_REQUEST, why)
}

fn replacement(configs: Vec<Replacement>) -> Result<ConfigChange, Refusal> {
    let null = |config: &Replacement| config.value.is_none();
    once_each(configs.iter().map(|config| config.name.as_str()))?;
    no_nulls(configs.iter().filter(|c| null(c)).map(|config| config.name.as_str()))?;
    let pairs = configs.into_iter().filter_map(|config| Some((config.name, config.value?)));
    Ok(ConfigChange::Replace(pairs.collect()))
}

fn edits(configs: Vec<Edit>) -> Result<ConfigChange, Refusal> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let null = |config: &Edit| config.value.is_none() && config.config_operation != DELETE;
    once_each(configs.iter().map(|config| config.name.as_str()))?;
    no_nulls(configs.iter().filter(|c| null(c)).map(|config| config.name.as_str()))?;
    let edit = |config: Edit| {
        let value = config.value.unwrap_or_default();
        let edit = match config.config_operation {
            SET => ConfigEdit::Set(value),
            DELETE => ConfigEdit::Delete,
            APPEND => ConfigEdit::Append(value),
            SUBTRACT => ConfigEdit::Subtract(value),
            other => return Err(invalid_request(format!("Unknown operations type {other}"))),
        };
        Ok((config.name, edit))
    };
    let edits = configs.into_iter().map(edit).collect::<Result<_, Refusal>>()?;
    Ok(ConfigChange::Edit(edits))
}

fn once_each<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    if names.all(|name| seen.insert(name)) {
        return Ok(());
    }
    Err(invalid_request("Error due to duplicate config keys".to_owned()))
}

fn no_nulls<'a>(nulls: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let nulls: Vec<&str> = nulls.collect();
    if nulls.is_empty() {
        return Ok(());
    }
    let nulls = shortened(&nulls.join(", "));
    Err(invalid_request(format!("Null value not supported for : {nulls}")))
}
