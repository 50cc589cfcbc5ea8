//! DeleteGroups and OffsetDelete.
//!
//! Invariants: each group and each partition of the request is answered once, however often it is named,
//! those partitions that do not exist by the front door and the others by the group's coordinator;
//! success means that the tombstones are in the coordinator's log. Source: KIP-229, KIP-496.

use std::collections::{BTreeMap, BTreeSet};

use base::{PartitionIndex, Probe};
use broker::api::group::{Command, GroupError, Reply};
use env::Env;
use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};

use super::topics::once_each;
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// Groups that are asked about at once: less than a coordinator's mailbox holds.
const AT_ONCE: usize = 128;

/// DeleteGroups. As in Kafka, no error has a message.
pub(crate) async fn groups<E: Env>(
    context: &Context<'_, E>,
    request: DeleteGroupsRequest,
) -> Outcome<FileOf<E>> {
    let mut seen = BTreeSet::new();
    let mut groups = request.groups_names;
    groups.retain(|group| seen.insert(group.clone()));
    let mut results = Vec::with_capacity(groups.len());
    for some in groups.chunks(AT_ONCE) {
        let commands = some.iter().map(|group| Command::Delete { group: group.clone() }).collect();
        let replies = context.shared.broker.groups(commands).await;
        results.extend(some.iter().zip(replies).map(|(group, reply)| {
            let error = match reply {
                Reply::Delete(outcome) => outcome.err().map_or(ErrorCode::NONE, ErrorCode::from),
                _ => ErrorCode::UNKNOWN_SERVER_ERROR,
            };
            if !error.is_none() {
                context.probe().reached("delete_group_refused");
            }
            DeletableGroupResult {
                group_id: group.clone(),
                error_code: error.0,
                error_message: None,
            }
        }));
    }
    context.reply(&DeleteGroupsResponse { results, throttle_time_ms: 0 })
}

/// OffsetDelete.
pub(crate) async fn offsets<E: Env>(
    context: &Context<'_, E>,
    request: OffsetDeleteRequest,
) -> Outcome<FileOf<E>> {
    let view = context.shared.broker.cluster();
    let mut answers = Answers::default();
    let mut partitions = Vec::new();
    let named = request.topics.into_iter();
    let named = named.map(|topic| {
        (topic.name, topic.partitions.into_iter().map(|part| (part.partition_index, ())))
    });
    for (name, parts) in once_each(named) {
        let known = view.topics.get(name.as_str());
        for (index, ()) in parts {
            if known.is_some_and(|known| known.partition(PartitionIndex(index)).is_some()) {
                partitions.push((name.clone(), index));
            } else {
                answers.add(&name, index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            }
        }
    }
    let command =
        Command::DeleteOffsets { group: request.group_id, partitions: partitions.clone() };
    let outcome = match context.shared.broker.group(command).await {
        Reply::DeleteOffsets(outcome) => outcome,
        _ => Err(GroupError::UnknownServerError),
    };
    let response = match outcome {
        Err(error) => {
            context.probe().reached("delete_offsets_refused");
            let error_code = ErrorCode::from(error).0;
            OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() }
        },
        Ok(results) => {
            for ((topic, index), result) in partitions.iter().zip(results) {
                let error = result.err().map_or(ErrorCode::NONE, ErrorCode::from);
                answers.add(topic, *index, error);
            }
            OffsetDeleteResponse { topics: answers.topics, ..OffsetDeleteResponse::default() }
        },
    };
    context.reply(&response)
}

/// Answers by topic. As in Kafka, a topic of which something does not exist comes first, and within
/// it what does not exist.
#[derive(Default)]
struct Answers {
    topics: Vec<OffsetDeleteResponseTopic>,
    places: BTreeMap<String, usize>,
}

impl Answers {
    fn add(&mut self, name: &str, partition_index: i32, error: ErrorCode) {
        let part = OffsetDeleteResponsePartition { partition_index, error_code: error.0 };
        let known = self.places.get(name).and_then(|at| self.topics.get_mut(*at));
        if let Some(topic) = known {
            topic.partitions.push(part);
            return;
        }
        self.places.insert(name.to_owned(), self.topics.len());
        let partitions = vec![part];
        self.topics.push(OffsetDeleteResponseTopic { name: name.to_owned(), partitions });
    }
}
