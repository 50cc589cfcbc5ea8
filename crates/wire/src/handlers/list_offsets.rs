//! ListOffsets: an offset by rule or by time.
//!
//! Invariants: "no such record" is offset −1 and timestamp −1 without an error; a rule that the
//! version does not have yet is refused per partition. Source: KIP-79, KIP-734, KIP-405, KIP-1005.

use std::collections::BTreeMap;

use base::{LeaderEpoch, PartitionId, PartitionIndex, Probe, Timestamp, TopicId};
use broker::api::{Isolation, ListOffset, OffsetSpec};
use env::Env;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::answer::{Growth, TooLong};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The first version whose answers name the leader epoch.
const LEADER_EPOCH_VERSION_MIN: i16 = 4;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: ListOffsetsRequest,
) -> Outcome<FileOf<E>> {
    let isolation = match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let mut twice = repeated(&request.topics).into_iter();
    let view = context.shared.broker.cluster();
    let mut growth = Growth::default();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = view.topics.get(topic.name.as_str()).map(|known| known.id);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in &topic.partitions {
            let answer = if twice.next() == Some(true) {
                context.probe().reached("list_offsets_duplicate_partition");
                Err(ErrorCode::INVALID_REQUEST)
            } else {
                find(context, id, part, isolation).await
            };
            partitions.push(respond(context.version(), part.partition_index, answer));
            let bytes = size_of::<ListOffsetsPartitionResponse>();
            if let Err(TooLong) = growth.by(context, bytes).await {
                return context.too_long();
            }
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    context.reply(&ListOffsetsResponse { topics, ..ListOffsetsResponse::default() })
}

/// For each partition in the order of the request, whether it is named more than once.
fn repeated(topics: &[ListOffsetsTopic]) -> Vec<bool> {
    // Topic by topic, for a name may be long and partitions many.
    let mut times: BTreeMap<&str, BTreeMap<i32, usize>> = BTreeMap::new();
    for topic in topics {
        let of_topic = times.entry(&topic.name).or_default();
        for part in &topic.partitions {
            *of_topic.entry(part.partition_index).or_default() += 1;
        }
    }
    let mut repeated = Vec::new();
    for topic in topics {
        let of_topic = times.get(&*topic.name);
        let times = |index: i32| of_topic.and_then(|of_topic| of_topic.get(&index));
        let each = topic.partitions.iter().map(|part| part.partition_index);
        repeated.extend(each.map(|index| times(index).is_some_and(|times| *times > 1)));
    }
    repeated
}

struct Answer {
    offset: i64,
    timestamp: i64,
    leader_epoch: i32,
}

async fn find<E: Env>(
    context: &Context<'_, E>,
    topic: Option<TopicId>,
    part: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Answer, ErrorCode> {
    let Some(spec) = spec(context.version(), part.timestamp) else {
        context.probe().reached("list_offsets_unknown_rule");
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    };
    let Some(topic) = topic else {
        context.probe().reached("list_offsets_unknown_topic");
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let epoch = part.current_leader_epoch;
    let wish = ListOffset {
        partition: PartitionId { topic, index: PartitionIndex(part.partition_index) },
        spec,
        isolation,
        current_leader_epoch: (epoch >= 0).then_some(LeaderEpoch(epoch)),
    };
    match context.shared.broker.list_offset(&wish).await {
        Ok(Some(found)) => Ok(Answer {
            offset: found.offset.0,
            timestamp: found.timestamp.map_or(-1, |time| time.0),
            leader_epoch: found.leader_epoch.map_or(-1, |epoch| epoch.0),
        }),
        Ok(None) => Ok(Answer { offset: -1, timestamp: -1, leader_epoch: -1 }),
        Err(error) => Err(ErrorCode::from(&error)),
    }
}

/// What a timestamp stands for in a version.
fn spec(version: i16, timestamp: i64) -> Option<OffsetSpec> {
    match timestamp {
        0.. => Some(OffsetSpec::AtOrAfter(Timestamp(timestamp))),
        -1 => Some(OffsetSpec::Latest),
        -2 => Some(OffsetSpec::Earliest),
        -3 if version >= 7 => Some(OffsetSpec::MaxTimestamp),
        // Nothing is tiered: what is local is everything.
        -4 if version >= 8 => Some(OffsetSpec::Earliest),
        -5 if version >= 9 => Some(OffsetSpec::Tiered),
        -6 if version >= 11 => Some(OffsetSpec::Tiered),
        _ => None,
    }
}

fn respond(
    version: i16,
    partition_index: i32,
    answer: Result<Answer, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    match answer {
        Ok(Answer { offset, timestamp, leader_epoch }) => ListOffsetsPartitionResponse {
            partition_index,
            offset,
            timestamp,
            leader_epoch: if version >= LEADER_EPOCH_VERSION_MIN { leader_epoch } else { -1 },
            ..ListOffsetsPartitionResponse::default()
        },
        Err(error) => ListOffsetsPartitionResponse {
            partition_index,
            error_code: error.0,
            ..ListOffsetsPartitionResponse::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_known_from_its_version_on() {
        for (timestamp, since) in [(-1, 1), (-2, 1), (0, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
            for version in 1..=11 {
                assert_eq!(spec(version, timestamp).is_some(), version >= since, "{timestamp}");
            }
        }
        assert_eq!(spec(11, -7), None);
        assert_eq!(spec(11, i64::MIN), None);
    }
}
