//! `gregor topic`.

use std::collections::BTreeMap;

use base::config::topic_key;
use protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use serde::Serialize;
use wire::client::TopicWish;

use crate::cli::{AlterTopic, CreateTopic, TopicCommand};
use crate::failure::Failure;
use crate::output::{Column, Output, aside, counted, joined, or_dash};
use crate::remote::{self, PartitionOf, Remote, To, TopicOf, accepted};

/// Kafka's number for the resource type "topic", and for the source "the topic's own setting".
const TOPIC_RESOURCE: i8 = 2;
const OWN_SETTING: i8 = 1;

/// Runs `gregor topic`.
///
/// # Errors
/// [`Failure`].
pub fn run(command: TopicCommand) -> Result<(), Failure> {
    match command {
        TopicCommand::Create(arguments) => {
            remote::run(&arguments.connect.clone(), |remote| create(remote, arguments))
        },
        TopicCommand::List { internal, connect, format } => {
            remote::run(&connect, |remote| list(remote, internal, Output::listing(format.json)))
        },
        TopicCommand::Describe { names, connect, format } => {
            remote::run(&connect, |remote| describe(remote, names, Output::listing(format.json)))
        },
        TopicCommand::Alter(arguments) => {
            remote::run(&arguments.connect.clone(), |remote| alter(remote, arguments))
        },
        TopicCommand::Delete { names, connect, format } => {
            remote::run(&connect, |remote| delete(remote, names, Output::new(format.json)))
        },
    }
}

#[derive(Serialize)]
struct Done<'a> {
    topic: &'a str,
    done: &'static str,
}

async fn create(mut remote: Remote, arguments: CreateTopic) -> Result<(), Failure> {
    let mut out = Output::new(arguments.format.json);
    let name = arguments.name;
    notes(&arguments.configs);
    let wish = TopicWish {
        name: name.clone(),
        partitions: arguments.partitions,
        replication_factor: arguments.replication_factor,
        configs: arguments.configs,
    };
    let what = format!("creating topic '{name}'");
    let question = async |broker: &mut remote::Broker, at| broker.create_topic(wish, at).await;
    remote.ask(To::Any, &what, question).await?;
    let topic = remote.topic(&name).await?;
    if out.is_json() {
        return say(&mut out, &name, "created");
    }
    let partitions = u64::try_from(topic.partitions.len()).unwrap_or(u64::MAX);
    out.line(&format!("created {name} with {}", counted(partitions, "partition")))?;
    out.flush()
}

/// Says which of these settings a broker of this version takes and does not act on.
fn notes(configs: &[(String, String)]) {
    for (key, _) in configs {
        if topic_key(key).is_some_and(|known| known.inert) {
            aside(&format!("note: {key} has no effect on a broker of this version"));
        }
    }
}

fn say(out: &mut Output, topic: &str, done: &'static str) -> Result<(), Failure> {
    if out.is_json() {
        out.object(&Done { topic, done })?;
    } else {
        out.line(&format!("{done} {topic}"))?;
    }
    out.flush()
}

#[derive(Serialize)]
struct Altered<'a> {
    topic: &'a str,
    done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
}

/// What a topic is changed to: two requests, for Kafka has none that does both.
struct Alteration {
    name: String,
    edits: Vec<(String, Option<String>)>,
    partitions: Option<i32>,
}

impl Alteration {
    async fn edit(&self, remote: &mut Remote, validate_only: bool) -> Result<(), Failure> {
        if self.edits.is_empty() {
            return Ok(());
        }
        let what = format!("changing topic '{}'", self.name);
        let question = async |broker: &mut remote::Broker, at| {
            broker.alter_topic(&self.name, &self.edits, validate_only, at).await
        };
        let altered = remote.ask(To::Any, &what, question).await;
        altered.map_err(|failure| unknown_topic(failure, &self.name))
    }

    async fn grow(&self, remote: &mut Remote, validate_only: bool) -> Result<(), Failure> {
        let Some(count) = self.partitions else { return Ok(()) };
        let what = format!("adding partitions to topic '{}'", self.name);
        let question = async |broker: &mut remote::Broker, at| {
            broker.add_partitions(&self.name, count, validate_only, at).await
        };
        let added = remote.ask(To::Any, &what, question).await;
        added.map_err(|failure| unknown_topic(failure, &self.name))
    }

    /// Both, or neither if one of them would be refused; what fails all the same after the other was
    /// done says so.
    async fn carry_out(&self, remote: &mut Remote) -> Result<(), Failure> {
        if !self.edits.is_empty() && self.partitions.is_some() {
            self.edit(remote, true).await?;
            self.grow(remote, true).await?;
        }
        self.edit(remote, false).await?;
        self.grow(remote, false).await.map_err(|failure| match self.edits.as_slice() {
            [] => failure,
            [..] => Failure::Advised {
                what: format!("{failure}; the settings of topic '{}' are changed", self.name),
                hint: format!("`gregor topic describe {}` shows them", self.name),
            },
        })
    }
}

async fn alter(mut remote: Remote, arguments: AlterTopic) -> Result<(), Failure> {
    let mut out = Output::new(arguments.format.json);
    let (name, validate_only) = (arguments.name, arguments.validate_only);
    notes(&arguments.configs);
    let set = arguments.configs.into_iter().map(|(key, value)| (key, Some(value)));
    let edits = set.chain(arguments.deleted.into_iter().map(|key| (key, None))).collect();
    let partitions = arguments.partitions;
    let alteration = Alteration { name, edits, partitions };
    if validate_only {
        alteration.edit(&mut remote, true).await?;
        alteration.grow(&mut remote, true).await?;
    } else {
        alteration.carry_out(&mut remote).await?;
    }
    let name = alteration.name;
    let done = if validate_only { "checked" } else { "altered" };
    if out.is_json() {
        out.object(&Altered { topic: &name, done, partitions })?;
    } else {
        let partitions = partitions.map(|count| u64::try_from(count).unwrap_or(0));
        let with = partitions.map(|count| format!(": {}", counted(count, "partition")));
        out.line(&format!("{done} {name}{}", with.unwrap_or_default()))?;
    }
    out.flush()
}

async fn delete(mut remote: Remote, names: Vec<String>, mut out: Output) -> Result<(), Failure> {
    // All of them, then the first failure, so that one wrong name does not hide the others' fate.
    let mut first = None;
    for name in names {
        match delete_one(&mut remote, &name).await {
            Ok(()) => first = first.or(say(&mut out, &name, "deleted").err()),
            Err(failure) => first = first.or(Some(unknown_topic(failure, &name))),
        }
    }
    first.map_or(Ok(()), Err)
}

async fn delete_one(remote: &mut Remote, name: &str) -> Result<(), Failure> {
    let cluster = remote.cluster(Some(&[name.to_owned()])).await?;
    if cluster.topics.get(name).is_some_and(|topic| topic.internal) {
        return Err(Failure::OwnTopic(name.to_owned()));
    }
    let what = format!("deleting topic '{name}'");
    let question = async |broker: &mut remote::Broker, at| broker.delete_topic(name, at).await;
    remote.ask(To::Any, &what, question).await
}

/// "Unknown topic or partition" said better.
fn unknown_topic(failure: Failure, name: &str) -> Failure {
    match failure {
        Failure::Refused { code, .. }
            if code == wire::error_code::ErrorCode::UNKNOWN_TOPIC_OR_PARTITION =>
        {
            Failure::UnknownTopic(name.to_owned())
        },
        failure => failure,
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    topic: &'a str,
    topic_id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

fn replication_factor(topic: &TopicOf) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}

async fn list(mut remote: Remote, internal: bool, mut out: Output) -> Result<(), Failure> {
    let cluster = remote.cluster(None).await?;
    let mut rows = Vec::new();
    for (name, topic) in cluster.topics.iter().filter(|(_, topic)| internal || !topic.internal) {
        if out.is_json() {
            out.object(&Listed {
                topic: name,
                topic_id: topic.id.to_string(),
                partitions: topic.partitions.len(),
                replication_factor: replication_factor(topic),
                internal: topic.internal,
            })?;
        }
        let counts = [topic.partitions.len(), replication_factor(topic)];
        rows.push(vec![name.clone(), counts[0].to_string(), counts[1].to_string()]);
    }
    if !out.is_json() {
        let columns =
            [Column::Text("TOPIC"), Column::Number("PARTITIONS"), Column::Number("REPLICAS")];
        out.table(&columns, rows)?;
    }
    out.flush()
}

#[derive(Serialize)]
struct Described<'a> {
    topic: &'a str,
    topic_id: String,
    internal: bool,
    configs: BTreeMap<String, Option<String>>,
    partitions: Vec<DescribedPartition<'a>>,
}

#[derive(Serialize)]
struct DescribedPartition<'a> {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: &'a [i32],
    isr: &'a [i32],
}

async fn describe(mut remote: Remote, names: Vec<String>, mut out: Output) -> Result<(), Failure> {
    let asked = (!names.is_empty()).then_some(names.as_slice());
    let cluster = remote.cluster(asked).await?;
    let mut first = true;
    for (name, topic) in &cluster.topics {
        if asked.is_none() && topic.internal {
            continue;
        }
        let configs = settings(&mut remote, name, true).await?;
        if out.is_json() {
            out.object(&Described {
                topic: name,
                topic_id: topic.id.to_string(),
                internal: topic.internal,
                configs,
                partitions: topic.partitions.iter().map(described).collect(),
            })?;
            continue;
        }
        if !first {
            out.line("")?;
        }
        first = false;
        print_topic(&mut out, name, topic, &configs)?;
    }
    out.flush()
}

fn described(partition: &PartitionOf) -> DescribedPartition<'_> {
    DescribedPartition {
        partition: partition.index,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: &partition.replicas,
        isr: &partition.isr,
    }
}

fn print_topic(
    out: &mut Output,
    name: &str,
    topic: &TopicOf,
    configs: &BTreeMap<String, Option<String>>,
) -> Result<(), Failure> {
    out.line(&format!("topic {name}, id {}", topic.id))?;
    for (key, value) in configs {
        out.line(&format!("  {key}={}", value.as_deref().unwrap_or("")))?;
    }
    let columns = [
        Column::Number("PARTITION"),
        Column::Number("LEADER"),
        Column::Number("EPOCH"),
        Column::Text("REPLICAS"),
        Column::Text("IN SYNC"),
    ];
    let row = |partition: &PartitionOf| {
        vec![
            partition.index.to_string(),
            or_dash(partition.leader),
            partition.leader_epoch.to_string(),
            joined(&partition.replicas),
            joined(&partition.isr),
        ]
    };
    out.table(&columns, topic.partitions.iter().map(row).collect())
}

/// A topic's settings: all, or what was set for this topic alone.
///
/// # Errors
/// What the broker refuses.
pub async fn settings(
    remote: &mut Remote,
    name: &str,
    own: bool,
) -> Result<BTreeMap<String, Option<String>>, Failure> {
    let body = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        ..DescribeConfigsRequest::default()
    };
    let what = format!("settings of topic '{name}'");
    let question = async |broker: &mut remote::Broker, at| broker.call(4, &body, at).await;
    let answer = remote.ask(To::Any, &what, question).await?;
    let mut found = BTreeMap::new();
    for result in answer.results {
        accepted(result.error_code, result.error_message.as_deref(), || what.clone())?;
        let wanted = result.configs.into_iter().filter(|c| !own || c.config_source == OWN_SETTING);
        found.extend(wanted.map(|config| (config.name, config.value)));
    }
    Ok(found)
}
