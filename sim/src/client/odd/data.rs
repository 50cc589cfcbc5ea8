//! Produce, Fetch and ListOffsets as nobody should ask them.

use base::{ProducerEpoch, ProducerId, Timestamp};
use bytes::{Bytes, BytesMut};
use env::Env;
use protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::messages::produce_response::ProduceResponse;
use protocol::{Part, frame};
use records::header::{ATTRIBUTES_AT, CRC_AT, HEADER_LEN, crc32c};
use records::{BatchBuilder, Compression, NewRecord, Producer};

use super::{NO_ID, NOBODY, OWN, Odd, TIMEOUT};
use crate::client::errors::{NONE, OUT_OF_ORDER_SEQUENCE_NUMBER, is_retriable};

/// How many there are.
pub(super) const STEPS: usize = PRODUCE + FETCH + LIST;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const MESSAGE_TOO_LARGE: i16 = 10;
const RECORD_LIST_TOO_LARGE: i16 = 18;

const PRODUCE: usize = 17;
const FETCH: usize = 8;
const LIST: usize = 10;

pub(super) fn batch(builder: BatchBuilder, bytes: usize) -> Bytes {
    let value = vec![b'.'; bytes];
    let record =
        NewRecord { timestamp: Timestamp(0), key: None, value: Some(&value), headers: &[] };
    let mut builder = builder;
    builder.push(&record).ok().and_then(|_| builder.finish_bytes().ok()).unwrap_or_default()
}

/// A compressed batch whose CRC is right and whose block is not.
fn damaged_inside() -> Bytes {
    let mut bytes =
        BytesMut::from(&batch(BatchBuilder::new().compression(Compression::Lz4), 90)[..]);
    if let Some(at) = bytes.get_mut(HEADER_LEN) {
        *at ^= 1;
    }
    let crc = crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default());
    if let Some(at) = bytes.get_mut(CRC_AT..ATTRIBUTES_AT) {
        at.copy_from_slice(&crc.to_be_bytes());
    }
    bytes.freeze()
}

fn of_producer(epoch: i16, base: i32) -> BatchBuilder {
    // An id the broker never gave out: whoever begins with sequence 0 is welcome.
    let (id, epoch) = (ProducerId(1 << 40), ProducerEpoch(epoch));
    BatchBuilder::new().producer(Producer { id, epoch, base_sequence: Some(base) })
}

pub(super) fn produce(name: &str, index: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let part = PartitionProduceData { index, records: records.into() };
    let topic = TopicProduceData {
        name: name.into(),
        partition_data: vec![part],
        ..TopicProduceData::default()
    };
    ProduceRequest { transactional_id: None, acks, timeout_ms: 500, topic_data: vec![topic] }
}

fn code_of(answer: &ProduceResponse) -> Option<i16> {
    Some(answer.responses.first()?.partition_responses.first()?.error_code)
}

pub(super) fn fetch(name: &str, partition: i32, fetch_offset: i64, epoch: i32) -> FetchRequest {
    let part = FetchPartition {
        partition,
        current_leader_epoch: epoch,
        fetch_offset,
        partition_max_bytes: 1 << 16,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: name.into(), partitions: vec![part], ..FetchTopic::default() };
    FetchRequest {
        max_wait_ms: 10,
        max_bytes: 1 << 16,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

/// A position no log reaches, said to be behind a record of `epoch`.
fn fetched(epoch: i32) -> FetchRequest {
    let mut ask = fetch(OWN, 0, 1 << 40, -1);
    ask.topics[0].partitions[0].last_fetched_epoch = epoch;
    ask
}

impl Odd {
    pub(super) async fn data(&mut self, number: usize) {
        const AFTER_FETCH: usize = PRODUCE + FETCH;
        match number {
            AFTER_FETCH.. => self.list_offsets(number - AFTER_FETCH).await,
            PRODUCE.. => self.fetch(number - PRODUCE).await,
            _ => self.produce(number).await,
        }
    }

    async fn produce(&mut self, number: usize) {
        let good = batch(BatchBuilder::new(), 10);
        let bad_crc = {
            let mut bytes = BytesMut::from(&good[..]);
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            bytes.freeze()
        };
        let twice = Bytes::from([&good[..], &good[..]].concat());
        let (version, ask, allowed): (i16, _, &[i16]) = match number {
            0 => (9, produce(OWN, 0, -1, bad_crc), &[2]),
            1 => (9, produce(OWN, 0, -1, Bytes::new()), &[2, 42, 87]),
            2 => (9, produce(OWN, 0, -1, twice), &[87]),
            3 => (9, produce(OWN, 0, 5, good), &[21]),
            4 => (9, produce(NOBODY, 0, -1, good), &[3]),
            5 => (9, produce(OWN, 99, -1, good), &[3]),
            6 => (9, produce(OWN, 0, -1, batch(BatchBuilder::new(), 2 << 20)), {
                self.too_large(&[MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE])
            }),
            7 => (9, produce(OWN, 0, -1, batch(of_producer(0, 0).transactional(), 10)), &[53]),
            8 => {
                let mut ask = produce(OWN, 0, -1, batch(of_producer(0, 0).transactional(), 10));
                ask.transactional_id = Some("t".into());
                (9, ask, &[53])
            },
            9 => {
                let packed = batch(BatchBuilder::new().compression(Compression::Zstd), 10);
                (5, produce(OWN, 0, -1, packed), &[76])
            },
            // It may not be there yet.
            10 => (9, produce("__consumer_offsets", 0, -1, good), &[3, 17]),
            11 => return self.own_sequences().await,
            12 => (9, produce(OWN, 0, -1, damaged_inside()), &[87]),
            13 => return self.behind_a_damaged_first().await,
            14 => return self.larger_than_segment().await,
            15 => return self.more_than_the_budget().await,
            _ => return self.unacknowledged().await,
        };
        self.ask(version, &ask, code_of, allowed).await;
    }

    /// First, again, with a gap, with an older epoch. Nothing else is ever sent under this id, so that
    /// the first is new, or was taken in before.
    async fn own_sequences(&mut self) {
        let batches = [(1, 0), (1, 0), (1, 7), (0, 0)]
            .map(|(epoch, base)| batch(of_producer(epoch, base), 10));
        let Some(answers) = self.in_a_row(batches).await else { return };
        const AS_IT_SHOULD: [i16; 4] =
            [NONE, NONE, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH];
        let codes: Vec<i16> = answers.iter().map(|(code, _)| *code).collect();
        let in_one_place = answers[0].1 == answers[1].1;
        self.job.world.check("sequences", codes == AS_IT_SHOULD && in_one_place, || {
            format!("odd batches of one producer were answered with {answers:?}")
        });
    }

    /// Sends batches one by one. Returns how each was answered, code and offset, unless one was not or
    /// is to be sent again: answers on one connection are of one process of the broker.
    async fn in_a_row(&mut self, batches: [Bytes; 4]) -> Option<Vec<(i16, i64)>> {
        let mut answers = Vec::new();
        for records in batches {
            let ask = produce(OWN, 0, -1, records);
            let answer = self.connection.call(9, &ask, TIMEOUT).await.ok()?;
            let part = answer.responses.first()?.partition_responses.first()?;
            if is_retriable(part.error_code) {
                return None;
            }
            answers.push((part.error_code, part.base_offset));
        }
        Some(answers)
    }

    /// How a batch is answered that is too large, unless `otherwise`: an operator may have the broker
    /// compress it, and then it is not, or let larger ones in.
    fn too_large(&self, otherwise: &'static [i16]) -> &'static [i16] {
        if self.job.work.settings > 0 {
            &[NONE, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE]
        } else {
            otherwise
        }
    }

    /// One batch that no segment holds, unless a segment holds what no batch may have.
    async fn larger_than_segment(&mut self) {
        let segment = usize::try_from(self.job.work.segment_bytes).unwrap_or(usize::MAX);
        for _ in 0..if segment < 1 << 16 { 4 } else { 0 } {
            // Segments that are closed, so that retention has something to delete.
            let ask = produce(OWN, 0, -1, batch(BatchBuilder::new(), segment / 2));
            self.ask(9, &ask, code_of, &[NONE]).await;
        }
        let ask = produce(OWN, 0, -1, batch(BatchBuilder::new(), segment));
        let one: &'static [i16] =
            if segment < 1 << 20 { &[RECORD_LIST_TOO_LARGE] } else { &[MESSAGE_TOO_LARGE] };
        self.ask(9, &ask, code_of, self.too_large(one)).await;
    }

    /// Requests at a time that together are more than a tight broker holds.
    async fn more_than_the_budget(&mut self) {
        let ask = produce(OWN, 0, -1, batch(BatchBuilder::new(), 60_000));
        let mut sent = Vec::new();
        for number in 0..4 {
            let mut connection = self.other(&format!("large-{number}"));
            let deadline = self.env.now().after(TIMEOUT);
            if let Ok(correlation) = connection.send(9, &ask, deadline).await {
                sent.push((connection, correlation, deadline));
            }
        }
        for (mut connection, correlation, deadline) in sent {
            // Whatever a fault leaves of the answers.
            let _answer = connection.receive::<ProduceRequest>(9, correlation, deadline).await;
        }
    }

    /// What an unknown producer sends behind its first batch, which comes damaged, waits for it.
    async fn behind_a_damaged_first(&mut self) {
        let id = ProducerId((1 << 41) + i64::try_from(self.dice.index(1 << 30)).unwrap_or(0));
        let numbered = |base| {
            let (epoch, base_sequence) = (ProducerEpoch(0), Some(base));
            batch(BatchBuilder::new().producer(Producer { id, epoch, base_sequence }), 10)
        };
        let mut damaged = BytesMut::from(&numbered(0)[..]);
        if let Some(last) = damaged.last_mut() {
            *last ^= 1;
        }
        let batches = [damaged.freeze(), numbered(1), numbered(0), numbered(1)];
        let Some(answers) = self.in_a_row(batches).await else { return };
        let codes: Vec<i16> = answers.into_iter().map(|(code, _)| code).collect();
        const AS_IT_SHOULD: [i16; 4] = [2, OUT_OF_ORDER_SEQUENCE_NUMBER, NONE, NONE];
        self.job.world.check("sequences", codes == AS_IT_SHOULD, || {
            format!("odd batches behind a damaged first one were answered with {codes:?}")
        });
    }

    /// A refusal that cannot be answered closes the connection.
    async fn unacknowledged(&mut self) {
        let ask = produce(NOBODY, 0, 0, batch(BatchBuilder::new(), 10));
        let mut whole = BytesMut::new();
        for part in frame::request(9, 1, Some("odd"), &ask).unwrap_or_default() {
            if let Part::Bytes(bytes) = part {
                whole.extend_from_slice(&bytes);
            }
        }
        let answer = self.exchange(whole.freeze(), true).await.unwrap_or_default();
        self.job.world.check("errors", answer.is_empty(), || {
            format!("odd Produce without acks was answered with {} bytes", answer.len())
        });
    }

    async fn fetch(&mut self, number: usize) {
        let (version, ask, allowed): (i16, _, &[i16]) = match number {
            0 => (12, fetch(OWN, 0, 1 << 40, -1), &[1]),
            1 => (12, fetch(OWN, 0, 0, 1_000), &[75]),
            // A broker that started once only is still in the first epoch.
            2 => (12, fetch(OWN, 0, 0, 0), &[0, 1, 74]),
            3 => (12, fetch(NOBODY, 0, 0, -1), &[3]),
            // Read in an epoch that never was, and further in the first epoch than that went.
            4 => (12, fetched(1_000), &[1]),
            5 => return self.diverged().await,
            6 => {
                let mut ask = fetch(OWN, 0, 0, -1);
                ask.topics[0].topic_id = NO_ID;
                (13, ask, &[100])
            },
            _ => {
                let mut ask = fetch(OWN, 99, 0, -1);
                if self.dice.chance(500) {
                    (ask.session_id, ask.session_epoch) = (77, 5);
                }
                (12, ask, &[3, 70])
            },
        };
        let code = |answer: &protocol::messages::fetch_response::FetchResponse| {
            let first = answer.responses.first().and_then(|topic| topic.partitions.first());
            Some(first.map_or(answer.error_code, |part| part.error_code))
        };
        self.ask(version, &ask, code, allowed).await;
    }

    async fn diverged(&mut self) {
        let code = |answer: &protocol::messages::fetch_response::FetchResponse| {
            Some(answer.responses.first()?.partitions.first()?.error_code)
        };
        let Some(answer) = self.ask(12, &fetched(0), code, &[NONE]).await else { return };
        let part = answer.responses.first().and_then(|topic| topic.partitions.first());
        let told = part.filter(|part| part.error_code == NONE);
        let fits = told.is_none_or(|part| (0..1 << 40).contains(&part.diverging_epoch.end_offset));
        self.job.world.check("errors", fits, || {
            format!("odd Fetch beyond the end of epoch 0 was answered with {told:?}")
        });
    }

    async fn list_offsets(&mut self, number: usize) {
        let latest = (-1, -1, 0);
        let (name, (timestamp, epoch, partition), allowed): (_, _, &[i16]) = match number {
            0 => (OWN, latest, &[0]),
            1 => (OWN, (-2, -1, 0), &[0]),
            2 => (OWN, (-3, -1, 0), &[0]),
            3 => (OWN, (-4, -1, 0), &[0]),
            4 => (OWN, (0, -1, 0), &[0]),
            5 => (OWN, (-99, -1, 0), &[35]),
            6 => (OWN, (-1, 1_000, 0), &[75]),
            7 => (OWN, (-1, -1, 99), &[3]),
            8 => (NOBODY, latest, &[3]),
            _ => (OWN, latest, &[42]),
        };
        let part = ListOffsetsPartition {
            partition_index: partition,
            current_leader_epoch: epoch,
            timestamp,
        };
        let mut partitions = vec![part];
        if number + 1 == LIST {
            partitions.push(partitions[0].clone());
        }
        let topic = ListOffsetsTopic { name: name.into(), partitions };
        let ask = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic],
            ..ListOffsetsRequest::default()
        };
        let code = |answer: &protocol::messages::list_offsets_response::ListOffsetsResponse| {
            Some(answer.topics.first()?.partitions.first()?.error_code)
        };
        self.ask(8, &ask, code, allowed).await;
    }
}
