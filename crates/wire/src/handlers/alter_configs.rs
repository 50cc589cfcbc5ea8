//! AlterConfigs and IncrementalAlterConfigs: settings of topics, brokers, groups and subscriptions to
//! client metrics, changed while they are in use, and the levels of loggers.
//!
//! Invariants: each resource succeeds or fails alone and whole, one that is named twice fails;
//! success is answered once the change is durable and in force; levels of loggers last as long as the
//! process. Source: KIP-226, KIP-339; texts and the order of the checks are Kafka's.

use std::collections::{BTreeMap, BTreeSet};

use base::Probe;
use broker::api::{AlterSettings, AlterTopic, ConfigChange, ConfigEdit, Resource, TopicError};
use env::Env;
use protocol::messages::alter_configs_request::AlterableConfig as Replacement;
use protocol::messages::incremental_alter_configs_request::AlterableConfig as Edit;
use protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
};

use super::describe_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC, shortened};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Why a resource was not changed.
type Refusal = (ErrorCode, Option<String>);

/// What the broker is asked for.
enum Wish {
    /// Nothing: it is done.
    Nothing,
    Topic(AlterTopic),
    Settings(AlterSettings),
}

/// One resource of either request.
struct Asked {
    resource_type: i8,
    name: String,
    change: Result<ConfigChange, Refusal>,
    /// All of its settings are replaced.
    whole: bool,
}

/// Replaces all settings of each resource.
pub(crate) async fn replace<E: Env>(
    context: &Context<'_, E>,
    request: AlterConfigsRequest,
) -> Outcome<FileOf<E>> {
    let asked = request.resources.into_iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name,
        change: replacement(resource.configs),
        whole: true,
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
        change: edits(resource.resource_type, resource.configs),
        whole: false,
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
        Err((code, message)) => (code.0, message),
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
        *times.entry(identity(one)).or_default() += 1;
    }
    let (mut topics, mut settings) = (Vec::new(), Vec::new());
    let mut checked = Vec::new();
    for one in resources {
        let is_single = times.get(&identity(&one)) == Some(&1);
        let outcome = if is_single {
            check(context, &one, validate_only)
        } else {
            Err(invalid_request("Each resource must appear at most once.".to_owned()))
        };
        let asked = outcome.map(|wish| match wish {
            Wish::Nothing => None,
            Wish::Topic(wish) => {
                topics.push(wish);
                Some(true)
            },
            Wish::Settings(wish) => {
                settings.push(wish);
                Some(false)
            },
        });
        checked.push((one, asked));
    }
    let broker = &context.shared.broker;
    let mut of_topics = Vec::new().into_iter();
    if !topics.is_empty() {
        of_topics = broker.alter_topics(topics, validate_only).await.into_iter();
    }
    let mut of_settings = Vec::new().into_iter();
    if !settings.is_empty() {
        of_settings = broker.alter_settings(settings, validate_only).await.into_iter();
    }
    let answers = checked.into_iter().map(|(one, asked)| {
        let outcome = asked.and_then(|asked| {
            let outcome = match asked {
                None => Ok(()),
                Some(true) => of_topics.next().unwrap_or(Err(TopicError::StorageFailed)),
                Some(false) => of_settings.next().unwrap_or(Err(TopicError::StorageFailed)),
            };
            outcome.map_err(|error| (ErrorCode::from(&error), Some(error.to_string())))
        });
        if outcome.is_err() {
            context.probe().reached("alter_configs_refused");
        }
        (one, outcome)
    });
    answers.collect()
}

/// What a resource is, however it is written: `1` and `01` are one broker.
fn identity(one: &Asked) -> (i8, String) {
    let id = match one.resource_type {
        BROKER | BROKER_LOGGER => one.name.parse::<i32>().ok(),
        _ => None,
    };
    (one.resource_type, id.map_or_else(|| one.name.clone(), |id| id.to_string()))
}

/// What the broker is asked for.
fn check<E: Env>(
    context: &Context<'_, E>,
    one: &Asked,
    validate_only: bool,
) -> Result<Wish, Refusal> {
    let change = one.change.clone()?;
    let settings =
        |resource| Ok(Wish::Settings(AlterSettings { resource, change: change.clone() }));
    match one.resource_type {
        TOPIC => Ok(Wish::Topic(AlterTopic { name: one.name.clone(), change })),
        BROKER => {
            context.probe().reached("alter_configs_of_broker");
            if one.name.is_empty() {
                return settings(Resource::Brokers);
            }
            is_this_node(context, &one.name, "Unexpected broker id, expected")?;
            settings(Resource::Broker(context.shared.settings.node_id))
        },
        BROKER_LOGGER if !one.whole => {
            is_this_node(context, &one.name, "Unexpected node id. Expected")?;
            set_levels(context, &change, validate_only)?;
            Ok(Wish::Nothing)
        },
        GROUP => settings(Resource::Group(one.name.as_str().into())),
        CLIENT_METRICS => settings(Resource::ClientMetrics(one.name.as_str().into())),
        other => Err(invalid_request(format!("Unknown resource type {other}"))),
    }
}

fn is_this_node<E: Env>(
    context: &Context<'_, E>,
    name: &str,
    otherwise: &str,
) -> Result<(), Refusal> {
    let node_id = context.shared.settings.node_id;
    let named = name.parse::<i32>().map_err(|_| {
        let name = shortened(name);
        invalid_request(format!("Node id must be an integer, but it is: {name}"))
    })?;
    if named == node_id.0 {
        return Ok(());
    }
    Err(invalid_request(format!("{otherwise} {node_id}, but received {named}")))
}

/// Changes the levels of loggers, all that are named or none.
fn set_levels<E: Env>(
    context: &Context<'_, E>,
    change: &ConfigChange,
    validate_only: bool,
) -> Result<(), Refusal> {
    const LEVELS: [&str; 7] = ["DEBUG", "ERROR", "FATAL", "INFO", "OFF", "TRACE", "WARN"];
    let ConfigChange::Edit(edits) = change else { return Ok(()) };
    let invalid_config = |why: String| Err((ErrorCode::INVALID_CONFIG, Some(why)));
    let loggers = &context.shared.settings.loggers;
    let known = loggers.levels();
    let mut levels = BTreeMap::new();
    for (name, edit) in edits {
        let shown = shortened(name);
        let level = match edit {
            ConfigEdit::Append(_) | ConfigEdit::Subtract(_) => {
                let what =
                    if matches!(edit, ConfigEdit::Append(_)) { "APPEND" } else { "SUBTRACT" };
                return Err(invalid_request(format!(
                    "{what} operation is not allowed for the BROKER_LOGGER resource"
                )));
            },
            _ if !known.contains_key(name) => {
                return invalid_config(format!("Logger {shown} does not exist!"));
            },
            ConfigEdit::Delete if name == ROOT => {
                return Err(invalid_request(
                    "Removing the log level of the root logger is not allowed".to_owned(),
                ));
            },
            ConfigEdit::Delete => None,
            ConfigEdit::Set(level) if LEVELS.contains(&level.as_str()) => Some(level.clone()),
            ConfigEdit::Set(level) => {
                return invalid_config(format!(
                    "Cannot set the log level of {shown} to {} as it is not a supported log level. Valid log levels are {}",
                    shortened(level),
                    LEVELS.join(", ")
                ));
            },
        };
        levels.insert(name.clone(), level);
    }
    if !validate_only {
        loggers.set(&levels);
    }
    Ok(())
}

/// The logger that all others inherit from.
const ROOT: &str = "root";

fn invalid_request(why: String) -> Refusal {
    (ErrorCode::INVALID_REQUEST, Some(why))
}

fn replacement(configs: Vec<Replacement>) -> Result<ConfigChange, Refusal> {
    let null = |config: &Replacement| config.value.is_none();
    once_each(configs.iter().map(|config| config.name.as_str()))?;
    no_nulls(configs.iter().filter(|c| null(c)).map(|config| config.name.as_str()))?;
    let pairs = configs.into_iter().filter_map(|config| Some((config.name, config.value?)));
    Ok(ConfigChange::Replace(pairs.collect()))
}

fn edits(resource_type: i8, configs: Vec<Edit>) -> Result<ConfigChange, Refusal> {
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
            other => {
                return Err(match resource_type {
                    BROKER => invalid_request(format!("Unknown operations type {other}")),
                    BROKER_LOGGER => invalid_request(format!(
                        "Unknown operation type {other} is not allowed for the BROKER_LOGGER resource"
                    )),
                    _ => (ErrorCode::UNKNOWN_SERVER_ERROR, None),
                });
            },
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
