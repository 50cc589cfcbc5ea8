//! The controller's decisions.
//!
//! Invariants: one command gives one entry of the log, atomic to every observer; a refused topic
//! leaves no record; what is decided holds for the image it was decided on, so the caller decides
//! one command at a time on an image that has every earlier record applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::config::{topic_fault, topic_key};
use base::{BrokerId, Probe, ProducerId, TopicId};

use crate::alter::alter_topics;
use crate::assign::{check_assignment, new_partition, place};
use crate::command::{
    Command, CreateTopic, CreatedTopic, Decision, Defaults, ProducerIdBlock, Reply, TopicError,
    TopicRef,
};
use crate::grow::add_partitions;
use crate::image::share_lists;
use crate::settings::{alter_settings, layers};
use crate::{Image, Partition, Record, Topic, names};

/// Kafka's limit on partitions created by one request.
pub(crate) const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;
/// Bytes of a key's name (ours: a broker keeps keys that nobody knows, and so does its metadata).
const CONFIG_NAME_BYTES_MAX: usize = 1_024;
/// Kafka's limit on the length of one value.
const CONFIG_VALUE_BYTES_MAX: usize = 32_767;

/// Rare branches a campaign must reach.
pub const MARKS: &[&str] = &[
    "metadata_partitions_added",
    "metadata_partitions_not_added",
    "metadata_producer_ids_reserved",
    "metadata_settings_changed",
    "metadata_settings_refused",
    "metadata_topic_configured",
    "metadata_topic_exists",
    "metadata_topic_invalid",
    "metadata_topic_not_configured",
    "metadata_topic_unknown",
];

/// Decides one command on `image`.
pub fn decide<P: Probe>(image: &Image, command: Command, probe: &P) -> Decision {
    match command {
        Command::CreateCluster { cluster_id } => done(vec![Record::ClusterCreated { cluster_id }]),
        Command::RegisterBroker { id, rack, unclean } => {
            let rack = rack.map(Into::into);
            let known = image.brokers.get(&id).is_some_and(|broker| broker.rack == rack);
            if known && !unclean {
                done(Vec::new())
            } else {
                done(vec![Record::BrokerRegistered { id, rack, unclean }])
            }
        },
        Command::CreateTopics { topics, defaults, validate_only } => {
            let mut decision = create_topics(image, topics, defaults, probe);
            if validate_only {
                decision.records.clear();
            }
            decision
        },
        Command::DeleteTopics { topics } => delete_topics(image, &topics, probe),
        Command::AddPartitions { topics, validate_only } => {
            let mut decision = add_partitions(image, &topics, probe);
            if validate_only {
                decision.records.clear();
            }
            decision
        },
        Command::AlterTopics { topics, validate_only } => {
            let mut decision = alter_topics(image, &topics, probe);
            if validate_only {
                decision.records.clear();
            }
            decision
        },
        Command::AlterSettings { wishes, file, validate_only } => {
            let mut decision = alter_settings(image, &wishes, &file, probe);
            if validate_only {
                decision.records.clear();
            }
            decision
        },
        Command::ReserveProducerIds { broker, count } => {
            probe.reached("metadata_producer_ids_reserved");
            reserve_producer_ids(image, broker, count)
        },
    }
}

fn done(records: Vec<Record>) -> Decision {
    Decision { records, reply: Reply::Done }
}

fn reserve_producer_ids(image: &Image, broker: BrokerId, count: u16) -> Decision {
    let first = image.next_producer;
    let Some(next) = first.0.checked_add(i64::from(count)).map(ProducerId) else {
        return Decision { records: Vec::new(), reply: Reply::ProducerIds(None) };
    };
    Decision {
        records: vec![Record::ProducerIdsReserved { broker, next }],
        reply: Reply::ProducerIds(Some(ProducerIdBlock { first, count })),
    }
}

fn delete_topics<P: Probe>(image: &Image, topics: &[TopicRef], probe: &P) -> Decision {
    let mut records = Vec::new();
    let mut replies = Vec::new();
    let mut gone = BTreeSet::new();
    for reference in topics {
        let (found, missing) = match reference {
            TopicRef::Name(name) => (image.topic_named(name), TopicError::UnknownName),
            TopicRef::Id(id) => (image.topics.get(id), TopicError::UnknownId),
        };
        let Some(topic) = found else {
            probe.reached("metadata_topic_unknown");
            replies.push(Err(missing));
            continue;
        };
        if !gone.insert(topic.id) {
            replies.push(Err(TopicError::InvalidRequest("Duplicate topic.".to_owned())));
            continue;
        }
        records.push(Record::TopicDeleted { id: topic.id });
        replies.push(Ok((topic.name.to_string(), topic.id)));
    }
    Decision { records, reply: Reply::Deleted(replies) }
}

fn create_topics<P: Probe>(
    image: &Image,
    topics: Vec<(CreateTopic, TopicId)>,
    defaults: Defaults,
    probe: &P,
) -> Decision {
    // Before anything is built, as in Kafka: a short request may ask for very many.
    let total: i64 = topics.iter().map(|(wish, _)| partitions_of(wish, defaults)).sum();
    if total > PARTITIONS_PER_REQUEST_MAX {
        probe.reached("metadata_topic_invalid");
        let why = "Excessively large number of partitions per request.".to_owned();
        let replies = vec![Err(TopicError::Policy(why)); topics.len()];
        return Decision { records: Vec::new(), reply: Reply::Created(replies) };
    }
    let mut taken = names::Folded::default();
    image.names.keys().for_each(|name| taken.insert(name));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (topic, _) in &topics {
        *seen.entry(topic.name.clone()).or_default() += 1;
    }
    let mut created: Vec<Arc<Topic>> = Vec::new();
    let mut replies = Vec::new();
    for (wish, id) in topics {
        let outcome = if seen.get(&wish.name).is_some_and(|count| *count > 1) {
            Err(TopicError::InvalidRequest("Duplicate topic name.".to_owned()))
        } else {
            create_topic(image, &taken, &wish, id, defaults)
        };
        match &outcome {
            Ok(topic) => {
                taken.insert(&topic.name);
                created.push(Arc::clone(topic));
            },
            Err(TopicError::Exists(_)) => probe.reached("metadata_topic_exists"),
            Err(_) => probe.reached("metadata_topic_invalid"),
        }
        replies.push(outcome.map(|topic| describe(&topic)));
    }
    let records = created.into_iter().map(Record::TopicCreated).collect();
    Decision { records, reply: Reply::Created(replies) }
}

/// How many partitions a topic would get, whatever else is wrong with it.
fn partitions_of(wish: &CreateTopic, defaults: Defaults) -> i64 {
    match &wish.assignment {
        Some(assignment) => i64::try_from(assignment.len()).unwrap_or(i64::MAX),
        None => i64::from(wish.partitions.unwrap_or(defaults.partitions)).max(0),
    }
}

fn describe(topic: &Topic) -> CreatedTopic {
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    CreatedTopic {
        id: topic.id,
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(factor).unwrap_or(i16::MAX),
    }
}

fn create_topic(
    image: &Image,
    taken: &names::Folded,
    wish: &CreateTopic,
    id: TopicId,
    defaults: Defaults,
) -> Result<Arc<Topic>, TopicError> {
    names::check(&wish.name).map_err(TopicError::InvalidName)?;
    if wish.name == "__cluster_metadata" {
        let why = "Creation of internal topic __cluster_metadata is prohibited.".to_owned();
        return Err(TopicError::InvalidRequest(why));
    }
    if image.names.contains_key(wish.name.as_str()) {
        return Err(TopicError::Exists(wish.name.clone()));
    }
    if let Some(other) = taken.colliding(&wish.name) {
        return Err(TopicError::InvalidName(format!(
            "Topic '{}' collides with existing topic: {other}",
            wish.name
        )));
    }
    let configs = created_with(&wish.configs)?;
    if let Some(why) = topic_fault(&configs, &layers(image, None, &BTreeMap::new())) {
        return Err(TopicError::InvalidConfig(why));
    }
    let mut partitions = match &wish.assignment {
        Some(assignment) => assigned(image, wish, assignment)?,
        None => placed(image, wish, defaults)?,
    };
    share_lists(&mut partitions);
    Ok(Arc::new(Topic { id, name: wish.name.as_str().into(), configs, partitions }))
}

fn created_with(
    configs: &[(String, Option<String>)],
) -> Result<BTreeMap<Arc<str>, Arc<str>>, TopicError> {
    let mut checked = BTreeMap::new();
    for (name, value) in configs {
        let value = value.as_deref().ok_or_else(|| {
            let why = format!("Null value not supported for topic configs: {name}");
            TopicError::InvalidConfig(why)
        });
        let (key, value) = check_config(name, value?)?;
        checked.insert(key, value);
    }
    Ok(checked)
}

/// Whether the name of a key that nobody may know is short enough.
pub(crate) fn check_name_length(name: &str) -> Result<(), TopicError> {
    if name.len() > CONFIG_NAME_BYTES_MAX {
        return Err(TopicError::InvalidConfig(format!(
            "The configuration name cannot be added because it exceeds the maximum name size of {CONFIG_NAME_BYTES_MAX} bytes."
        )));
    }
    Ok(())
}

/// Whether a value is short enough.
pub(crate) fn check_length(value: &str) -> Result<(), TopicError> {
    if value.len() > CONFIG_VALUE_BYTES_MAX {
        return Err(TopicError::InvalidConfig(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {CONFIG_VALUE_BYTES_MAX} bytes."
        )));
    }
    Ok(())
}

/// One override as it is stored.
pub(crate) fn check_config(name: &str, value: &str) -> Result<(Arc<str>, Arc<str>), TopicError> {
    let Some(key) = topic_key(name) else {
        return Err(TopicError::InvalidConfig(format!("Unknown topic config name: {name}")));
    };
    check_length(value)?;
    key.check(value).map_err(|error| TopicError::InvalidConfig(error.to_string()))?;
    Ok((Arc::from(name), Arc::from(value.trim())))
}

fn assigned(
    image: &Image,
    wish: &CreateTopic,
    assignment: &BTreeMap<i32, Vec<BrokerId>>,
) -> Result<Vec<Partition>, TopicError> {
    if wish.partitions.is_some() || wish.replication_factor.is_some() {
        return Err(TopicError::InvalidRequest(
            "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.".to_owned(),
        ));
    }
    let refuse = |why: String| Err(TopicError::InvalidAssignment(why));
    let mut partitions = Vec::new();
    for (expected, (index, replicas)) in (0_i32..).zip(assignment) {
        if *index != expected {
            return refuse(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            );
        }
        let of_others = partitions.first().map(|first: &Partition| first.replicas.len());
        check_assignment(|id| image.brokers.contains_key(id), replicas, of_others)
            .map_err(TopicError::InvalidAssignment)?;
        partitions.push(new_partition(replicas.clone()));
    }
    if partitions.is_empty() {
        return refuse("the manual partition assignment is empty".to_owned());
    }
    Ok(partitions)
}

fn placed(
    image: &Image,
    wish: &CreateTopic,
    defaults: Defaults,
) -> Result<Vec<Partition>, TopicError> {
    let count = wish.partitions.unwrap_or(defaults.partitions);
    if count <= 0 {
        return Err(TopicError::InvalidPartitions(
            "Number of partitions was set to an invalid non-positive value.".to_owned(),
        ));
    }
    let alive: Vec<BrokerId> = image.brokers.keys().copied().collect();
    let wanted = wish.replication_factor.unwrap_or(defaults.replication_factor);
    if wanted <= 0 {
        return Err(TopicError::InvalidReplicationFactor(
            "Replication factor must be larger than 0, or -1 to use the default value.".to_owned(),
        ));
    }
    let wanted = usize::try_from(wanted).unwrap_or(1);
    if wanted > alive.len() {
        return Err(TopicError::InvalidReplicationFactor(format!(
            "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} cannot be reached because only {} broker(s) are registered or some brokers have all their log directories cordoned.",
            alive.len()
        )));
    }
    let count = usize::try_from(count).unwrap_or(0);
    Ok(place(&alive, 0..count, wanted))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
