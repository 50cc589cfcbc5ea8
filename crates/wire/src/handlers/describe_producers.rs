//! DescribeProducers: which idempotent producers a partition remembers.
//!
//! Invariants: each partition is answered alone, and once however often it is named; no producer has a transaction or a coordinator, for
//! there are no transactions in this version. Source: KIP-664.

use base::{PartitionId, PartitionIndex, Probe};
use broker::api::{ActiveProducer, ClusterView, TopicError};
use env::Env;
use protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use super::answer::{Growth, TooLong};
use super::topics::once_each;
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    request: DescribeProducersRequest,
) -> Outcome<FileOf<E>> {
    let view = context.shared.broker.cluster();
    let mut growth = Growth::default();
    let mut topics = Vec::new();
    let named = request.topics.into_iter();
    let named =
        named.map(|topic| (topic.name, topic.partition_indexes.into_iter().map(|i| (i, ()))));
    for topic in once_each(named) {
        match respond(context, &view, topic, &mut growth).await {
            Ok(topic) => topics.push(topic),
            Err(TooLong) => return context.too_long(),
        }
    }
    context.reply(&DescribeProducersResponse { topics, throttle_time_ms: 0 })
}

async fn respond<E: Env>(
    context: &Context<'_, E>,
    view: &ClusterView,
    (name, indexes): (String, Vec<(i32, ())>),
    growth: &mut Growth,
) -> Result<TopicResponse, TooLong> {
    let known = match broker::api::check_name(&name) {
        Err(why) => Err(TopicError::InvalidName(why)),
        Ok(()) => view.topics.get(name.as_str()).ok_or(TopicError::UnknownName),
    };
    if known.is_err() {
        context.probe().reached("describe_producers_unknown_topic");
    }
    let answer = |index: i32| {
        let nothing = PartitionResponse { partition_index: index, ..PartitionResponse::default() };
        let id = match &known {
            Ok(known) => PartitionId { topic: known.id, index: PartitionIndex(index) },
            Err(error) => {
                return PartitionResponse {
                    error_code: ErrorCode::from(error).0,
                    error_message: Some(error.to_string()),
                    ..nothing
                };
            },
        };
        match context.shared.broker.active_producers(&id) {
            Ok(active) => PartitionResponse {
                active_producers: active.into_iter().map(state).collect(),
                ..nothing
            },
            Err(error) => PartitionResponse { error_code: ErrorCode::from(&error).0, ..nothing },
        }
    };
    let mut partitions = Vec::new();
    for (index, ()) in indexes {
        let partition = answer(index);
        let text = partition.error_message.as_ref().map_or(0, String::len);
        let producers = partition.active_producers.len() * size_of::<ProducerState>();
        partitions.push(partition);
        growth.by(context, text + producers + size_of::<PartitionResponse>()).await?;
    }
    Ok(TopicResponse { name, partitions })
}

fn state(active: ActiveProducer) -> ProducerState {
    /// Only a transaction's end is written by a coordinator.
    const NO_COORDINATOR: i32 = -1;
    ProducerState {
        producer_id: active.id.0,
        producer_epoch: i32::from(active.epoch.0),
        last_sequence: active.last_sequence,
        last_timestamp: active.last_timestamp.0,
        coordinator_epoch: NO_COORDINATOR,
        ..ProducerState::default()
    }
}
