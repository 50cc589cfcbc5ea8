//! DescribeTopicPartitions: topics and partitions, page by page.
//!
//! Invariants: topics are sorted by name; an answer holds at most as many partitions as the request
//! and `max.request.partition.size.limit` allow, and says where to go on. Source: KIP-966.

use std::collections::BTreeSet;

use base::Probe;
use broker::api::{ClusterView, PartitionView, TopicView};
use env::Env;
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use super::topics::{NOT_ASKED, Placement, TOPIC_OPERATIONS};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DescribeTopicPartitionsRequest,
) -> Outcome<FileOf<E>> {
    if request.cursor.as_ref().is_some_and(|cursor| cursor.partition_index < 0) {
        context.probe().reached("describe_topic_partitions_bad_cursor");
        let names = request.topics.into_iter().map(|topic| topic.name);
        let topics = names.map(|name| unknown(name, ErrorCode::INVALID_REQUEST)).collect();
        return context.reply(&DescribeTopicPartitionsResponse {
            topics,
            ..DescribeTopicPartitionsResponse::default()
        });
    }
    let view = context.shared.broker.cluster();
    let (from, first) = request.cursor.map_or((String::new(), 0), |cursor| {
        (cursor.topic_name, usize::try_from(cursor.partition_index).unwrap_or(0))
    });
    let names: BTreeSet<String> = if request.topics.is_empty() {
        view.topics.keys().map(|name| name.to_string()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page {
        left: limit.clamp(1, context.shared.settings.describe_partitions_max.max(1)),
        response: DescribeTopicPartitionsResponse::default(),
    };
    for name in names.into_iter().filter(|name| *name >= from) {
        let first = if name == from { first } else { 0 };
        if !page.push(context, &view, name, first) {
            break;
        }
    }
    context.reply(&page.response)
}

/// The answer under construction.
struct Page {
    /// Partitions that still have room.
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page {
    /// Adds a topic from its partition `first` on; false if the page ends here.
    fn push<E: Env>(
        &mut self,
        context: &Context<'_, E>,
        view: &ClusterView,
        name: String,
        first: usize,
    ) -> bool {
        if self.left == 0 {
            self.end(context, name, 0);
            return false;
        }
        let Some(topic) = view.topics.get(name.as_str()) else {
            context.probe().reached("describe_topic_partitions_unknown_topic");
            let error = match broker::api::is_legal_name(&name) {
                true => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                false => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            self.response.topics.push(unknown(name, error));
            return true;
        };
        let numbered = (0_i32..).zip(&topic.partitions).skip(first);
        let shown: Vec<_> = numbered
            .take(self.left)
            .map(|(index, placed)| partition(view, index, placed))
            .collect();
        self.left -= shown.len();
        let next = first.saturating_add(shown.len());
        self.response.topics.push(known(topic, shown));
        if next < topic.partitions.len() {
            self.end(context, name, i32::try_from(next).unwrap_or(i32::MAX));
            return false;
        }
        true
    }

    fn end<E: Env>(&mut self, context: &Context<'_, E>, topic_name: String, partition_index: i32) {
        context.probe().reached("describe_topic_partitions_paged");
        self.response.next_cursor = Some(Cursor { topic_name, partition_index });
    }
}

fn unknown(name: String, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.0,
        name: Some(name),
        topic_authorized_operations: NOT_ASKED,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn known(
    topic: &TopicView,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::NONE.0,
        name: Some(topic.name.to_string()),
        topic_id: topic.id.0,
        is_internal: topic.internal,
        partitions,
        topic_authorized_operations: TOPIC_OPERATIONS,
    }
}

fn partition(
    view: &ClusterView,
    partition_index: i32,
    placed: &PartitionView,
) -> DescribeTopicPartitionsResponsePartition {
    let placement = Placement::of(view, placed);
    DescribeTopicPartitionsResponsePartition {
        error_code: placement.error.0,
        partition_index,
        leader_id: placement.leader,
        leader_epoch: placed.leader_epoch.0,
        replica_nodes: placement.replicas,
        isr_nodes: placement.isr,
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: placement.offline,
    }
}
