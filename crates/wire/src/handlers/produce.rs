//! Produce: one batch per partition, each succeeding or failing alone.
//!
//! Invariants: batches are checked in Kafka's order (what a request says about itself, then where
//! it goes, then the batch); those of one request are submitted in its order and proven together,
//! so one slow partition delays the answer but no other append; `acks=0` is never answered, and an
//! error then closes the connection. Source: KIP-98, KIP-467, KIP-951.

use std::collections::BTreeSet;
use std::pin::pin;

use base::{
    BrokerId, Duration, Instant, Offset, PartitionId, PartitionIndex, Probe, TopicId, Uuid,
};
use broker::api::{Acks, ClusterView, Produce, ProduceError, Produced};
use broker::{Held, Submitted};
use bytes::Bytes;
use env::Env;
use protocol::messages::ProduceResponse;
use protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use protocol::views::{ProducePartitionView, ProduceTopicView, ProduceView};
use protocol::{DecodeError, EncodeError, Reader, Writer};
use records::{BatchError, BatchHeader, Compression, Fault, FaultKind, Refusal, exactly_one};
use smallvec::SmallVec;

use crate::dispatch::{Context, Outcome};
use crate::error_code::ErrorCode;
use crate::server::FileOf;

/// The only client that may write internal topics.
const ADMIN_CLIENT: &str = "__admin_client";
/// The first version that tells the log's start.
const LOG_START_VERSION_MIN: i16 = 5;
/// The first version that tells which records are at fault.
const RECORD_ERRORS_VERSION_MIN: i16 = 8;
/// The first version with compact lengths and tagged fields.
const FLEXIBLE_VERSION_MIN: i16 = 9;
/// The first version whose clients understand zstd.
const ZSTD_VERSION_MIN: i16 = 7;
/// The first version in which an error may name the new leader.
const LEADER_VERSION_MIN: i16 = 10;
/// The first version that names topics by id.
const TOPIC_ID_VERSION_MIN: i16 = 13;

/// Smaller batches are copied by the log.
const SHARED_BYTES_MIN: usize = 16 * 1024;
/// A batch shares the memory of its request only if that is at most this many times larger: the
/// log may keep the batch long after the request is answered.
const REQUEST_SHARE_MAX: usize = 8;
/// Bytes of batches of one request that are looked at before others get their turn.
const TURN_WORK: usize = 256 * 1024;
/// What a byte of a compressed batch counts for.
const OPENING_WORK: usize = 16;

/// Why a partition's batch was not appended.
enum Refused {
    /// By the front door.
    Here(ErrorCode),
    /// The bytes are not one batch.
    Batch(BatchError),
    /// By the broker.
    There(ProduceError),
}

/// What has become of the batches of one topic; usually there is one.
struct OfTopic<T, R = Refused> {
    /// As it stands in the request.
    name: Bytes,
    id: Uuid,
    parts: SmallVec<[Part<T, R>; 1]>,
}

/// What has become of one batch.
struct Part<T, R> {
    index: i32,
    /// Where it goes, if there is such a topic.
    id: Option<PartitionId>,
    outcome: Result<T, R>,
}

/// Usually there is one.
type Topics<T, R = Refused> = SmallVec<[OfTopic<T, R>; 1]>;

/// Handles a request by itself.
///
/// # Errors
/// [`DecodeError`] if the body does not parse.
pub(crate) async fn handle<E: Env>(
    context: &Context<'_, E>,
    body: &Bytes,
) -> Result<Outcome<FileOf<E>>, DecodeError> {
    let mut together = Together::default();
    let begun = pin!(begin(context, body, &mut together)).await?;
    together.write();
    Ok(pin!(answer(context, begun)).await)
}

/// Requests whose batches are written together.
pub(crate) struct Together<E: Env> {
    held: Held<E>,
    /// Work since the others had their turn, of [`TURN_WORK`].
    work: usize,
}

impl<E: Env> Default for Together<E> {
    fn default() -> Self {
        Self { held: Held::default(), work: 0 }
    }
}

impl<E: Env> Together<E> {
    /// Lets the writers begin.
    pub(crate) fn write(&mut self) {
        self.held.write();
    }
}

/// A request whose batches have their places.
pub(crate) struct Begun {
    silent: bool,
    topics: Topics<Submitted>,
}

impl Begun {
    /// Whether the client hears of it only if it fails.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }
}

/// Submits the batches of a request; they are written with those of the others.
///
/// # Errors
/// [`DecodeError`] if the body does not parse.
pub(crate) async fn begin<E: Env>(
    context: &Context<'_, E>,
    body: &Bytes,
    together: &mut Together<E>,
) -> Result<Begun, DecodeError> {
    let request = ProduceView::read(&mut Reader::from(body), context.version())?;
    let mut plan = Plan::of(context, body, &request, together);
    let mut topics = Topics::new();
    for topic in request.topics.clone() {
        topics.push(submit_topic(context, &mut plan, topic).await);
    }
    Ok(Begun { silent: matches!(plan.acks, Ok(Acks::None)), topics })
}

/// Waits for what was submitted.
pub(crate) async fn answer<E: Env>(context: &Context<'_, E>, begun: Begun) -> Outcome<FileOf<E>> {
    let mut failed = false;
    let mut done = Topics::<Produced, (Refused, Place)>::new();
    for OfTopic { name, id, parts } in begun.topics {
        let mut outcomes = SmallVec::with_capacity(parts.len());
        for Part { index, id: place, outcome } in parts {
            let outcome = match outcome {
                Ok(submitted) => {
                    context.shared.broker.proven(submitted).await.map_err(Refused::There)
                },
                Err(refused) => Err(refused),
            };
            let outcome = outcome.map_err(|refused| {
                let place = Place::of(context, place, &refused);
                (refused, place)
            });
            failed |= outcome.is_err();
            outcomes.push(Part { index, id: place, outcome });
        }
        done.push(OfTopic { name, id, parts: outcomes });
    }
    if begun.silent {
        if failed {
            context.probe().reached("produce_acks_0_failed");
            return Outcome::Close;
        }
        return Outcome::Silent;
    }
    if !failed {
        let version = context.version();
        return context.reply_by(|writer| write_accepted(writer, version, &done), Vec::new());
    }
    let mut answer = Answer { response: ProduceResponse::default(), leaders: BTreeSet::new() };
    for OfTopic { name, id, parts } in done {
        let parts = parts.into_iter();
        let responses =
            parts.map(|part| answer.partition(context.version(), part.index, part.outcome));
        let partition_responses = responses.collect();
        let name = text(&name).to_owned();
        answer.response.responses.push(TopicProduceResponse {
            name,
            topic_id: id,
            partition_responses,
        });
    }
    if !answer.leaders.is_empty() {
        let view = context.shared.broker.cluster();
        let endpoints = context.reachable(&view).filter(|at| answer.leaders.contains(&at.id));
        answer.response.node_endpoints = endpoints
            .map(|at| NodeEndpoint {
                node_id: at.id.0,
                host: at.host.to_owned(),
                port: at.port,
                rack: at.rack.map(str::to_owned),
            })
            .collect();
    }
    context.reply(&answer.response)
}

/// What holds for the whole request.
struct Plan<'a, E: Env> {
    body: &'a Bytes,
    together: &'a mut Together<E>,
    acks: Result<Acks, ErrorCode>,
    deadline: Instant,
    internal_allowed: bool,
    /// Refuses every partition.
    refused: Option<ErrorCode>,
}

impl<'a, E: Env> Plan<'a, E> {
    fn of(
        context: &Context<'_, E>,
        body: &'a Bytes,
        request: &ProduceView<'_>,
        together: &'a mut Together<E>,
    ) -> Self {
        let acks = match request.acks {
            0 => Ok(Acks::None),
            1 => Ok(Acks::Leader),
            -1 => Ok(Acks::All),
            _ => Err(ErrorCode::INVALID_REQUIRED_ACKS),
        };
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let unnamed = request.transactional_id.is_none() && has_transactional(request);
        if unnamed {
            context.probe().reached("produce_transactional_without_id");
        }
        Self {
            body,
            together,
            acks,
            deadline: context.begun.after(timeout),
            internal_allowed: context.client_id() == ADMIN_CLIENT,
            refused: unnamed.then_some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        }
    }
}

/// By the headers alone: what stands behind them is looked at when it is submitted.
fn has_transactional(request: &ProduceView<'_>) -> bool {
    let mut parts = request.topics.clone().flat_map(|topic| topic.partitions);
    let transactional = |records: &[u8]| {
        BatchHeader::parse(records).is_ok_and(|header| header.attributes.is_transactional())
    };
    parts.any(|part| part.records.is_some_and(transactional))
}

/// Submits the batches of one topic, in order.
async fn submit_topic<E: Env>(
    context: &Context<'_, E>,
    plan: &mut Plan<'_, E>,
    topic: ProduceTopicView<'_>,
) -> OfTopic<Submitted> {
    let by_id = context.version() >= TOPIC_ID_VERSION_MIN;
    let view = context.shared.broker.cluster();
    let found = if by_id {
        let known = view.by_id.get(&TopicId(topic.topic_id));
        known.map(|known| known.id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
    } else {
        let known = view.topics.get(topic.name);
        known.map(|known| known.id).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    };
    if found.is_err() {
        context.probe().reached("produce_unknown_topic");
    }
    let mut parts = SmallVec::with_capacity(topic.partitions.len());
    for part in topic.partitions {
        let index = part.index;
        let progress = match (plan.refused, found) {
            (Some(error), _) | (None, Err(error)) => Err(Refused::Here(error)),
            (None, Ok(id)) => submit(context, plan, &view, id, part).await,
        };
        let id = found.ok().map(|topic| PartitionId { topic, index: PartitionIndex(index) });
        parts.push(Part { index, id, outcome: progress });
    }
    let name = plan.body.slice_ref(topic.name.as_bytes());
    OfTopic { name, id: topic.topic_id, parts }
}

/// A name that was text when it came in.
fn text(name: &Bytes) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

/// The body of an answer in which every batch was appended, without building it first: this is what
/// brokers do most.
fn write_accepted(
    writer: &mut Writer,
    version: i16,
    topics: &[OfTopic<Produced, (Refused, Place)>],
) -> Result<(), EncodeError> {
    let flexible = version >= FLEXIBLE_VERSION_MIN;
    writer.length(Some(topics.len()), flexible)?;
    for topic in topics {
        if version < TOPIC_ID_VERSION_MIN {
            writer.string(text(&topic.name), flexible)?;
        } else {
            writer.uuid(topic.id);
        }
        writer.length(Some(topic.parts.len()), flexible)?;
        for Part { index, outcome, .. } in &topic.parts {
            let Ok(produced) = outcome else { unreachable!("every batch was appended") };
            writer.i32(*index);
            writer.i16(ErrorCode::NONE.0);
            writer.i64(produced.base_offset.0);
            writer.i64(produced.log_append_time.map_or(-1, |time| time.0));
            if version >= LOG_START_VERSION_MIN {
                writer.i64(produced.log_start.0);
            }
            if version >= RECORD_ERRORS_VERSION_MIN {
                writer.length(Some(0), flexible)?;
                writer.nullable_string(None, flexible)?;
            }
            if flexible {
                writer.uvarint(0);
            }
        }
        if flexible {
            writer.uvarint(0);
        }
    }
    writer.i32(0);
    if flexible {
        writer.uvarint(0);
    }
    Ok(())
}

async fn submit<E: Env>(
    context: &Context<'_, E>,
    plan: &mut Plan<'_, E>,
    view: &ClusterView,
    topic: TopicId,
    part: ProducePartitionView<'_>,
) -> Result<Submitted, Refused> {
    let index = PartitionIndex(part.index);
    if view.by_id.get(&topic).is_none_or(|topic| topic.partition(index).is_none()) {
        context.probe().reached("produce_unknown_partition_of_topic");
        return Err(Refused::Here(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }
    let batch = plan.body.slice_ref(part.records.unwrap_or_default());
    let compression = check(context, &batch)?;
    // A batch that has to be opened may be much more inside.
    let weight = if compression == Compression::None { 1 } else { OPENING_WORK };
    let together = &mut *plan.together;
    together.work = together.work.saturating_add(batch.len().saturating_mul(weight));
    if together.work >= TURN_WORK || context.probe().buggify("short_turns") {
        context.probe().reached("produce_turn_ended");
        together.work = 0;
        together.write();
        context.shared.env.yield_now().await;
    }
    let acks = plan.acks.map_err(|error| {
        context.probe().reached("produce_invalid_acks");
        Refused::Here(error)
    })?;
    let wish = Produce {
        partition: PartitionId { topic, index },
        acks,
        deadline: plan.deadline,
        batch: own(batch, plan.body.len()),
        internal_allowed: plan.internal_allowed,
    };
    context.shared.broker.submit(wish, &mut plan.together.held).await.map_err(Refused::There)
}

/// The batch, copied if it would keep a much larger request in memory.
fn own(batch: Bytes, request_bytes: usize) -> Bytes {
    let mostly_else = batch.len().saturating_mul(REQUEST_SHARE_MAX) < request_bytes;
    if batch.len() >= SHARED_BYTES_MIN && mostly_else {
        return Bytes::copy_from_slice(&batch);
    }
    batch
}

/// What Kafka checks before it looks at `acks`.
fn check<E: Env>(context: &Context<'_, E>, bytes: &Bytes) -> Result<Compression, Refused> {
    let batch = exactly_one(bytes).map_err(|error| {
        context.probe().reached("produce_not_one_batch");
        Refused::Batch(error)
    })?;
    let compression = batch.header().attributes.compression().unwrap_or_default();
    if compression == Compression::Zstd && context.version() < ZSTD_VERSION_MIN {
        context.probe().reached("produce_zstd_too_early");
        return Err(Refused::Here(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
    }
    Ok(compression)
}

/// The response under construction, and the leaders it points to.
struct Answer {
    response: ProduceResponse,
    leaders: BTreeSet<BrokerId>,
}

impl Answer {
    fn partition(
        &mut self,
        version: i16,
        index: i32,
        outcome: Result<Produced, (Refused, Place)>,
    ) -> PartitionProduceResponse {
        match outcome {
            Ok(produced) => PartitionProduceResponse {
                index,
                base_offset: produced.base_offset.0,
                log_append_time_ms: produced.log_append_time.map_or(-1, |time| time.0),
                log_start_offset: produced.log_start.0,
                ..PartitionProduceResponse::default()
            },
            Err((Refused::Here(error), _)) => refused(index, error, None),
            Err((Refused::Batch(error), _)) => refused(index, ErrorCode::from(&error), None),
            Err((Refused::There(error), place)) => {
                let mut response = refused(index, ErrorCode::from(&error), own_words(&error));
                response.log_start_offset = place.log_start.map_or(-1, |start| start.0);
                if let ProduceError::Batch(BatchError::Faults(faults)) = &error {
                    response.record_errors = record_errors(faults, &place.name, index);
                    response.error_message = Some(summary(faults, &response.record_errors));
                }
                if let ProduceError::NotLeader { leader: Some(leader), epoch } = error
                    && version >= LEADER_VERSION_MIN
                {
                    self.leaders.insert(leader);
                    response.current_leader =
                        LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch.0 };
                }
                response
            },
        }
    }
}

fn refused(
    index: i32,
    error: ErrorCode,
    error_message: Option<String>,
) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: error.0,
        base_offset: -1,
        error_message,
        ..PartitionProduceResponse::default()
    }
}

/// What an error tells of the partition it is about.
struct Place {
    name: String,
    log_start: Option<Offset>,
}

impl Place {
    /// As Kafka does: the log's start where the log was asked and the batch is to blame, the topic's
    /// name where records are.
    fn of<E: Env>(context: &Context<'_, E>, id: Option<PartitionId>, refused: &Refused) -> Self {
        let nothing = Self { name: String::new(), log_start: None };
        let (Some(id), Refused::There(error)) = (id, refused) else { return nothing };
        let broker = &context.shared.broker;
        let blames_batch = match error {
            ProduceError::Batch(error) => !matches!(
                error.refusal(),
                Refusal::Corrupt | Refusal::TooLarge | Refusal::UnsupportedCompression
            ),
            ProduceError::OutOfOrderSequence | ProduceError::ProducerFenced => true,
            _ => false,
        };
        if !blames_batch {
            return nothing;
        }
        let view = broker.cluster();
        let name = view.by_id.get(&id.topic).map(|topic| topic.name.to_string());
        Self { name: name.unwrap_or_default(), log_start: broker.log_start(&id) }
    }
}

/// What is said beyond the number. Kafka says nothing; we do where the broker itself is in trouble.
fn own_words(error: &ProduceError) -> Option<String> {
    match error {
        ProduceError::Transactional
        | ProduceError::StorageFailed
        | ProduceError::StorageFull
        | ProduceError::Overloaded => Some(error.to_string()),
        ProduceError::UnknownPartition
        | ProduceError::NotLeader { .. }
        | ProduceError::InternalTopic
        | ProduceError::Batch(_)
        | ProduceError::TooLarge { .. }
        | ProduceError::LargerThanSegment { .. }
        | ProduceError::OutOfOrderSequence
        | ProduceError::ProducerFenced
        | ProduceError::NotEnoughReplicas
        | ProduceError::TimedOut
        | ProduceError::Stopping => None,
    }
}

/// Which records of a batch are at fault (KIP-467), in Kafka's words.
fn record_errors(faults: &[Fault], topic: &str, partition: i32) -> Vec<BatchIndexAndErrorMessage> {
    let described = faults.iter().map(|fault| {
        let why = match fault.kind {
            FaultKind::NoKey => format!(
                "Compacted topic cannot accept message without key in topic partition {topic}-{partition}"
            ),
            FaultKind::Timestamp { at, earliest, latest } => format!(
                "Timestamp {at} of message with offset {} is out of range. The timestamp should be within [{earliest}, {latest}]",
                fault.index
            ),
        };
        BatchIndexAndErrorMessage {
            batch_index: fault.index,
            batch_index_error_message: Some(why),
        }
    });
    described.collect()
}

/// What Kafka says of all of them together.
fn summary(faults: &[Fault], errors: &[BatchIndexAndErrorMessage]) -> String {
    if faults.iter().any(|fault| matches!(fault.kind, FaultKind::Timestamp { .. })) {
        return "One or more records have been rejected due to invalid timestamp".to_owned();
    }
    let first = errors.iter().take(3).map(|error| {
        let why = error.batch_index_error_message.as_deref().unwrap_or_default();
        format!("RecordError(batchIndex={}, message='{why}')", error.batch_index)
    });
    let first: Vec<String> = first.collect();
    format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
        errors.len(),
        first.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_written_at_once_is_the_one_that_would_be_built() {
        use base::{Offset, Timestamp};
        use protocol::{ApiKey, Wire, frame};
        use smallvec::smallvec;

        let produced = |offset, time| Produced {
            base_offset: Offset(offset),
            log_append_time: time,
            log_start: Offset(3),
        };
        for (first, last) in [(5, None), (1 << 40, Some(Timestamp(77)))] {
            let part = |index, produced| Part { index, id: None, outcome: Ok(produced) };
            let parts = smallvec![part(0, produced(first, last)), part(7, produced(9, None))];
            let id = Uuid([5; 16]);
            let topics = [OfTopic { name: Bytes::from_static(b"a topic"), id, parts }];
            let mut answer =
                Answer { response: ProduceResponse::default(), leaders: BTreeSet::new() };
            for version in 3..=13 {
                let partition_responses = [(0, produced(first, last)), (7, produced(9, None))]
                    .into_iter()
                    .map(|(index, produced)| answer.partition(version, index, Ok(produced)))
                    .collect();
                let name = "a topic".to_owned();
                let topic = TopicProduceResponse { name, topic_id: id, partition_responses };
                let response = ProduceResponse { responses: vec![topic], ..Default::default() };
                let built =
                    frame::framed(ApiKey::Produce, version, 1, |w| response.encode(w, version));
                let written = frame::framed(ApiKey::Produce, version, 1, |w| {
                    write_accepted(w, version, &topics)
                });
                assert_eq!(written, built, "version {version}");
            }
        }
    }

    #[test]
    fn a_batch_never_keeps_a_much_larger_request_in_memory() {
        let request = Bytes::from(vec![0; 1024 * 1024]);
        let shares = |batch: &Bytes, kept: &Bytes| batch.as_ptr() == kept.as_ptr();

        let most = request.slice(..512 * 1024);
        let least = request.slice(..SHARED_BYTES_MIN);

        assert!(shares(&most, &own(most.clone(), request.len())));
        assert!(!shares(&least, &own(least.clone(), request.len())));
    }
}
