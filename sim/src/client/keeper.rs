//! The keeper: writes a compacted topic, one that is deleted from the front, and in some seeds one
//! that is both, and reads them.
//!
//! Invariants: every record has a number of its own, in a header, and is sent once, but for those of
//! an idempotent keeper ([`once`]): what is not answered may be there or not; the history knows what
//! is sent before it is. A third of the batches are compressed.

mod once;

use base::{Duration, Timestamp, Uuid};
use bytes::Bytes;
use env::Env;
use protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use protocol::messages::metadata_request::MetadataRequest;
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use records::{BatchBuilder, Compression, Header, NewRecord, Producer, Record};

use super::Job;
use super::connection::{CallError, Connection};
use super::consumer::fetch_request;
use super::errors::{
    CORRUPT_MESSAGE, NONE, OFFSET_OUT_OF_RANGE, TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC_OR_PARTITION,
    is_retriable,
};
use crate::check::{EXPIRES_MS, Row, Rules, TableRecord};
use crate::fault::BROKER;
use crate::world::{Dice, SimEnv, digest};

const TIMEOUT: Duration = Duration::from_millis(2_000);
/// The compacted topic.
pub const TABLE: &str = "table";
/// The topic whose records are deleted.
pub const BRIEF: &str = "brief";
/// A compacted topic whose records are deleted as well.
pub const BOTH: &str = "both";
/// Topics whose records nobody deletes: the coordinators', and one that never exists.
const INTERNAL: &str = "__consumer_offsets";
const NOBODY: &str = "nobody";
/// Long enough that it does not pass in any universe, and short enough that it does.
const LONG_MS: &str = "3600000";
const SHORT_MS: &str = "200";
/// Per mille of batches that are compressed.
const COMPRESSED: u32 = 333;
/// Keys of the table.
const KEYS: u64 = 6;
/// Steps of the keeper.
const STEPS: u64 = 160;
/// Fetches that may fail before a read is given up; what it would have shown the next one shows.
const READ_IN_VAIN_MAX: u32 = 8;
/// Reads that may be given up once everything is quiet, one after the other.
const READS_IN_VAIN_MAX: u32 = 100;

struct Keeper {
    job: Job,
    env: SimEnv,
    dice: Dice,
    /// How each batch is compressed.
    codecs: Dice,
    connection: Connection,
    table: Rules,
    brief: Rules,
    both: Rules,
    /// Which acknowledgement it asks for.
    acks: i16,
    /// The number of the next record.
    next: u64,
    /// Where a fetch last failed, and with which error; at -1 where the topic begins was asked for.
    failed: Option<(i64, i16)>,
    /// Who writes to the compacted topic, if that is an idempotent producer.
    once: once::Once,
}

/// Works on both topics for a while.
pub async fn keeper(job: Job, env: SimEnv) {
    job.topic().await;
    let mut keeper = Keeper::new(job, env);
    // What an earlier process asked for went to a broker that was there by now.
    keeper.job.history.table_deletes_abandoned(keeper.job.world.incarnation(BROKER));
    keeper.create().await;
    for _ in 0..STEPS {
        keeper.step().await;
        let millis = keeper.dice.between(1, 40);
        keeper.env.sleep(Duration::from_millis(millis)).await;
    }
}

/// Reads both topics once more, once everything is quiet.
pub async fn read_tables(job: Job, env: SimEnv) {
    let mut keeper = Keeper::new(job, env);
    // The cleaner has had its time by then; the second read sees what it did.
    for _ in 0..2 {
        keeper.env.sleep(Duration::from_millis(500)).await;
        for topic in [TABLE, BRIEF, BOTH] {
            if !keeper.read_at_last(topic).await {
                return;
            }
        }
    }
}

impl Keeper {
    /// Reads a topic, if it is there, as often as it takes. False if that never works out.
    async fn read_at_last(&mut self, topic: &'static str) -> bool {
        let mut in_vain = 0;
        while self.job.history.is_table_known(topic) && !self.read(topic).await {
            self.pause().await;
            in_vain += 1;
            if in_vain > READS_IN_VAIN_MAX {
                let code = self.failed;
                // What a drive lied about is damage that no start has to find, or has cost the topic.
                let is_told =
                    matches!(code, Some((_, CORRUPT_MESSAGE | UNKNOWN_TOPIC_OR_PARTITION)));
                let excused = is_told && self.job.world.lie_came_true();
                self.job.world.check("damage-is-told", excused, || {
                    format!("{topic} cannot be read to its end; the last error was {code:?}")
                });
                return false;
            }
        }
        true
    }

    fn new(job: Job, env: SimEnv) -> Self {
        // The same in every life of the keeper.
        let mut rules = job.world.dice("rules of the keeper");
        let table = Rules {
            tombstones_go: rules.chance(500),
            too_young: rules.chance(200),
            expires: false,
            compacted: true,
        };
        let brief = Rules { expires: rules.chance(300), compacted: false, ..table };
        let both = Rules { expires: rules.chance(500), ..table };
        let incarnation = u64::from(env.process().incarnation);
        let dice = job.world.dice(&format!("keeper {} {incarnation}", job.id));
        let codecs = job.world.dice(&format!("codecs of the keeper {} {incarnation}", job.id));
        let connection = Connection::new(env.clone(), BROKER, "keeper".into());
        let acks = job.acks(&format!("keeper {incarnation}"));
        let (next, once) = (incarnation << 32, once::Once::default());
        let failed = None;
        Self { job, env, dice, codecs, connection, table, brief, both, acks, next, failed, once }
    }

    fn rules(&self, topic: &str) -> Rules {
        match topic {
            TABLE => self.table,
            BOTH => self.both,
            _ => self.brief,
        }
    }

    async fn pause(&mut self) {
        let millis = self.dice.between(10, 100);
        self.env.sleep(Duration::from_millis(millis)).await;
    }

    async fn create(&mut self) {
        let pick = |short| if short { SHORT_MS } else { LONG_MS };
        let lag = if self.table.too_young { LONG_MS } else { "0" };
        let compacted = |policy| {
            vec![
                ("cleanup.policy", policy),
                ("min.cleanable.dirty.ratio", "0.01"),
                ("delete.retention.ms", pick(self.table.tombstones_go)),
                ("min.compaction.lag.ms", lag),
            ]
        };
        let expires = EXPIRES_MS.to_string();
        let kept = |short: bool| if short { expires.as_str() } else { LONG_MS };
        let brief = vec![("retention.ms", kept(self.brief.expires))];
        let mut topics = vec![(TABLE, compacted("compact")), (BRIEF, brief)];
        if self.job.work.both {
            let mut both = compacted("compact,delete");
            both.push(("retention.ms", kept(self.both.expires)));
            topics.push((BOTH, both));
        }
        for (name, configs) in topics {
            self.job.history.topic_wished(name, true);
            let id = self.create_one(name, &configs).await;
            self.job.history.topic_settled(name, true);
            self.job.history.table_known(name, id, self.rules(name));
        }
    }

    async fn create_one(&mut self, name: &str, configs: &[(&str, &str)]) -> Uuid {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        };
        let mut configs: Vec<_> = configs.iter().map(config).collect();
        configs.push(config(&("gregor.durability", "fsync")));
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs,
            ..CreatableTopic::default()
        };
        let ask =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false };
        loop {
            let answer = self.connection.call(5, &ask, TIMEOUT).await.ok();
            let code = answer.and_then(|answer| answer.topics.first().map(|t| t.error_code));
            if let Some(NONE | TOPIC_ALREADY_EXISTS) = code
                && let Some(id) = self.id_of(name).await
            {
                return id;
            }
            self.pause().await;
        }
    }

    async fn id_of(&mut self, name: &str) -> Option<Uuid> {
        let ask = MetadataRequest { topics: None, ..MetadataRequest::default() };
        let answer = self.connection.call(12, &ask, TIMEOUT).await.ok()?;
        let found = answer.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
        found.map(|topic| topic.topic_id)
    }

    async fn step(&mut self) {
        if self.job.work.both && self.dice.chance(300) {
            return match self.dice.below(10) {
                0 => drop(self.read(BOTH).await),
                1 => self.delete_records_of(BOTH, 0).await,
                _ => self.produce(BOTH).await,
            };
        }
        match self.dice.below(20) {
            0 => drop(self.read(TABLE).await),
            1 => drop(self.read(BRIEF).await),
            2 | 3 => self.delete_records().await,
            4..=7 => self.produce(BRIEF).await,
            _ => self.produce(TABLE).await,
        }
    }

    async fn produce(&mut self, topic: &'static str) {
        // Others write, too, so that there is something behind its last batch.
        if topic == TABLE && self.job.work.keeper_ids && self.dice.chance(400) {
            return self.produce_once().await;
        }
        let Some((bytes, sent)) = self.batch(topic, None) else { return };
        let told = self.job.history.table_told(topic);
        match self.send(topic, bytes).await {
            Some((NONE, base)) => self.acked(topic, &sent, base, told),
            Some((code, _)) if !is_retriable(code) => self.unexpected("Produce", code),
            Some(_) | None => {},
        }
    }

    /// `told` is from before they were sent.
    fn acked(&self, topic: &'static str, numbers: &[u64], base: i64, told: u64) {
        for row in numbers.iter().copied().zip(base..) {
            self.job.history.table_acked(&self.job.world, topic, row, told);
        }
    }

    /// A batch of new records, which the history knows from now on, and their numbers.
    fn batch(
        &mut self,
        topic: &'static str,
        producer: Option<Producer>,
    ) -> Option<(Bytes, Vec<u64>)> {
        let mut batch = BatchBuilder::new().compression(self.codec());
        if let Some(producer) = producer {
            batch = batch.producer(producer);
        }
        let mut sent = Vec::new();
        for _ in 0..self.dice.between(1, 2) {
            let key = u8::try_from(self.dice.below(KEYS)).unwrap_or(0);
            let tombstone = self.dice.chance(250);
            let number = self.next;
            self.next += 1;
            let value = value_of(number, self.dice.index(60));
            let of_number = number.to_be_bytes();
            let header = [Header { key: b"n", value: Some(&of_number) }];
            let record = NewRecord {
                timestamp: Timestamp(self.env.wall().0),
                key: Some(std::slice::from_ref(&key)),
                value: (!tombstone).then_some(&value[..]),
                headers: &header,
            };
            batch.push(&record).ok()?;
            sent.push(number);
            let made = record.timestamp.0;
            let sent = TableRecord { key, tombstone, made, value: value_digest(record.value) };
            self.job.history.table_sent(&self.job.world, topic, number, sent);
        }
        Some((batch.finish_bytes().ok()?, sent))
    }

    fn codec(&mut self) -> Compression {
        const CODECS: [Compression; 4] =
            [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        if self.codecs.chance(COMPRESSED) { *self.codecs.pick(&CODECS) } else { Compression::None }
    }

    /// Sends a batch. Returns what it was answered with: an error code and the first offset.
    async fn send(&mut self, topic: &'static str, bytes: Bytes) -> Option<(i16, i64)> {
        let data = PartitionProduceData { index: 0, records: bytes.into() };
        let ask = ProduceRequest {
            acks: self.acks,
            timeout_ms: 1_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let answer = self.connection.call(9, &ask, TIMEOUT).await.ok()?;
        let first = answer.responses.into_iter().next()?;
        let part = first.partition_responses.into_iter().next()?;
        Some((part.error_code, part.base_offset))
    }

    /// Deletes some records of the brief topic, and must not be able to of the table.
    async fn delete_records(&mut self) {
        let topic = match self.dice.below(10) {
            0 => TABLE,
            1 => INTERNAL,
            2 => NOBODY,
            _ => BRIEF,
        };
        let partition_index = if self.dice.chance(50) { 9 } else { 0 };
        self.delete_records_of(topic, partition_index).await;
    }

    async fn delete_records_of(&mut self, topic: &'static str, partition_index: i32) {
        const POLICY_VIOLATION: i16 = 44;
        const INVALID_TOPIC_EXCEPTION: i16 = 17;
        let owed = self.job.history.table_owed(topic);
        let upto = match self.dice.below(4) {
            0 => None,
            _ => Some(owed.start() + i64::try_from(self.dice.below(8)).unwrap_or(0)),
        };
        let is_ours = matches!((topic, partition_index), (BRIEF | BOTH, 0));
        if is_ours {
            self.job.history.table_delete_asked(topic, upto);
        }
        let ask = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: topic.into(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index,
                    offset: upto.unwrap_or(-1),
                }],
            }],
            timeout_ms: 1_000,
        };
        let version = *self.dice.pick(&[0, 1, 2]);
        let answer = self.connection.call(version, &ask, TIMEOUT).await;
        if is_ours {
            let unknown = matches!(answer, Err(CallError::Unknown));
            let upto = unknown.then(|| self.job.world.incarnation(BROKER));
            self.job.history.table_delete_ended(topic, upto);
        }
        let Ok(answer) = answer else { return };
        let first = answer.topics.into_iter().next();
        let Some(part) = first.and_then(|topic| topic.partitions.into_iter().next()) else {
            return;
        };
        match (topic, part.error_code) {
            (BRIEF | BOTH, NONE) => {
                let reached = upto.is_none_or(|upto| part.low_watermark >= upto);
                self.job.world.check("log-start-stays", reached, || {
                    format!("deleted below {upto:?}, the answer is {}", part.low_watermark)
                });
                let rules = self.rules(topic);
                let (world, start) = (&self.job.world, part.low_watermark);
                self.job.history.table_start(world, topic, &owed, start, rules);
            },
            // There may be fewer records than were asked for.
            (BRIEF | BOTH, OFFSET_OUT_OF_RANGE)
            | (TABLE, POLICY_VIOLATION)
            | (INTERNAL, INVALID_TOPIC_EXCEPTION) => {},
            (_, code) if is_retriable(code) => {},
            (_, code) => self.unexpected("DeleteRecords", code),
        }
    }

    /// Where the topic begins now.
    async fn start(&mut self, topic: &'static str) -> Option<i64> {
        let part =
            ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: -2 };
        let ask = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic { name: topic.into(), partitions: vec![part] }],
            ..ListOffsetsRequest::default()
        };
        let answer = self.connection.call(5, &ask, TIMEOUT).await.ok()?;
        let part = answer.topics.first()?.partitions.first()?;
        if part.error_code != NONE {
            self.failed = Some((-1, part.error_code));
            return None;
        }
        Some(part.offset)
    }

    /// Reads a topic from its start to its end and has it judged. False if that did not work out.
    async fn read(&mut self, topic: &'static str) -> bool {
        let owed = self.job.history.table_owed(topic);
        let rules = self.rules(topic);
        let Some(start) = self.start(topic).await else { return false };
        self.job.history.table_start(&self.job.world, topic, &owed, start, rules);
        let (mut rows, mut next, mut vain) = (Vec::new(), start, 0);
        loop {
            let bytes = *self.dice.pick(&[1, 300, 1 << 20]);
            let mut ask = fetch_request(&[(0, next)].into(), bytes);
            ask.topics[0].topic = topic.into();
            let answer = self.connection.call(12, &ask, TIMEOUT).await.ok();
            let part = answer.and_then(|answer| answer.responses.into_iter().next());
            let part = part.and_then(|topic| topic.partitions.into_iter().next());
            if part.as_ref().is_some_and(|part| part.error_code == CORRUPT_MESSAGE)
                && let Some(behind) = self.job.history.table_damage_at(&self.job.world, topic, next)
            {
                next = behind;
                continue;
            }
            let failed = part.as_ref().filter(|part| part.error_code != NONE);
            self.failed = failed.map(|part| (next, part.error_code)).or(self.failed);
            let Some(part) = part.filter(|part| part.error_code == NONE) else {
                vain += 1;
                if vain > READ_IN_VAIN_MAX {
                    return false;
                }
                // Somebody may have deleted what was about to be read.
                if self.start(topic).await.is_some_and(|start| start > next) {
                    return false;
                }
                self.pause().await;
                continue;
            };
            let before = next;
            let found = part.records.as_bytes().cloned().unwrap_or_default();
            if let Err(why) = rows_of(found, &mut next, &mut rows) {
                self.job.world.check("fetched-batch", false, || format!("{topic}/{next}: {why}"));
                return true;
            }
            if next >= part.high_watermark {
                break;
            }
            if next == before {
                vain += 1;
                if vain > READ_IN_VAIN_MAX {
                    return false;
                }
            }
        }
        rows.retain(|row: &Row| row.offset >= start);
        let read = (start, &rows[..]);
        // What was deleted meanwhile is not owed any more.
        let Some(start_now) = self.start(topic).await else { return false };
        let read = (start_now.max(read.0), read.1);
        self.job.history.table_read(&self.job.world, topic, &owed, read, rules)
    }

    fn unexpected(&self, what: &str, code: i16) {
        self.job.world.check("errors", false, || format!("{what} of the keeper: {code}"));
    }
}

/// The number of a record that a keeper wrote.
pub fn number_of(record: &Record<'_>) -> Option<u64> {
    let mut headers = record.headers;
    let value = headers.next()?.value?;
    value.try_into().ok().map(u64::from_be_bytes)
}

/// What a record of that number holds: no other one's begins like it.
fn value_of(number: u64, len: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().rev().cycle().take(len).collect()
}

fn value_digest(value: Option<&[u8]>) -> u64 {
    digest(value.unwrap_or_default())
}

/// Adds the records of whole batches and moves `next` behind them.
fn rows_of(bytes: Bytes, next: &mut i64, rows: &mut Vec<Row>) -> Result<(), String> {
    for batch in records::batches(bytes) {
        // A fetch may be cut in the middle of its last batch.
        let Ok(batch) = batch else { break };
        batch.verify_crc().map_err(|error| error.to_string())?;
        let end = batch.header().next_offset().0;
        if end <= *next {
            return Err(format!("a batch that ends at {end}"));
        }
        *next = end;
        let set = batch.open(1 << 24).map_err(|error| error.to_string())?;
        for record in set.iter() {
            let record = record.map_err(|error| error.to_string())?;
            let number = number_of(&record);
            let key = record.key.and_then(|key| key.first()).copied();
            let (Some(number), Some(key)) = (number, key) else {
                return Err("a record that no client wrote".into());
            };
            let (offset, tombstone) = (record.offset.0, record.value.is_none());
            let (made, value) = (record.timestamp.0, value_digest(record.value));
            let record = TableRecord { key, tombstone, made, value };
            rows.push(Row { offset, number, record });
        }
    }
    Ok(())
}
