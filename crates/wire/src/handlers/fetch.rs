//! Fetch: batches from several partitions, with a long poll, in sessions or without.
//!
//! Invariants: a request that waits holds nothing of the bytes it came in, and memory for no more
//! than the partitions there are and a bounded number of others; every partition is asked for once,
//! with what the request says of it last; what is unknown is answered without asking the broker, and
//! does not end the wait for the rest; a long poll ends when the server stops. Source: KIP-74,
//! KIP-227, KIP-320, KIP-516.

mod answer;
mod asked;

use std::sync::Arc;

use base::{Duration, LeaderEpoch, Offset, PartitionId, PartitionIndex, Probe, TopicId};
use broker::api::{ClusterView, Fetch, FetchPartition, Isolation};
use bytes::Bytes;
use env::Env;
use protocol::messages::FetchResponse;
use protocol::views::FetchView;
use protocol::{DecodeError, Reader};

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;
use crate::sessions::{Asked, Refusal, Shared, TopicKey, Wish};

use asked::{all_of, distinct, forgotten_of};

/// The epoch of a request that wants a session.
const EPOCH_INITIAL: i32 = 0;
/// The epoch of a request that wants none.
const EPOCH_FINAL: i32 = -1;
/// The first version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// Unknown partitions that a request may wait with.
const UNKNOWN_MAX: usize = 1_024;

/// A request without the bytes it came in.
pub(crate) struct Asking {
    /// The cluster as it was then.
    view: Arc<ClusterView>,
    read_committed: bool,
    /// In the broker's words, without what is unknown.
    wish: Fetch,
    asked: Vec<Asked>,
    /// What is not asked of the broker: where in `asked`, and why.
    unknown: Vec<(usize, ErrorCode)>,
    kind: Kind,
}

/// How a request stands to sessions.
enum Kind {
    /// It has none.
    Alone,
    /// It wants one.
    Wants {
        /// It comes from a follower.
        privileged: bool,
    },
    /// It goes on with one.
    GoesOn {
        id: i32,
        session: Shared,
        /// In which its answer is the next one.
        epoch: i32,
    },
    /// It does not fit.
    Refused(ErrorCode),
}

/// Reads a request.
///
/// # Errors
/// [`DecodeError`] if the body does not parse.
pub(crate) fn read<E: Env>(context: &Context<'_, E>, body: &Bytes) -> Result<Asking, DecodeError> {
    let request = FetchView::read(&mut Reader::from(body), context.version())?;
    let view = context.shared.broker.cluster();
    let (kind, asked) = sort_out(context, &view, &request);
    let mut unknown = Vec::new();
    let mut partitions = Vec::with_capacity(asked.len());
    for (at, part) in asked.iter().enumerate() {
        match find(&view, part) {
            Ok(topic) => partitions.push(wanted(topic, part)),
            Err(error) => unknown.push((at, error)),
        }
    }
    if !unknown.is_empty() {
        context.probe().reached("fetch_unknown_topic");
    }
    let at_once = unknown.len() > UNKNOWN_MAX
        || unknown.iter().any(|(_, error)| *error == ErrorCode::INCONSISTENT_TOPIC_ID);
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
    Ok(Asking { view, read_committed, wish, asked, unknown, kind })
}

pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    mut asking: Asking,
) -> Outcome<FileOf<E>> {
    if let Kind::Refused(error) = asking.kind {
        return context.reply(&FetchResponse { error_code: error.0, ..FetchResponse::default() });
    }
    let nothing = Fetch { partitions: Vec::new(), ..asking.wish };
    let wish = std::mem::replace(&mut asking.wish, nothing);
    let fetched = context.unless_stopped(context.shared.broker.fetch(wish)).await;
    fetched.map_or(Outcome::Close, |fetched| answer::answer(context, &asking, fetched))
}

/// What a request asks for, and how it stands to sessions.
fn sort_out<E: Env>(
    context: &Context<'_, E>,
    view: &ClusterView,
    request: &FetchView<'_>,
) -> (Kind, Vec<Asked>) {
    let version = context.version();
    let all = || {
        let mut asked: Vec<Asked> = all_of(version, view, &request.topics).collect();
        distinct(&mut asked);
        asked
    };
    let sessions = &context.shared.sessions;
    if matches!(request.session_epoch, EPOCH_INITIAL | EPOCH_FINAL) {
        if request.session_id != 0 {
            sessions.close(request.session_id);
        }
        let replica = match version {
            ..=14 => request.replica_id,
            _ => request.replica_state.replica_id,
        };
        let kind = match request.session_epoch {
            EPOCH_FINAL => Kind::Alone,
            _ => Kind::Wants { privileged: replica >= 0 },
        };
        return (kind, all());
    }
    let by_id = version >= TOPIC_ID_VERSION_MIN;
    let begun = sessions.go_on(
        context.shared.env.now(),
        (request.session_id, request.session_epoch, by_id),
        |session| {
            all_of(version, view, &request.topics).for_each(|asked| session.want(asked));
            forgotten_of(version, &request.forgotten_topics).for_each(|key| session.forget(&key));
        },
        |session| {
            session.in_order(|id| view.by_id.get(&TopicId(id)).map(|topic| Arc::clone(&topic.name)))
        },
    );
    match begun {
        Ok(Some(begun)) => {
            let (session, epoch) = (begun.session, begun.epoch);
            (Kind::GoesOn { id: request.session_id, session, epoch }, begun.asked)
        },
        Ok(None) => {
            context.probe().reached("fetch_session_emptied");
            (Kind::Alone, all())
        },
        Err(why) => (Kind::Refused(refused(context, why)), Vec::new()),
    }
}

fn refused<E: Env>(context: &Context<'_, E>, why: Refusal) -> ErrorCode {
    let probe = context.probe();
    match why {
        Refusal::Unknown => {
            probe.reached("fetch_session_unknown");
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND
        },
        Refusal::Epoch => {
            probe.reached("fetch_session_other_epoch");
            ErrorCode::INVALID_FETCH_SESSION_EPOCH
        },
        Refusal::TopicIds => {
            probe.reached("fetch_session_other_names");
            ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
        },
    }
}

/// Which topic is meant, if it has the partition. Of an id that a session knew by name, it depends on
/// what has that name now.
fn find(view: &ClusterView, asked: &Asked) -> Result<TopicId, ErrorCode> {
    let index = PartitionIndex(asked.key.index);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let named = |name: &str| {
        let topic = view.topics.get(name).ok_or(unknown)?;
        topic.partition(index).map(|_| topic.id).ok_or(unknown)
    };
    let id = match &asked.key.topic {
        TopicKey::Name(name) => return named(name),
        TopicKey::Id(id) => TopicId(*id),
    };
    if let Some(topic) = view.by_id.get(&id) {
        return topic.partition(index).map(|_| id).ok_or(unknown);
    }
    let name = asked.name.as_ref().ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
    named(name).and(Err(ErrorCode::INCONSISTENT_TOPIC_ID))
}

fn wanted(topic: TopicId, asked: &Asked) -> FetchPartition {
    let known = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
    let Wish { offset, max_bytes, current_leader_epoch, last_fetched_epoch } = asked.wish;
    FetchPartition {
        partition: PartitionId { topic, index: PartitionIndex(asked.key.index) },
        offset: Offset(offset),
        max_bytes: usize::try_from(max_bytes).unwrap_or(0),
        current_leader_epoch: known(current_leader_epoch),
        last_fetched_epoch: known(last_fetched_epoch),
    }
}
