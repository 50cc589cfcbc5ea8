//! OffsetCommit.
//!
//! Invariants: every partition of the request is answered, those that do not exist by the front
//! door and the others by the group's coordinator; success means that the offsets are in the
//! coordinator's log. Source: KIP-211, KIP-320, KIP-848.

use base::{Duration, LeaderEpoch, Offset, PartitionIndex, Probe, TopicId};
use broker::api::TopicView;
use broker::api::group::{Command, Commit, CommitOffset, MemberOf, Reply};
use env::Env;
use protocol::messages::OffsetCommitResponse;
use protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::views::{OffsetCommitPartitionView, OffsetCommitView};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The first version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 10;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: OffsetCommitView<'_>,
) -> Outcome<FileOf<E>> {
    let by_id = context.version() >= TOPIC_ID_VERSION_MIN;
    let view = context.shared.broker.cluster();
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = if by_id {
            view.by_id.get(&TopicId(topic.topic_id)).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
        } else {
            let found = view.topics.get(topic.name);
            found.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        let partitions = topic.partitions.map(|part| {
            let index = part.partition_index;
            let refused = match found {
                Err(error) => Some(error),
                Ok(known) if known.partition(PartitionIndex(index)).is_none() => {
                    Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                },
                Ok(known) => {
                    offsets.push(committed(known, part));
                    None
                },
            };
            (index, refused)
        });
        topics.push((topic.name, topic.topic_id, partitions.collect::<Vec<_>>()));
    }
    let who = MemberOf {
        group: request.group_id.to_owned(),
        member: request.member_id.to_owned(),
        instance: request.group_instance_id.map(str::to_owned),
        generation: request.generation_id_or_member_epoch,
    };
    // -1 stands for the broker's own rule; whatever else is negative has expired already.
    let retention = match request.retention_time_ms {
        -1 => None,
        millis => Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
    };
    if retention.is_some() {
        context.probe().reached("offset_commit_with_retention");
    }
    let mut outcomes = commit(context, who, retention, offsets).await.into_iter();
    let topics = topics.into_iter().map(|(name, topic_id, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, refused)| {
            let error = match refused {
                Some(error) => error,
                None => outcomes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR),
            };
            if !error.is_none() {
                context.probe().reached("offset_commit_refused");
            }
            OffsetCommitResponsePartition { partition_index, error_code: error.0 }
        });
        OffsetCommitResponseTopic {
            name: name.to_owned(),
            topic_id,
            partitions: partitions.collect(),
        }
    });
    let topics = topics.collect();
    context.reply(&OffsetCommitResponse { topics, throttle_time_ms: 0 })
}

/// Asks the coordinator, if there is anything to ask; answers in the order of `offsets`.
async fn commit<E: Env>(
    context: &Context<'_, E>,
    who: MemberOf,
    retention: Option<Duration>,
    offsets: Vec<CommitOffset>,
) -> Vec<ErrorCode> {
    let asked = offsets.len();
    if asked == 0 {
        return Vec::new();
    }
    let group_must_exist = context.version() >= 9;
    let command = Command::Commit(Commit { who, group_must_exist, retention, offsets });
    match context.shared.broker.group(command).await {
        Reply::Commit(outcomes) => outcomes
            .into_iter()
            .map(|outcome| outcome.err().map_or(ErrorCode::NONE, ErrorCode::from))
            .collect(),
        _ => vec![ErrorCode::UNKNOWN_SERVER_ERROR; asked],
    }
}

fn committed(topic: &TopicView, part: OffsetCommitPartitionView<'_>) -> CommitOffset {
    let epoch = part.committed_leader_epoch;
    CommitOffset {
        topic: topic.name.to_string(),
        topic_id: topic.id,
        partition: part.partition_index,
        offset: Offset(part.committed_offset),
        leader_epoch: (epoch >= 0).then_some(LeaderEpoch(epoch)),
        metadata: part.committed_metadata.unwrap_or_default().to_owned(),
    }
}
