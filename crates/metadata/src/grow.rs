//! Decisions about further partitions of topics that exist.
//!
//! Invariants: a topic never has fewer partitions than before; it gets all that were asked for, or
//! none; the coordinators' topic keeps its number, since a group's place hangs on that (ADR 0027).
//! Source: KIP-195; texts and the order of the checks are Kafka's.

use base::{BrokerId, Probe};

use crate::assign::{check_assignment, new_partition, place};
use crate::command::{AddPartitions, Decision, Reply, TopicError};
use crate::decide::PARTITIONS_PER_REQUEST_MAX;
use crate::{Image, OFFSETS_TOPIC, Partition, Record, Topic};

pub(crate) fn add_partitions<P: Probe>(
    image: &Image,
    topics: &[AddPartitions],
    probe: &P,
) -> Decision {
    let added: i64 = topics.iter().map(|wish| more_than_now(image, wish)).sum();
    if added > PARTITIONS_PER_REQUEST_MAX {
        probe.reached("metadata_partitions_not_added");
        let why = "Excessively large number of additional partitions per request.".to_owned();
        let replies = vec![Err(TopicError::Policy(why)); topics.len()];
        return Decision { records: Vec::new(), reply: Reply::Added(replies) };
    }
    let mut records = Vec::new();
    let mut replies = Vec::new();
    for wish in topics {
        let outcome = grown(image, wish);
        probe.reached(match outcome {
            Ok(_) => "metadata_partitions_added",
            Err(_) => "metadata_partitions_not_added",
        });
        replies.push(outcome.map(|record| records.push(record)));
    }
    Decision { records, reply: Reply::Added(replies) }
}

/// How many partitions a topic that exists would get.
fn more_than_now(image: &Image, wish: &AddPartitions) -> i64 {
    let topic = image.topic_named(&wish.name);
    topic.map_or(0, |topic| added(topic, wish).max(0))
}

fn added(topic: &Topic, wish: &AddPartitions) -> i64 {
    i64::from(wish.count) - i64::try_from(topic.partitions.len()).unwrap_or(i64::MAX)
}

/// The record of a topic's new partitions.
fn grown(image: &Image, wish: &AddPartitions) -> Result<Record, TopicError> {
    let topic = image.topic_named(&wish.name).ok_or(TopicError::UnknownName)?;
    let now = topic.partitions.len();
    let added = added(topic, wish);
    if added == 0 {
        let why = format!("Topic already has {now} partition(s).");
        return Err(TopicError::InvalidPartitions(why));
    }
    if added < 0 {
        return Err(TopicError::InvalidPartitions(format!(
            "The topic {} currently has {now} partition(s); {} would not be an increase.",
            wish.name, wish.count
        )));
    }
    if let Some(given) = &wish.assignment
        && i64::try_from(given.len()) != Ok(added)
    {
        return Err(TopicError::InvalidAssignment(format!(
            "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
            given.len()
        )));
    }
    if &*topic.name == OFFSETS_TOPIC {
        return Err(TopicError::InvalidRequest(format!(
            "{OFFSETS_TOPIC} keeps its number of partitions: every group would be looked for in another one, and its offsets would be lost."
        )));
    }
    let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let partitions = match &wish.assignment {
        Some(given) => assigned(image, given, factor)?,
        None => {
            let alive: Vec<BrokerId> = image.brokers.keys().copied().collect();
            let added = usize::try_from(added).unwrap_or(0);
            place(&alive, now..now.saturating_add(added), factor.min(alive.len()))
        },
    };
    Ok(Record::PartitionsAdded { id: topic.id, partitions })
}

fn assigned(
    image: &Image,
    given: &[Vec<BrokerId>],
    factor: usize,
) -> Result<Vec<Partition>, TopicError> {
    let checked = given.iter().map(|replicas| {
        check_assignment(|id| image.brokers.contains_key(id), replicas, Some(factor))
            .map_err(TopicError::InvalidAssignment)?;
        Ok(new_partition(replicas.clone()))
    });
    checked.collect()
}

#[cfg(test)]
#[path = "grow_tests.rs"]
mod tests;
