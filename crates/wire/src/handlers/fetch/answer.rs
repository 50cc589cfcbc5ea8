//! The answer to a fetch.
//!
//! Invariants: batches leave as segments, never copied into the response; what was read comes first,
//! in the order of the request or of its session, what is unknown last; an answer within a session
//! names what its client has not been told, and the session then counts it as told; an answer that
//! was overtaken by a later request of its session says so and nothing else. Source: KIP-227,
//! KIP-595, KIP-951.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::{BrokerId, LeaderEpoch, PartitionId, Probe};
use broker::api::{ClusterView, FetchError, FetchedData, FetchedPartition};
use env::{Env, Guard, Segment};
use protocol::Records;
use protocol::messages::FetchResponse;
use protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};

use super::{Asking, Kind, TOPIC_ID_VERSION_MIN};
use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;
use crate::sessions::{Asked, News, Session, Shared, TopicKey, Weight};

/// The first version in which an error may name the new leader.
const LEADER_VERSION_MIN: i16 = 16;
/// Up to this version a failed disk is told as a lost leadership, which its clients understand.
const NO_STORAGE_ERROR_VERSION_MAX: i16 = 5;
/// The first version whose clients know zstd.
const ZSTD_VERSION_MIN: i16 = 10;

/// Who hears what an answer says.
enum Hearer<'a> {
    /// Nobody keeps it.
    Nobody,
    /// A session that is filled with all of it.
    Fresh(Guard<'a, Session>),
    /// A session that knows what its client was told.
    Known(Guard<'a, Session>),
}

/// The response under construction.
struct Answer<'a, E: Env> {
    context: &'a Context<'a, E>,
    asking: &'a Asking,
    hearer: Hearer<'a>,
    response: FetchResponse,
    /// The topic of the last partition in the response.
    topic: Option<&'a TopicKey>,
    /// Batches, a list for each partition that has some.
    externals: Vec<Vec<Segment<FileOf<E>>>>,
    /// Leaders that errors point to.
    leaders: BTreeSet<BrokerId>,
}

/// Says what was read.
pub(super) fn answer<E: Env>(
    context: &Context<'_, E>,
    asking: &Asking,
    fetched: Vec<FetchedPartition<FileOf<E>>>,
) -> Outcome<FileOf<E>> {
    let made;
    let mut response = FetchResponse::default();
    let hearer = match &asking.kind {
        Kind::Alone | Kind::Refused(_) => Hearer::Nobody,
        Kind::Wants { privileged } => {
            made = admitted(context, asking, *privileged);
            match &made {
                Some((id, session)) => {
                    response.session_id = *id;
                    Hearer::Fresh(session.lock())
                },
                None => Hearer::Nobody,
            }
        },
        Kind::GoesOn { id, session, epoch } => {
            let held = session.lock();
            response.session_id = *id;
            if !held.is_at(*epoch) {
                context.probe().reached("fetch_session_overtaken");
                response.error_code = ErrorCode::INVALID_FETCH_SESSION_EPOCH.0;
                return context.reply(&response);
            }
            Hearer::Known(held)
        },
    };
    let (externals, leaders) = (Vec::new(), BTreeSet::new());
    let mut answer = Answer { context, asking, hearer, response, topic: None, externals, leaders };
    answer.fill(fetched);
    let Answer { hearer, response, externals, .. } = answer;
    drop(hearer);
    context.reply_with(&response, externals)
}

/// A session for what is asked for, if there is room.
fn admitted<E: Env>(
    context: &Context<'_, E>,
    asking: &Asking,
    privileged: bool,
) -> Option<(i32, Shared)> {
    let env = &context.shared.env;
    let worth = (privileged, Weight::of(&asking.asked));
    let by_id = context.version() >= TOPIC_ID_VERSION_MIN;
    let (made, evicted) = context.shared.sessions.admit(env.now(), env.random_u64(), worth, by_id);
    match &made {
        Some(_) => context.probe().reached("fetch_session_made"),
        None => context.probe().reached("fetch_session_no_room"),
    }
    if evicted {
        context.probe().reached("fetch_session_evicted");
    }
    made
}

impl<'a, E: Env> Answer<'a, E> {
    fn fill(&mut self, fetched: Vec<FetchedPartition<FileOf<E>>>) {
        let asking = self.asking;
        let mut unknown = asking.unknown.iter().map(|(at, _)| *at).peekable();
        let mut fetched = fetched.into_iter();
        for (at, asked) in asking.asked.iter().enumerate() {
            if unknown.next_if_eq(&at).is_some() {
                continue;
            }
            match fetched.next() {
                Some(FetchedPartition { outcome: Ok(data), .. }) => self.read(at, asked, data),
                Some(FetchedPartition { partition, outcome: Err(error) }) => {
                    self.failed(at, partition, &error);
                },
                None => self.error(at, ErrorCode::UNKNOWN_SERVER_ERROR),
            }
        }
        for (at, error) in &asking.unknown {
            self.error(*at, *error);
        }
        let view = &*asking.view;
        let endpoints = self.context.reachable(view).filter(|at| self.leaders.contains(&at.id));
        self.response.node_endpoints = endpoints
            .map(|at| NodeEndpoint {
                node_id: at.id.0,
                host: at.host.to_owned(),
                port: at.port,
                rack: at.rack.map(str::to_owned),
            })
            .collect();
    }

    /// Whether the answer names a partition.
    fn names(&mut self, asked: &Asked, mut news: News) -> bool {
        let probe = self.context.probe();
        match &mut self.hearer {
            Hearer::Nobody => true,
            Hearer::Fresh(session) => {
                session.add(asked.clone(), (news.high_watermark, news.log_start));
                true
            },
            Hearer::Known(session) => {
                // Planted: what has not changed but for records of before is left out.
                news.has_records &= !probe.mutant("session_omits_lagging");
                let is_named = session.tell(asked.slot, news);
                // Planted: who was served first is served first for ever.
                if news.has_records && !probe.mutant("session_order_stays") {
                    session.move_last(asked.slot);
                }
                is_named
            },
        }
    }

    fn read(&mut self, at: usize, asked: &'a Asked, data: FetchedData<FileOf<E>>) {
        let news = News {
            high_watermark: data.high_watermark.0,
            log_start: data.log_start.0,
            has_records: data.bytes > 0,
            is_error: false,
            is_diverging: data.diverging.is_some(),
        };
        if !self.names(asked, news) {
            return;
        }
        if self.context.version() < ZSTD_VERSION_MIN && self.is_zstd(asked) {
            self.push(at, refused(asked, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
            return;
        }
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
        let data = PartitionData {
            partition_index: asked.key.index,
            diverging_epoch,
            high_watermark: data.high_watermark.0,
            last_stable_offset: data.last_stable.0,
            log_start_offset: data.log_start.0,
            aborted_transactions: self.asking.read_committed.then(Vec::new),
            records,
            ..PartitionData::default()
        };
        self.push(at, data);
    }

    /// The broker could not read a partition.
    fn failed(&mut self, at: usize, partition: PartitionId, error: &FetchError) {
        let version = self.context.version();
        let mut code = ErrorCode::from(error);
        if version <= NO_STORAGE_ERROR_VERSION_MAX && code == ErrorCode::KAFKA_STORAGE_ERROR {
            code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        }
        self.error(at, code);
        if version >= LEADER_VERSION_MIN
            && let Some((leader, epoch)) = new_leader(&self.asking.view, partition, error)
            && let Some(topic) = self.response.responses.last_mut()
            && let Some(data) = topic.partitions.last_mut()
        {
            self.leaders.insert(leader);
            data.current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch.0 };
        }
    }

    fn error(&mut self, at: usize, error: ErrorCode) {
        let asking = self.asking;
        let Some(asked) = asking.asked.get(at) else { return };
        let (high_watermark, log_start, has_records) = (-1, -1, false);
        let news =
            News { high_watermark, log_start, has_records, is_error: true, is_diverging: false };
        // Errors are always named.
        self.names(asked, news);
        self.push(at, refused(asked, error));
    }

    /// Puts the partition that is asked for at `at` behind the others.
    fn push(&mut self, at: usize, data: PartitionData) {
        let asking = self.asking;
        let Some(asked) = asking.asked.get(at) else { return };
        let key = &asked.key.topic;
        if self.topic.is_some_and(|topic| is_same(topic, key))
            && let Some(topic) = self.response.responses.last_mut()
        {
            topic.partitions.push(data);
            return;
        }
        let expected = match self.hearer {
            Hearer::Known(_) => 1,
            Hearer::Nobody | Hearer::Fresh(_) => {
                let rest = asking.asked.get(at..).unwrap_or_default();
                rest.iter().take_while(|other| is_same(&other.key.topic, key)).count()
            },
        };
        let mut topic = FetchableTopicResponse {
            partitions: Vec::with_capacity(expected),
            ..FetchableTopicResponse::default()
        };
        topic.partitions.push(data);
        match key {
            TopicKey::Id(id) => topic.topic_id = *id,
            TopicKey::Name(name) => name.as_ref().clone_into(&mut topic.topic),
        }
        self.topic = Some(key);
        self.response.responses.push(topic);
    }

    /// Whether a topic's batches are all of zstd, which clients of old versions cannot read.
    fn is_zstd(&self, asked: &Asked) -> bool {
        const KEY: &str = "compression.type";
        let TopicKey::Name(name) = &asked.key.topic else { return false };
        let own = self.asking.view.topics.get(name).and_then(|topic| topic.configs.get(KEY));
        let shared = self.context.shared;
        let file = shared.broker.file();
        let layers = self.asking.view.layers(shared.settings.node_id, &file);
        own.map(|own| &**own).or(layers.value(KEY)) == Some("zstd")
    }
}

fn is_same(one: &TopicKey, other: &TopicKey) -> bool {
    match (one, other) {
        (TopicKey::Name(one), TopicKey::Name(other)) => Arc::ptr_eq(one, other) || one == other,
        (TopicKey::Id(one), TopicKey::Id(other)) => one == other,
        (TopicKey::Name(_), TopicKey::Id(_)) | (TopicKey::Id(_), TopicKey::Name(_)) => false,
    }
}

/// Whom an error points to (KIP-951).
fn new_leader(
    view: &ClusterView,
    partition: PartitionId,
    error: &FetchError,
) -> Option<(BrokerId, LeaderEpoch)> {
    match error {
        FetchError::NotLeader { leader, epoch } => leader.map(|leader| (leader, *epoch)),
        FetchError::FencedEpoch => {
            let placed = view.by_id.get(&partition.topic)?.partition(partition.index)?;
            placed.leader.map(|leader| (leader, placed.leader_epoch))
        },
        FetchError::UnknownPartition
        | FetchError::OutOfRange { .. }
        | FetchError::UnknownEpoch
        | FetchError::Corrupt
        | FetchError::StorageFailed => None,
    }
}

fn refused(asked: &Asked, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: asked.key.index,
        error_code: error.0,
        high_watermark: -1,
        ..PartitionData::default()
    }
}
