//! DescribeLogDirs: what each log directory holds, and how much room is left.
//!
//! Invariants: every directory is answered, a failed one with nothing but its error; a partition is
//! answered where it is, and not at all if it is not here; nothing of a partition lags or moves.
//! Source: KIP-113, KIP-827, KIP-1066.

use std::collections::BTreeSet;

use base::{PartitionId, PartitionIndex};
use broker::api::{ClusterView, DirectoryUsage, LogUsage};
use env::Env;
use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DescribeLogDirsRequest,
) -> Outcome<FileOf<E>> {
    let view = context.shared.broker.cluster();
    let asked = request.topics.map(|topics| named(&view, &topics));
    let usage = context.shared.broker.usage(asked.as_ref()).await;
    let results = usage.into_iter().map(|one| respond(context, &view, one)).collect();
    context.reply(&DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() })
}

/// The partitions that are there of those that are named.
fn named(view: &ClusterView, topics: &[DescribableLogDirTopic]) -> BTreeSet<PartitionId> {
    let known = topics.iter().filter_map(|topic| {
        let known = view.topics.get(topic.topic.as_str())?;
        let indexes = topic.partitions.iter().copied().map(PartitionIndex);
        let there = indexes.filter(|index| known.partition(*index).is_some());
        Some(there.map(|index| PartitionId { topic: known.id, index }))
    });
    known.flatten().collect()
}

fn respond<E: Env>(
    context: &Context<'_, E>,
    view: &ClusterView,
    usage: DirectoryUsage,
) -> DescribeLogDirsResult {
    let path = context.shared.settings.working_dir.join(&usage.path);
    let log_dir = path.to_string_lossy().into_owned();
    if usage.is_failed {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KAFKA_STORAGE_ERROR.0,
            log_dir,
            ..DescribeLogDirsResult::default()
        };
    }
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        log_dir,
        topics: by_topic(view, &usage.logs),
        total_bytes: usage.space.map_or(-1, |space| bytes(space.total_bytes)),
        usable_bytes: usage.space.map_or(-1, |space| bytes(space.usable_bytes)),
        ..DescribeLogDirsResult::default()
    }
}

/// Logs come topic by topic; one that was deleted meanwhile is left out.
fn by_topic(view: &ClusterView, logs: &[LogUsage]) -> Vec<DescribeLogDirsTopic> {
    let same = |a: &LogUsage, b: &LogUsage| a.partition.topic == b.partition.topic;
    let mut topics: Vec<_> = logs
        .chunk_by(same)
        .filter_map(|logs| {
            let topic = view.by_id.get(&logs.first()?.partition.topic)?;
            Some(DescribeLogDirsTopic {
                name: topic.name.to_string(),
                partitions: logs.iter().map(partition).collect(),
            })
        })
        .collect();
    topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    topics
}

fn partition(log: &LogUsage) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: log.partition.index.0,
        partition_size: i64::try_from(log.bytes).unwrap_or(i64::MAX),
        ..DescribeLogDirsPartition::default()
    }
}
