//! A producer, idempotent or plain: batches under way, sent again until their outcome is known.
//!
//! Invariants: a record has one number for ever and is never put into two batches; an idempotent
//! batch is sent again unchanged, and those of a partition in the order in which they were made; a
//! new producer id is asked for only when nothing of the old one is under way; what cannot be known
//! is told to the history as such. A plain producer has one batch under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{Duration, Instant, ProducerEpoch, ProducerId, Timestamp, Uuid};
use bytes::Bytes;
use env::Env;
use protocol::messages::init_producer_id_request::InitProducerIdRequest;
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use records::header::sequence_after;
use records::{BatchBuilder, Compression, NewRecord, Producer};

use super::connection::Connection;
use super::errors::{NONE, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID, may_be_refused};
use super::{Job, TOPIC};
use crate::check::{RecordId, Since};
use crate::fault::BROKER;
use crate::world::{Dice, SimEnv};

const PRODUCE_VERSIONS: &[i16] = &[3, 5, 7, 8, 9, 10, 12];
/// The first version that names a topic by its id alone.
const BY_ID: i16 = 13;
const TIMEOUT: Duration = Duration::from_millis(1_500);

struct Batch {
    partition: i32,
    ids: Vec<RecordId>,
    bytes: Bytes,
}

/// A batch on the wire, whose answer is awaited.
struct Flight {
    batch: u64,
    correlation: i32,
    deadline: Instant,
    /// What held before it was sent.
    since: Since,
}

struct Sender {
    job: Job,
    env: SimEnv,
    dice: Dice,
    connection: Connection,
    version: i16,
    /// Which acknowledgement it asks for.
    acks: i16,
    /// How many batches may be on the wire.
    in_flight: usize,
    /// Whether what is sent again is sent again one by one, as kafka-clients does; or else all of
    /// it in a row.
    patient: bool,
    identity: Option<(i64, i16)>,
    /// A sequence was refused: nothing new until nothing is under way, then a new identity.
    refused: bool,
    /// The next sequence number of each partition.
    sequences: Vec<i32>,
    /// Batches whose outcome is not known, by the number of their first record.
    window: BTreeMap<u64, Batch>,
    /// Those of them that are on the wire, in the order in which they were sent.
    flights: VecDeque<Flight>,
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
    let mut version = *dice.pick(PRODUCE_VERSIONS);
    let who = format!("producer {} {incarnation}", job.id);
    if job.ways(&format!("{who}: version")).is_some_and(|mut dice| dice.chance(300)) {
        version = BY_ID;
    }
    let acks = if job.work.unacked && !job.is_idempotent() { 0 } else { job.acks(&who) };
    let connection = Connection::new(env.clone(), BROKER, format!("producer-{}", job.id));
    let client = u32::try_from(job.id).unwrap_or(0) * 1000 + incarnation;
    let idempotent = job.is_idempotent();
    let mut in_flight = 1;
    if idempotent {
        job.history.is_idempotent(client);
        in_flight += dice.index(job.work.in_flight.max(1));
    }
    let sequences = vec![first_sequence(&job); partitions];
    let mut sender = Sender {
        job,
        env,
        connection,
        version,
        acks,
        in_flight,
        patient: dice.chance(500),
        dice,
        identity: None,
        refused: false,
        sequences,
        window: BTreeMap::new(),
        flights: VecDeque::new(),
        client,
        next: 0,
    };
    loop {
        let acked = sender.job.history.progress(sender.job.id);
        if sender.window.is_empty() {
            if acked >= records {
                return;
            }
            if std::mem::take(&mut sender.refused) {
                sender.identity = None;
            }
            if idempotent && sender.identity.is_none() {
                sender.get_identity().await;
            }
        }
        sender.step(records.saturating_sub(acked)).await;
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
                    self.job.history.begins_anew(self.client);
                    self.identity = Some((id, epoch));
                    self.sequences.fill(first_sequence(&self.job));
                    return;
                },
                Ok(answer) if may_be_refused(&self.job.world, answer.error_code) => {},
                Ok(answer) => return self.unexpected("InitProducerId", answer.error_code),
                Err(_) => {},
            }
            self.pause().await;
        }
    }

    fn unexpected(&self, what: &str, code: i16) {
        self.job.world.check("errors", false, || {
            format!("{what} of producer {} was answered with {code}", self.job.id)
        });
    }

    /// Makes a batch of at most `left` records for one partition and puts it under way.
    fn make_batch(&mut self, partition: usize, left: u64) -> Option<u64> {
        let count = self.dice.between(1, self.job.work.batch_max.min(left));
        let mut builder = BatchBuilder::new();
        if self.dice.chance(100) {
            builder = builder.compression(Compression::Lz4);
        }
        if let Some((id, epoch)) = self.identity {
            builder = builder.producer(Producer {
                id: ProducerId(id),
                epoch: ProducerEpoch(epoch),
                base_sequence: Some(self.sequences[partition]),
            });
            let count = i32::try_from(count).ok()?;
            self.sequences[partition] = sequence_after(self.sequences[partition], count);
        }
        let key = self.next;
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = RecordId { client: self.client, number: self.next };
            self.next += 1;
            let mut value = id.to_bytes().to_vec();
            value.resize(value.len() + self.dice.index(200), b'.');
            let name = partition.is_multiple_of(2).then_some(&b"key"[..]);
            let timestamp = Timestamp(self.env.wall().0);
            let record = NewRecord { timestamp, key: name, value: Some(&value), headers: &[] };
            builder.push(&record).ok()?;
            ids.push(id);
        }
        let bytes = builder.finish_bytes().ok()?;
        let batch = Batch { partition: i32::try_from(partition).ok()?, ids, bytes };
        self.job.history.sent(batch.partition, &batch.ids);
        self.window.insert(key, batch);
        Some(key)
    }

    /// Sends one batch, if there is one to send, or takes in one answer.
    async fn step(&mut self, owed: u64) {
        if self.flights.len() < self.in_flight {
            if let Some(batch) = self.next_again() {
                return self.put_on_wire(batch).await;
            }
            if let Some(batch) = self.next_new(owed) {
                self.put_on_wire(batch).await;
                let think = self.dice.between(0, self.job.work.think_max_ms);
                self.env.sleep(Duration::from_millis(think)).await;
                // Some answers are taken in before all that may be is on the wire.
                if self.dice.chance(600) {
                    return;
                }
            }
        }
        self.take_answer().await;
    }

    fn is_flying(&self, batch: u64) -> bool {
        self.flights.iter().any(|flight| flight.batch == batch)
    }

    /// The next batch that has to be sent again.
    fn next_again(&self) -> Option<u64> {
        let mut held = BTreeSet::new();
        for (key, batch) in &self.window {
            let first = held.insert(batch.partition);
            if !self.is_flying(*key) && (first || !self.patient) {
                return Some(*key);
            }
        }
        None
    }

    /// A new batch, if one is owed and its partition has nothing that waits to be sent again.
    fn next_new(&mut self, owed: u64) -> Option<u64> {
        let under_way: usize = self.window.values().map(|batch| batch.ids.len()).sum();
        let left = owed.saturating_sub(u64::try_from(under_way).ok()?);
        if left == 0 || self.refused {
            return None;
        }
        // Those that were answered for.
        let known = usize::try_from(self.job.history.partitions_known()).unwrap_or(1);
        let partition = self.dice.index(known.clamp(1, self.sequences.len()));
        let waits = |(key, batch): (&u64, &Batch)| {
            usize::try_from(batch.partition) == Ok(partition) && !self.is_flying(*key)
        };
        if self.window.iter().any(waits) {
            return None;
        }
        self.make_batch(partition, left)
    }

    async fn put_on_wire(&mut self, batch: u64) {
        let unacked = self.acks == 0;
        let topic = self.job.history.topic_id();
        let ask = self.window.get(&batch).map(|batch| request(batch, topic, self.acks));
        let Some(ask) = ask else { return };
        let since = self.job.history.since();
        let deadline = self.env.now().after(TIMEOUT);
        match self.connection.send(self.version, &ask, deadline).await {
            Ok(_) if unacked => self.forget(batch),
            Ok(correlation) => {
                self.flights.push_back(Flight { batch, correlation, deadline, since });
            },
            Err(_) => self.connection_lost().await,
        }
    }

    /// A batch was sent that will not be answered: all that anybody will ever know of it.
    fn forget(&mut self, batch: u64) {
        let Some(batch) = self.window.remove(&batch) else { return };
        let count = u64::try_from(batch.ids.len()).unwrap_or(0);
        self.job.history.sent_unacked(batch.partition, batch.ids);
        self.job.history.add_progress(self.job.id, count);
    }

    /// Everything that was on the wire has to be sent again.
    async fn connection_lost(&mut self) {
        self.flights.clear();
        self.pause().await;
    }

    async fn take_answer(&mut self) {
        let Some(flight) = self.flights.pop_front() else { return };
        let (version, correlation) = (self.version, flight.correlation);
        let answer =
            self.connection.receive::<ProduceRequest>(version, correlation, flight.deadline).await;
        let Ok(answer) = answer else { return self.connection_lost().await };
        let first = answer.responses.into_iter().next();
        let part = first.and_then(|topic| topic.partition_responses.into_iter().next());
        if !part.is_some_and(|part| self.is_final(&flight, part.error_code, part.base_offset)) {
            self.pause().await;
        }
    }

    /// Takes in what was answered. Returns whether that was the last word on the batch.
    fn is_final(&mut self, flight: &Flight, code: i16, base: i64) -> bool {
        let (world, history) = (self.job.world.clone(), self.job.history.clone());
        let Some(batch) = self.window.get(&flight.batch) else { return true };
        let partition = batch.partition;
        let mut before = self.window.range(..flight.batch);
        let is_first = !before.any(|(_, earlier)| earlier.partition == partition);
        match code {
            NONE => {
                history.acked(&world, partition, base, &batch.ids, flight.since);
                let count = u64::try_from(batch.ids.len()).unwrap_or(0);
                history.add_progress(self.job.id, count);
            },
            OUT_OF_ORDER_SEQUENCE_NUMBER | UNKNOWN_PRODUCER_ID if is_first => {
                history.sequence_refused(&world, partition, code, &batch.ids);
                self.refused = true;
            },
            OUT_OF_ORDER_SEQUENCE_NUMBER | UNKNOWN_PRODUCER_ID => return false,
            code if may_be_refused(&world, code) => return false,
            code => self.unexpected("Produce", code),
        }
        self.window.remove(&flight.batch);
        true
    }
}

/// Where the sequences of a new identity begin.
fn first_sequence(job: &Job) -> i32 {
    // A few batches before the largest.
    const BEFORE_WRAP: i32 = 30;
    if job.work.wraps { i32::MAX - BEFORE_WRAP } else { 0 }
}

fn request(batch: &Batch, topic_id: Uuid, acks: i16) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 1_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            topic_id,
            partition_data: vec![PartitionProduceData {
                index: batch.partition,
                records: batch.bytes.clone().into(),
            }],
        }],
    }
}
