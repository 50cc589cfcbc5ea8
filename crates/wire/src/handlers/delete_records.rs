//! DeleteRecords: moving the start of partitions up.
//!
//! Invariants: each partition succeeds or fails alone; offset −1 is the high watermark; what is
//! answered is durable. Source: KIP-107.

use base::{Duration, Instant, Offset, PartitionId, PartitionIndex, Probe, TopicId};
use env::Env;
use protocol::messages::delete_records_request::DeleteRecordsPartition;
use protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

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
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = context.shared.env.now().after(timeout);
    let view = context.shared.broker.cluster();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = view.topics.get(topic.name.as_str()).map(|known| known.id);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for part in &topic.partitions {
            let deleted = delete(context, id, part, deadline).await;
            partitions.push(respond(part.partition_index, deleted));
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    context.reply(&DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() })
}

async fn delete<E: Env>(
    context: &Context<'_, E>,
    topic: Option<TopicId>,
    part: &DeleteRecordsPartition,
    deadline: Instant,
) -> Result<Offset, ErrorCode> {
    let Some(topic) = topic else {
        context.probe().reached("delete_records_unknown_topic");
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let upto = (part.offset != HIGH_WATERMARK).then_some(Offset(part.offset));
    let id = PartitionId { topic, index: PartitionIndex(part.partition_index) };
    let deleted = context.shared.broker.delete_records(id, upto, deadline).await;
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
