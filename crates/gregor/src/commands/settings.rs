//! `gregor config describe` and `gregor config alter`: the settings of running brokers and of topics.
//!
//! Invariants: what is shown is what the broker answers, with where each value is from; an
//! alteration is one request, so that all of it is done or nothing.

use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use serde::Serialize;

use crate::cli::{AlterSettings, DescribeSettings, Whose};
use crate::failure::Failure;
use crate::output::{Column, Output};
use crate::remote::{self, Broker, Remote, To, accepted};

/// Kafka's numbers of resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const DESCRIBE_VERSION: i16 = 4;
const ALTER_VERSION: i16 = 1;
/// Kafka's number of a value that nobody has set.
const DEFAULT_CONFIG: i8 = 5;

/// Runs `gregor config describe`.
///
/// # Errors
/// [`Failure`].
pub fn describe(arguments: &DescribeSettings) -> Result<(), Failure> {
    remote::run(&arguments.connect, |remote| describe_all(remote, arguments))
}

/// Runs `gregor config alter`.
///
/// # Errors
/// [`Failure`].
pub fn alter(arguments: &AlterSettings) -> Result<(), Failure> {
    remote::run(&arguments.connect, |remote| alter_one(remote, arguments))
}

/// Whose settings are asked for: Kafka's type and name, whom to ask, and how people call it.
struct Resource {
    kind: i8,
    name: String,
    ask: To,
    shown: String,
}

impl Resource {
    fn topic(name: &str) -> Self {
        let shown = format!("topic {name}");
        Self { kind: TOPIC, name: name.to_owned(), ask: To::Any, shown }
    }

    fn broker(id: i32) -> Self {
        let shown = format!("broker {id}");
        Self { kind: BROKER, name: id.to_string(), ask: To::Node(id), shown }
    }

    fn every_broker() -> Self {
        let shown = "every broker".to_owned();
        Self { kind: BROKER, name: String::new(), ask: To::Any, shown }
    }
}

/// The brokers of the cluster, by id.
async fn brokers(remote: &mut Remote) -> Result<Vec<Resource>, Failure> {
    remote.cluster(Some(&[])).await?;
    let ids = remote.brokers().into_iter().filter_map(|to| match to {
        To::Node(id) => Some(id),
        To::Any => None,
    });
    Ok(ids.map(Resource::broker).collect())
}

async fn broker(remote: &mut Remote, id: i32) -> Result<Resource, Failure> {
    let all = brokers(remote).await?;
    let known: Vec<&str> = all.iter().map(|broker| broker.name.as_str()).collect();
    if known.contains(&id.to_string().as_str()) {
        return Ok(Resource::broker(id));
    }
    Err(Failure::Advised {
        what: format!("there is no broker {id}"),
        hint: format!("the cluster has {}", known.join(", ")),
    })
}

/// One setting, as it is printed.
#[derive(Serialize)]
struct Shown<'a> {
    of: &'a str,
    key: &'a str,
    value: Option<&'a str>,
    source: &'static str,
    read_only: bool,
    /// Where else it is set, the strongest first.
    synonyms: Vec<Synonym<'a>>,
}

#[derive(Serialize)]
struct Synonym<'a> {
    key: &'a str,
    value: Option<&'a str>,
    source: &'static str,
}

async fn describe_all(mut remote: Remote, arguments: &DescribeSettings) -> Result<(), Failure> {
    let resources = match (&arguments.of.topic, arguments.of.broker) {
        (Some(topic), _) => vec![Resource::topic(topic)],
        (None, Some(id)) => vec![broker(&mut remote, id).await?],
        (None, None) => brokers(&mut remote).await?,
    };
    let mut out = Output::listing(arguments.format.json);
    for resource in resources {
        let configs = settings(&mut remote, &resource).await?;
        let word = arguments.word.as_deref().unwrap_or("");
        let wanted = configs.iter().filter(|config| {
            let is_set = config.config_source != DEFAULT_CONFIG;
            config.name.contains(word) && (is_set || arguments.all || !word.is_empty())
        });
        print(&mut out, &resource, wanted)?;
    }
    out.flush()
}

async fn settings(
    remote: &mut Remote,
    resource: &Resource,
) -> Result<Vec<DescribeConfigsResourceResult>, Failure> {
    let body = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: resource.kind,
            resource_name: resource.name.clone(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        ..DescribeConfigsRequest::default()
    };
    let what = format!("settings of {}", resource.shown);
    let question = async |broker: &mut Broker, at| broker.call(DESCRIBE_VERSION, &body, at).await;
    let answer = remote.ask(resource.ask, &what, question).await?;
    let mut found = Vec::new();
    for result in answer.results {
        accepted(result.error_code, result.error_message.as_deref(), || what.clone())?;
        found.extend(result.configs);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn print<'a>(
    out: &mut Output,
    resource: &Resource,
    configs: impl Iterator<Item = &'a DescribeConfigsResourceResult>,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for config in configs {
        let source = source(config.config_source);
        if out.is_json() {
            let synonyms = config.synonyms.iter().map(|synonym| Synonym {
                key: &synonym.name,
                value: synonym.value.as_deref(),
                source: self::source(synonym.source),
            });
            out.object(&Shown {
                of: &resource.shown,
                key: &config.name,
                value: config.value.as_deref(),
                source,
                read_only: config.read_only,
                synonyms: synonyms.collect(),
            })?;
        } else {
            let value = config.value.clone().unwrap_or_else(|| "-".to_owned());
            rows.push(vec![config.name.clone(), value, source.to_owned()]);
        }
    }
    if out.is_json() {
        return Ok(());
    }
    out.line(&resource.shown)?;
    if rows.is_empty() {
        return out.line("  nothing differs from the defaults; --all shows those too");
    }
    let columns = [Column::Text("KEY"), Column::Text("VALUE"), Column::Text("FROM")];
    out.table(&columns, rows)
}

/// Kafka's numbers of where a value is from, in words.
fn source(number: i8) -> &'static str {
    match number {
        1 => "this topic",
        2 => "this broker, changed while it ran",
        3 => "every broker, changed while it ran",
        4 => "file or command line",
        DEFAULT_CONFIG => "default",
        _ => "other",
    }
}

#[derive(Serialize)]
struct Done<'a> {
    of: &'a str,
    done: &'static str,
}

async fn alter_one(mut remote: Remote, arguments: &AlterSettings) -> Result<(), Failure> {
    let Whose { topic, broker: id } = &arguments.of;
    let resource = match (topic, id) {
        (Some(topic), _) => Resource::topic(topic),
        (None, Some(id)) => broker(&mut remote, *id).await?,
        (None, None) => Resource::every_broker(),
    };
    let edit = |name: &String, value: Option<&String>| AlterableConfig {
        name: name.clone(),
        // SET, DELETE.
        config_operation: if value.is_some() { 0 } else { 1 },
        value: value.cloned(),
    };
    let set = arguments.set.iter().map(|(name, value)| edit(name, Some(value)));
    let configs = set.chain(arguments.deleted.iter().map(|name| edit(name, None)));
    let body = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: resource.kind,
            resource_name: resource.name.clone(),
            configs: configs.collect(),
        }],
        validate_only: arguments.validate_only,
    };
    let what = format!("changing settings of {}", resource.shown);
    let question = async |broker: &mut Broker, at| broker.call(ALTER_VERSION, &body, at).await;
    let answer = remote.ask(resource.ask, &what, question).await?;
    for result in answer.responses {
        accepted(result.error_code, result.error_message.as_deref(), || what.clone())?;
    }
    let done = if arguments.validate_only { "checked" } else { "altered" };
    let mut out = Output::new(arguments.format.json);
    if out.is_json() {
        out.object(&Done { of: &resource.shown, done })?;
    } else {
        out.line(&format!("{done} {}", resource.shown))?;
    }
    out.flush()
}
