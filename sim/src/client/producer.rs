//! A producer, idempotent or plain: one batch under way, sent again until its outcome is known.
//!
//! Invariants: a record has one number for ever and is never put into two batches; an idempotent
//! batch is sent again unchanged; what cannot be known is told to the history as such.

use base::{Duration, ProducerEpoch, ProducerId, Timestamp};
use bytes::Bytes;
use env::Env;
use protocol::messages::init_producer_id_request::InitProducerIdRequest;
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use records::{BatchBuilder, Compression, NewRecord, Producer};

use super::connection::Connection;
use super::errors::{NONE, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID, is_retriable};
use super::{Job, TOPIC};
use crate::check::RecordId;
use crate::fault::BROKER;
use crate::world::{Dice, FailureKind, SimEnv};

const PRODUCE_VERSIONS: &[i16] = &[3, 5, 7, 8, 9, 10, 12];
const TIMEOUT: Duration = Duration::from_millis(1_500);

struct Batch {
    partition: i32,
    ids: Vec<RecordId>,
    bytes: Bytes,
    sequence: Option<i32>,
}

struct Sender {
    job: Job,
    env: SimEnv,
    dice: Dice,
    connection: Connection,
    version: i16,
    identity: Option<(i64, i16)>,
    /// The next sequence number of each partition.
    sequences: Vec<i32>,
    /// Whose records these are: this process's, for an earlier one's may still be under way.
    client: u32,
    next: u64,
}

/// Produces until `records` of this producer are acknowledged, those of its earlier processes
/// included.
pub async fn producer(job: Job, env: SimEnv, records: u64) {
    job.topic().await;
    let incarnation = env.process().incarnation;
    let mut dice = job.world.dice(&format!("producer {} {incarnation}", job.id));
    let partitions = usize::try_from(job.work.partitions).unwrap_or(1);
    let version = *dice.pick(PRODUCE_VERSIONS);
    let name = format!("producer-{}", job.id);
    let connection = Connection::new(env.clone(), BROKER, name);
    let sequences = vec![0; partitions];
    let client = u32::try_from(job.id).unwrap_or(0) * 1000 + incarnation;
    let idempotent = job.is_idempotent();
    if idempotent {
        job.history.is_idempotent(client);
    }
    let identity = None;
    let mut sender =
        Sender { job, env, dice, connection, version, identity, sequences, client, next: 0 };
    loop {
        let acked = sender.job.history.progress(sender.job.id);
        if acked >= records {
            return;
        }
        if idempotent && sender.identity.is_none() {
            sender.get_identity().await;
        }
        let Some(batch) = sender.make_batch(records - acked) else { return };
        let count = sender.send(batch).await;
        sender.job.history.add_progress(sender.job.id, count);
        let think = sender.dice.between(0, sender.job.work.think_max_ms);
        sender.env.sleep(Duration::from_millis(think)).await;
    }
}

impl Sender {
    async fn pause(&mut self) {
        let millis = self.dice.between(5, 100);
        self.env.sleep(Duration::from_millis(millis)).await;
    }

    async fn get_identity(&mut self) {
        loop {
            let ask = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 60_000,
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdRequest::default()
            };
            match self.connection.call(3, &ask, TIMEOUT).await {
                Ok(answer) if answer.error_code == NONE => {
                    let (id, epoch) = (answer.producer_id, answer.producer_epoch);
                    self.job.history.producer_id_given(&self.job.world, id, epoch);
                    self.identity = Some((id, epoch));
                    self.sequences.fill(0);
                    return;
                },
                Ok(answer) if is_retriable(answer.error_code) => {},
                Ok(answer) => return self.unexpected("InitProducerId", answer.error_code),
                Err(_) => {},
            }
            self.pause().await;
        }
    }

    fn unexpected(&self, what: &str, code: i16) {
        let text = format!("errors: {what} of producer {} was answered with {code}", self.job.id);
        self.job.world.fail(FailureKind::Safety, text);
    }

    fn make_batch(&mut self, left: u64) -> Option<Batch> {
        let count = self.dice.between(1, self.job.work.batch_max.min(left));
        let partition = self.dice.index(self.sequences.len());
        let mut builder = BatchBuilder::new();
        if self.dice.chance(100) {
            builder = builder.compression(Compression::Lz4);
        }
        let sequence = self.identity.map(|(id, epoch)| {
            let base = self.sequences[partition];
            builder = builder.clone().producer(Producer {
                id: ProducerId(id),
                epoch: ProducerEpoch(epoch),
                base_sequence: Some(base),
            });
            base
        });
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = RecordId { client: self.client, number: self.next };
            self.next += 1;
            let mut value = id.to_bytes().to_vec();
            value.resize(value.len() + self.dice.index(200), b'.');
            let key = partition.is_multiple_of(2).then_some(&b"key"[..]);
            let timestamp = Timestamp(self.env.wall().0);
            let record = NewRecord { timestamp, key, value: Some(&value), headers: &[] };
            builder.push(&record).ok()?;
            ids.push(id);
        }
        let bytes = builder.finish_bytes().ok()?;
        Some(Batch { partition: i32::try_from(partition).ok()?, ids, bytes, sequence })
    }

    /// Sends until the outcome is known. Returns how many records were acknowledged.
    async fn send(&mut self, batch: Batch) -> u64 {
        let (world, history) = (self.job.world.clone(), self.job.history.clone());
        history.sent(batch.partition, &batch.ids);
        let count = u64::try_from(batch.ids.len()).unwrap_or(0);
        loop {
            let losses = history.losses();
            let outcome = self.connection.call(self.version, &request(&batch), TIMEOUT).await;
            let answered = outcome.ok().and_then(|answer| {
                let topic = answer.responses.into_iter().next()?;
                topic.partition_responses.into_iter().next()
            });
            let code = answered.as_ref().map(|answer| answer.error_code);
            match (answered, code) {
                (Some(answer), Some(NONE)) => {
                    let base = answer.base_offset;
                    history.acked(&world, batch.partition, base, &batch.ids, losses);
                    if batch.sequence.is_some() {
                        let at = usize::try_from(batch.partition).unwrap_or(0);
                        self.sequences[at] += i32::try_from(count).unwrap_or(0);
                    }
                    return count;
                },
                (_, Some(code))
                    if code == OUT_OF_ORDER_SEQUENCE_NUMBER || code == UNKNOWN_PRODUCER_ID =>
                {
                    history.sequence_refused(&world, batch.partition, code, &batch.ids);
                    self.identity = None;
                    return 0;
                },
                (_, Some(code)) if !is_retriable(code) => {
                    self.unexpected("Produce", code);
                    return 0;
                },
                _ => self.pause().await,
            }
        }
    }
}

fn request(batch: &Batch) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 1_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: batch.partition,
                records: batch.bytes.clone().into(),
            }],
            ..TopicProduceData::default()
        }],
    }
}
