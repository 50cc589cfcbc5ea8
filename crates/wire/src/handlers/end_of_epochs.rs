//! OffsetForLeaderEpoch: where an epoch ended, for who wants to know whether the log was cut.
//!
//! Invariants: each partition is answered alone; an epoch that never was there is epoch −1 and offset
//! −1 without an error. Source: KIP-101, KIP-279, KIP-320.

use base::{LeaderEpoch, PartitionId, PartitionIndex, Probe, TopicId};
use broker::api::EpochEnd;
use env::Env;
use protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::answer::{Growth, TooLong};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: OffsetForLeaderEpochRequest,
) -> Outcome<FileOf<E>> {
    let view = context.shared.broker.cluster();
    let mut growth = Growth::default();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = view.topics.get(topic.topic.as_str()).map(|known| known.id);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            partitions.push(end_of(context, id, asked));
            if let Err(TooLong) = growth.by(context, size_of::<EpochEndOffset>()).await {
                return context.too_long();
            }
        }
        topics.push(OffsetForLeaderTopicResult { partitions, topic: topic.topic });
    }
    context.reply(&OffsetForLeaderEpochResponse { topics, throttle_time_ms: 0 })
}

fn end_of<E: Env>(
    context: &Context<'_, E>,
    topic: Option<TopicId>,
    asked: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let known = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
    let found = match topic {
        None => {
            context.probe().reached("end_of_epoch_unknown_topic");
            Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        },
        Some(topic) => {
            let wish = EpochEnd {
                partition: PartitionId { topic, index: PartitionIndex(asked.partition) },
                epoch: known(asked.leader_epoch),
                current_leader_epoch: known(asked.current_leader_epoch),
            };
            context.shared.broker.end_of_epoch(&wish).map_err(|error| ErrorCode::from(&error))
        },
    };
    let nothing = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    match found {
        Ok(Some((epoch, end))) => {
            EpochEndOffset { leader_epoch: epoch.0, end_offset: end.0, ..nothing }
        },
        Ok(None) => nothing,
        Err(error) => EpochEndOffset { error_code: error.0, ..nothing },
    }
}
