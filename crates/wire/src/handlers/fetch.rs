//! Fetch: batches from several partitions, with a long poll.
//!
//! Invariants: no session is ever created (every answer has session id 0 and names every partition
//! asked for); a request that waits holds nothing of the bytes it came in, and memory for no more
//! than the topics and partitions there are; batches leave as segments, never copied into the
//! response; a request for something
//! unknown is answered at once; a long poll ends when the server stops. Source: KIP-74, KIP-227,
//! KIP-320, KIP-516, KIP-595, KIP-951.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{
    BrokerId, Duration, LeaderEpoch, Offset, PartitionId, PartitionIndex, Probe, TopicId, Uuid,
};
use broker::api::{ClusterView, Fetch, FetchError, FetchPartition, FetchedData, Isolation};
use bytes::Bytes;
use env::{Env, Segment};
use protocol::messages::FetchResponse;
use protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use protocol::views::{FetchPartitionView, FetchTopicView, FetchView};
use protocol::{DecodeError, Reader, Records};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The first version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// The first version in which an error may name the new leader.
const LEADER_VERSION_MIN: i16 = 16;
/// Up to this version a failed disk is told as a lost leadership, which its clients understand.
const NO_STORAGE_ERROR_VERSION_MAX: i16 = 5;
/// Entries of a request that may repeat without a consequence.
const REPEATS_MAX: usize = 1_024;

/// A request without the bytes it came in.
pub(crate) struct Asked {
    /// The cluster as it was then.
    view: Arc<ClusterView>,
    in_session: bool,
    read_committed: bool,
    /// In the broker's words, without the topics that are unknown.
    wish: Fetch,
    topics: Vec<AskedTopic>,
}

struct AskedTopic {
    name: String,
    topic_id: Uuid,
    found: Result<TopicId, ErrorCode>,
    partitions: Vec<i32>,
}

/// Reads a request.
///
/// # Errors
/// [`DecodeError`] if the body does not parse.
pub(crate) fn read<E: Env>(context: &Context<'_, E>, body: &Bytes) -> Result<Asked, DecodeError> {
    let version = context.version();
    let request = FetchView::read(&mut Reader::from(body), version)?;
    let view = context.shared.broker.cluster();
    let mut partitions = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics.clone() {
        let found = resolve(version, &view, &topic);
        if let Ok(id) = found {
            partitions.extend(topic.partitions.clone().map(|part| wanted(id, part)));
        }
        topics.push(AskedTopic {
            name: topic.topic.to_owned(),
            topic_id: topic.topic_id,
            found,
            partitions: topic.partitions.map(|part| part.partition).collect(),
        });
    }
    let unknown = topics.iter().any(|topic| topic.found.is_err());
    if unknown {
        context.probe().reached("fetch_unknown_topic");
    }
    let at_once = unknown || repeats(&topics, &partitions);
    let millis = if at_once { 0 } else { u64::try_from(request.max_wait_ms).unwrap_or(0) };
    let read_committed = request.isolation_level == 1;
    let wish = Fetch {
        partitions,
        isolation: match read_committed {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        },
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
        max_bytes: usize::try_from(request.max_bytes).unwrap_or(0),
        max_wait: Duration::from_millis(millis),
    };
    let in_session = !matches!(request.session_epoch, -1 | 0);
    Ok(Asked { view, in_session, read_committed, wish, topics })
}

/// Whether a long request names a topic or a partition twice: nobody has a reason to, and it would
/// make what a client that waits keeps in memory as long as it likes.
fn repeats(topics: &[AskedTopic], partitions: &[FetchPartition]) -> bool {
    if topics.len().saturating_add(partitions.len()) <= REPEATS_MAX {
        return false;
    }
    let (mut named, mut seen) = (BTreeSet::new(), BTreeSet::new());
    !(topics.iter().all(|topic| named.insert(topic.found.ok()))
        && partitions.iter().all(|part| seen.insert(part.partition)))
}

pub(crate) async fn handle<E: Env>(context: &Context<'_, E>, asked: Asked) -> Outcome<FileOf<E>> {
    let Asked { view, in_session, read_committed, wish, topics } = asked;
    if in_session {
        context.probe().reached("fetch_session_unknown");
        let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0;
        return context.reply(&FetchResponse { error_code, ..FetchResponse::default() });
    }
    let Some(fetched) = context.unless_stopped(context.shared.broker.fetch(wish)).await else {
        return Outcome::Close;
    };
    let mut answer = Answer {
        version: context.version(),
        read_committed,
        externals: Vec::new(),
        leaders: BTreeSet::new(),
    };
    let mut fetched = fetched.into_iter();
    let mut response = FetchResponse::default();
    for topic in topics {
        let found = topic.found;
        let partitions = topic.partitions.into_iter().map(|index| {
            let outcome = match found {
                Err(error) => Err(Refused::Here(error)),
                Ok(_) => match fetched.next() {
                    Some(fetched) => fetched.outcome.map_err(Refused::There),
                    None => Err(Refused::Here(ErrorCode::UNKNOWN_SERVER_ERROR)),
                },
            };
            answer.partition(&view, found.ok(), index, outcome)
        });
        let partitions = partitions.collect();
        response.responses.push(FetchableTopicResponse {
            topic: topic.name,
            topic_id: topic.topic_id,
            partitions,
        });
    }
    let endpoints = context.reachable(&view).filter(|at| answer.leaders.contains(&at.id));
    response.node_endpoints = endpoints
        .map(|at| NodeEndpoint {
            node_id: at.id.0,
            host: at.host.to_owned(),
            port: at.port,
            rack: at.rack.map(str::to_owned),
        })
        .collect();
    context.reply_with(&response, answer.externals)
}

fn resolve(
    version: i16,
    view: &ClusterView,
    topic: &FetchTopicView<'_>,
) -> Result<TopicId, ErrorCode> {
    if version >= TOPIC_ID_VERSION_MIN {
        let known = view.by_id.get(&TopicId(topic.topic_id));
        return known.map(|known| known.id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID);
    }
    let known = view.topics.get(topic.topic);
    known.map(|known| known.id).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

fn wanted(topic: TopicId, part: FetchPartitionView) -> FetchPartition {
    let known = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
    FetchPartition {
        partition: PartitionId { topic, index: PartitionIndex(part.partition) },
        offset: Offset(part.fetch_offset),
        max_bytes: usize::try_from(part.partition_max_bytes).unwrap_or(0),
        current_leader_epoch: known(part.current_leader_epoch),
        last_fetched_epoch: known(part.last_fetched_epoch),
    }
}

/// Why a partition was not read.
enum Refused {
    /// The front door does not know it.
    Here(ErrorCode),
    /// By the broker.
    There(FetchError),
}

/// The response under construction.
struct Answer<F> {
    version: i16,
    read_committed: bool,
    /// Batches, a list for each partition that has some.
    externals: Vec<Vec<Segment<F>>>,
    /// Leaders that errors point to.
    leaders: BTreeSet<BrokerId>,
}

impl<F> Answer<F> {
    fn partition(
        &mut self,
        view: &ClusterView,
        topic: Option<TopicId>,
        index: i32,
        outcome: Result<FetchedData<F>, Refused>,
    ) -> PartitionData {
        match outcome {
            Ok(data) => self.read(index, data),
            Err(Refused::Here(error)) => refused(index, error),
            Err(Refused::There(error)) => {
                let mut code = ErrorCode::from(&error);
                if self.version <= NO_STORAGE_ERROR_VERSION_MAX
                    && code == ErrorCode::KAFKA_STORAGE_ERROR
                {
                    code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
                }
                let mut data = refused(index, code);
                if self.version >= LEADER_VERSION_MIN
                    && let Some((leader, epoch)) = new_leader(view, topic, index, &error)
                {
                    self.leaders.insert(leader);
                    data.current_leader =
                        LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch.0 };
                }
                data
            },
        }
    }

    fn read(&mut self, index: i32, data: FetchedData<F>) -> PartitionData {
        let records = match u32::try_from(data.bytes) {
            Ok(length) if length > 0 => {
                let token = u64::try_from(self.externals.len()).unwrap_or(u64::MAX);
                self.externals.push(data.segments);
                Records::External { token, length }
            },
            Ok(_) | Err(_) => Records::default(),
        };
        let diverging_epoch =
            data.diverging.map_or_else(EpochEndOffset::default, |(epoch, end)| EpochEndOffset {
                epoch: epoch.0,
                end_offset: end.0,
            });
        PartitionData {
            partition_index: index,
            diverging_epoch,
            high_watermark: data.high_watermark.0,
            last_stable_offset: data.last_stable.0,
            log_start_offset: data.log_start.0,
            aborted_transactions: self.read_committed.then(Vec::new),
            records,
            ..PartitionData::default()
        }
    }
}

/// Whom an error points to (KIP-951).
fn new_leader(
    view: &ClusterView,
    topic: Option<TopicId>,
    index: i32,
    error: &FetchError,
) -> Option<(BrokerId, LeaderEpoch)> {
    match error {
        FetchError::NotLeader { leader, epoch } => leader.map(|leader| (leader, *epoch)),
        FetchError::FencedEpoch => {
            let placed = view.by_id.get(&topic?)?.partition(PartitionIndex(index))?;
            placed.leader.map(|leader| (leader, placed.leader_epoch))
        },
        FetchError::UnknownPartition
        | FetchError::OutOfRange { .. }
        | FetchError::UnknownEpoch
        | FetchError::Corrupt
        | FetchError::StorageFailed => None,
    }
}

fn refused(index: i32, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: error.0,
        high_watermark: -1,
        ..PartitionData::default()
    }
}
