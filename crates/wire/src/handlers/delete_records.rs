//! DeleteRecords: moving the start of partitions up.
//!
//! Invariants: each partition succeeds or fails alone, and one that is named twice is answered once, by
//! what is asked for last; offset −1 is the high watermark; what is answered is durable. The time-out of
//! the request is for other replicas to follow, of which there are none. Source: KIP-107.

use base::{Offset, PartitionId, PartitionIndex, Probe, TopicId};
use env::Env;
use protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::answer::{Growth, TooLong};
use super::topics::once_each;
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// The low watermark of a partition that was refused.
const NO_WATERMARK: i64 = -1;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DeleteRecordsRequest,
) -> Outcome<FileOf<E>> {
    let view = context.shared.broker.cluster();
    let named = request.topics.into_iter().map(|topic| {
        let parts = topic.partitions.into_iter().map(|part| (part.partition_index, part.offset));
        (topic.name, parts)
    });
    let named = once_each(named);
    let mut growth = Growth::default();
    let mut topics = Vec::with_capacity(named.len());
    for (name, parts) in named {
        let id = view.topics.get(name.as_str()).map(|known| known.id);
        let mut partitions = Vec::with_capacity(parts.len());
        for (index, offset) in parts {
            let deleted = delete(context, id, (index, offset)).await;
            partitions.push(respond(index, deleted));
            let bytes = size_of::<DeleteRecordsPartitionResult>();
            if let Err(TooLong) = growth.by(context, bytes).await {
                return context.too_long();
            }
        }
        topics.push(DeleteRecordsTopicResult { name, partitions });
    }
    context.reply(&DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() })
}

async fn delete<E: Env>(
    context: &Context<'_, E>,
    topic: Option<TopicId>,
    (index, offset): (i32, i64),
) -> Result<Offset, ErrorCode> {
    let Some(topic) = topic else {
        context.probe().reached("delete_records_unknown_topic");
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let upto = (offset != HIGH_WATERMARK).then_some(Offset(offset));
    let id = PartitionId { topic, index: PartitionIndex(index) };
    let deleted = context.shared.broker.delete_records(id, upto).await;
    deleted.map_err(|error| {
        context.probe().reached("delete_records_refused");
        ErrorCode::from(&error)
    })
}

fn respond(
    partition_index: i32,
    deleted: Result<Offset, ErrorCode>,
) -> DeleteRecordsPartitionResult {
    let (low_watermark, error) = match deleted {
        Ok(start) => (start.0, ErrorCode::NONE),
        Err(error) => (NO_WATERMARK, error),
    };
    DeleteRecordsPartitionResult { partition_index, low_watermark, error_code: error.0 }
}
