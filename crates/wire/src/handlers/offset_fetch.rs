//! OffsetFetch, of one group and of several.
//!
//! Invariants: an offset that was never committed is −1 without an error, and so is one committed
//! for an earlier topic of the same name or for one that is gone; the coordinator is asked only for
//! partitions that exist, once each, which bounds the question; a group that is named twice is asked and
//! answered once, for all that is asked of it, and so is a topic of it (Kafka does it as often as it is
//! named; its clients go by the names); what concerns a whole group is answered at its level where the
//! version has one. Source: KIP-88, KIP-447, KIP-709, KIP-848.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{PartitionIndex, Probe, TopicId, Uuid};
use broker::api::group::{Command, FetchedOffset, Reply};
use broker::api::{ClusterView, TopicView};
use env::Env;
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::answer::Answer;
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The first version that asks for several groups.
const BATCHED_VERSION_MIN: i16 = 8;
/// The first version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 10;
/// The first version with an error for the whole group.
const GROUP_ERROR_VERSION_MIN: i16 = 2;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: OffsetFetchRequest,
) -> Outcome<FileOf<E>> {
    if context.version() >= BATCHED_VERSION_MIN {
        let groups = once_each(request.groups);
        let mut answer = Answer::of::<OffsetFetchResponse>(context, 0, groups.len());
        let mut pushed = Ok(());
        for group in groups {
            pushed = answer.push(&of_group(context, group).await).await;
            if pushed.is_err() {
                break;
            }
        }
        return answer.end(pushed);
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        });
        topics.collect()
    });
    let has_group_error = context.version() >= GROUP_ERROR_VERSION_MIN;
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    let asked = if has_group_error { None } else { group.topics.clone() };
    let mut answer = of_group(context, group).await;
    if !has_group_error && answer.error_code != 0 {
        answer.topics = everywhere(asked.unwrap_or_default(), answer.error_code);
    }
    let topics = answer.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(plain).collect(),
    });
    context.reply(&OffsetFetchResponse {
        topics: topics.collect(),
        error_code: answer.error_code,
        ..OffsetFetchResponse::default()
    })
}

/// Groups in the order in which they are named first, each with everything that is asked of it; asked
/// once for all of its offsets, it is asked for all.
fn once_each(groups: Vec<OffsetFetchRequestGroup>) -> Vec<OffsetFetchRequestGroup> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut once: Vec<OffsetFetchRequestGroup> = Vec::new();
    for group in groups {
        let at = *places.entry(group.group_id.clone()).or_insert(once.len());
        match once.get_mut(at) {
            None => once.push(group),
            Some(before) => {
                before.topics = match (before.topics.take(), group.topics) {
                    (Some(mut topics), Some(more)) => {
                        topics.extend(more);
                        Some(topics)
                    },
                    (None, _) | (_, None) => None,
                };
            },
        }
    }
    once
}

fn plain(part: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: part.partition_index,
        committed_offset: part.committed_offset,
        committed_leader_epoch: part.committed_leader_epoch,
        metadata: part.metadata,
        error_code: part.error_code,
    }
}

/// A group's error in every partition asked for.
fn everywhere(topics: Vec<OffsetFetchRequestTopics>, error: i16) -> Vec<OffsetFetchResponseTopics> {
    let topics = topics.into_iter().map(|topic| OffsetFetchResponseTopics {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.into_iter().map(|index| absent(index, error)).collect(),
    });
    topics.collect()
}

fn absent(partition_index: i32, error_code: i16) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    }
}

async fn of_group<E: Env>(
    context: &Context<'_, E>,
    asked: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let by_id = context.version() >= TOPIC_ID_VERSION_MIN;
    let view = context.shared.broker.cluster();
    let mut unknown: BTreeMap<Uuid, BTreeSet<i32>> = BTreeMap::new();
    let mut missing: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    let partitions = asked.topics.map(|topics| {
        let mut present: BTreeMap<&Arc<str>, BTreeSet<i32>> = BTreeMap::new();
        for topic in topics {
            let known = if by_id {
                view.by_id.get(&TopicId(topic.topic_id))
            } else {
                view.topics.get(topic.name.as_str())
            };
            match known {
                None if by_id => {
                    context.probe().reached("offset_fetch_unknown_topic_id");
                    unknown.entry(topic.topic_id).or_default().extend(topic.partition_indexes);
                },
                None => missing.entry(topic.name).or_default().extend(topic.partition_indexes),
                Some(known) => {
                    let (here, gone) = split(known, topic.partition_indexes);
                    present.entry(&known.name).or_default().extend(here);
                    missing.entry(known.name.to_string()).or_default().extend(gone);
                },
            }
        }
        let each = |(name, indexes): (&Arc<str>, BTreeSet<i32>)| {
            let name = name.to_string();
            indexes.into_iter().map(move |index| (name.clone(), index))
        };
        present.into_iter().flat_map(each).collect()
    });
    let command = Command::Offsets { group: asked.group_id.clone(), partitions };
    let outcome = match context.shared.broker.group(command).await {
        Reply::Offsets(outcome) => outcome.map_err(ErrorCode::from),
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    };
    let (error_code, topics) = match outcome {
        Ok(found) => {
            let mut topics = gathered(&view, found, missing, by_id);
            topics.extend(unknown.into_iter().map(of_unknown));
            (ErrorCode::NONE, topics)
        },
        Err(error) => {
            context.probe().reached("offset_fetch_refused");
            (error, Vec::new())
        },
    };
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, error_code: error_code.0 }
}

/// A topic of an id that nobody knows.
fn of_unknown((topic_id, indexes): (Uuid, BTreeSet<i32>)) -> OffsetFetchResponseTopics {
    let error = ErrorCode::UNKNOWN_TOPIC_ID.0;
    let partitions = indexes.into_iter().map(|index| absent(index, error)).collect();
    OffsetFetchResponseTopics { topic_id, partitions, ..OffsetFetchResponseTopics::default() }
}

/// The indexes of partitions that exist, and the others.
fn split(topic: &TopicView, indexes: Vec<i32>) -> (Vec<i32>, Vec<i32>) {
    indexes.into_iter().partition(|index| topic.partition(PartitionIndex(*index)).is_some())
}

/// Offsets by topic. Where topics go by id, those that are gone have no name to be asked by and
/// are left out.
fn gathered(
    view: &ClusterView,
    found: Vec<FetchedOffset>,
    missing: BTreeMap<String, BTreeSet<i32>>,
    by_id: bool,
) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: BTreeMap<String, Vec<OffsetFetchResponsePartitions>> = BTreeMap::new();
    for one in found {
        let now = view.topics.get(one.topic.as_str()).map(|topic| topic.id);
        let answer = answer(&one, now);
        topics.entry(one.topic).or_default().push(answer);
    }
    for (name, indexes) in missing {
        let absent = indexes.into_iter().map(|index| absent(index, ErrorCode::NONE.0));
        topics.entry(name).or_default().extend(absent);
    }
    let topics = topics.into_iter().filter_map(|(name, partitions)| {
        let topic_id = view.topics.get(name.as_str()).map(|topic| topic.id.0);
        if by_id && topic_id.is_none() {
            return None;
        }
        let topic_id = topic_id.unwrap_or_default();
        Some(OffsetFetchResponseTopics { name, topic_id, partitions })
    });
    topics.collect()
}

fn answer(one: &FetchedOffset, now: Option<TopicId>) -> OffsetFetchResponsePartitions {
    let Some(committed) = &one.committed else { return absent(one.partition, 0) };
    let was = committed.topic_id;
    if !was.0.is_zero() && now.is_some_and(|now| now != was) {
        return absent(one.partition, 0);
    }
    OffsetFetchResponsePartitions {
        partition_index: one.partition,
        committed_offset: committed.offset.0,
        committed_leader_epoch: committed.leader_epoch.map_or(-1, |epoch| epoch.0),
        metadata: Some(committed.metadata.clone()),
        error_code: ErrorCode::NONE.0,
    }
}
