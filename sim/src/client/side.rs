//! Side topics at work: written to, read back by offset and by time, deleted while a write is under
//! way, and created anew under the same name.
//!
//! Invariants: nobody else writes there, and each life of a topic has records of its own; what is
//! not known to have happened is not held against the broker.

use base::Timestamp;
use env::Env;
use protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use records::{BatchBuilder, BatchView, NewRecord};

use super::admin::{Admin, TIMEOUT};
use super::connection::Connection;
use super::consumer::fetch_from;
use super::errors::NONE;
use crate::check::RecordId;
use crate::fault::BROKER;
use crate::world::digest;

/// Batches of one life at most.
const BATCHES_MAX: u64 = 5;
/// Records of one batch at most.
const RECORDS_MAX: u64 = 6;
/// Requests that may fail before this life is left alone.
const TRIES: u32 = 20;
/// The same of a long life, which has many segments.
const BATCHES_MANY: u64 = 30;
/// Between the timestamps of two records, milliseconds.
const APART_MS: i64 = 10;
/// A timestamp is off by up to half of so many of those, where they do not ascend.
const SPREAD: u64 = 17;
/// Times that are asked for.
const TIMES: u64 = 4;

/// What was done to one life of a topic.
pub(super) struct Life {
    name: String,
    /// The records' client: no other life has it.
    pub(super) tag: u32,
    next: u64,
    /// The life before, of which a batch may still be under way to whoever has the name by then.
    pub(super) earlier: Option<u32>,
    /// Acknowledged batches: first offset, numbers of the records.
    acked: Vec<(i64, Vec<u64>)>,
    /// Power losses when it began.
    losses: u64,
    /// Which acknowledgement its writers ask for.
    acks: i16,
    /// Batches at most.
    batches: u64,
    /// Whether timestamps do not ascend.
    mixed: bool,
}

impl Life {
    /// The timestamp of a record.
    fn time_of(&self, number: u64) -> i64 {
        let steps = i64::try_from(number).unwrap_or(0);
        let off = digest(format!("{} {number}", self.tag).as_bytes()) % SPREAD;
        let off = i64::try_from(off).unwrap_or(0) - i64::try_from(SPREAD / 2).unwrap_or(0);
        1_000_000 + APART_MS * (steps + if self.mixed { off } else { 0 })
    }
}

impl Admin {
    /// A life that begins now.
    pub(super) fn life(&mut self, name: &str) -> Life {
        self.lives += 1;
        let tag = 900_000 + self.env.process().incarnation * 1_000 + self.lives;
        let losses = self.job.history.losses();
        let mut ways = self.job.ways(&format!("life {tag}"));
        let is_long = ways.as_mut().is_some_and(|ways| ways.chance(300));
        Life {
            name: name.to_owned(),
            tag,
            next: 0,
            earlier: None,
            acked: Vec::new(),
            losses,
            acks: self.job.acks(&format!("life {tag}")),
            batches: if is_long { BATCHES_MANY } else { BATCHES_MAX },
            mixed: ways.is_some(),
        }
    }

    /// Writes some batches.
    pub(super) async fn fill(&mut self, life: &mut Life) {
        for _ in 0..self.dice.between(1, life.batches) {
            let (ask, numbers) = self.batch(life);
            let Ok(answer) = self.connection.call(9, &ask, TIMEOUT).await else {
                self.pause().await;
                continue;
            };
            let parts = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
            let acked = parts.filter(|part| part.error_code == NONE).map(|part| part.base_offset);
            life.acked.extend(acked.map(|base| (base, numbers.clone())));
        }
    }

    /// Sends a batch on a connection of its own and does not wait for what becomes of it.
    pub(super) async fn leave_under_way(&mut self, life: &mut Life) -> Connection {
        let mut other = Connection::new(self.env.clone(), BROKER, "side".into());
        let (ask, _) = self.batch(life);
        let deadline = self.env.now().after(TIMEOUT);
        if other.send(9, &ask, deadline).await.is_err() {
            self.pause().await;
        }
        other
    }

    fn batch(&mut self, life: &mut Life) -> (ProduceRequest, Vec<u64>) {
        let mut builder = BatchBuilder::new();
        let mut numbers = Vec::new();
        for _ in 0..self.dice.between(1, RECORDS_MAX) {
            let value = RecordId { client: life.tag, number: life.next }.to_bytes();
            let timestamp = Timestamp(life.time_of(life.next));
            let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
            if builder.push(&record).is_ok() {
                numbers.push(life.next);
            }
            life.next += 1;
        }
        let records = builder.finish_bytes().unwrap_or_default();
        let data = PartitionProduceData { index: 0, records: records.into() };
        let topic = TopicProduceData {
            name: life.name.clone(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let ask = ProduceRequest {
            transactional_id: None,
            acks: life.acks,
            timeout_ms: 1_000,
            topic_data: vec![topic],
        };
        (ask, numbers)
    }

    /// Reads all of it back and holds it against what was written.
    pub(super) async fn hold(&mut self, life: &Life) {
        let losses = self.job.history.losses();
        let Some(read) = self.read_back(life).await else { return };
        let world = self.job.world.clone();
        for (offset, id, time) in &read {
            let late = Some(id.client) == life.earlier;
            let ours = id.client == life.tag && id.number < life.next;
            world.check("side-content", late || ours, || {
                format!("{}/{offset}: {id} was never written to this topic", life.name)
            });
            let made = life.time_of(id.number);
            world.check("side-content", late || *time == made, || {
                format!("{}/{offset}: {id} was made at {made} and says {time}", life.name)
            });
        }
        // What a power loss or damage may have taken is not held here.
        let is_certain = self.job.work.fsync || self.job.history.losses() == life.losses;
        if !self.is_whole() || !(is_certain || life.mixed) {
            return;
        }
        for (base, numbers) in life.acked.iter().filter(|_| is_certain) {
            for (offset, number) in (*base..).zip(numbers) {
                let found =
                    read.iter().find(|(at, _, _)| *at == offset).map(|(_, id, _)| id.number);
                world.check("side-content", found == Some(*number), || {
                    format!("{}/{offset} was acked as {number}; it holds {found:?}", life.name)
                });
            }
        }
        if life.earlier.is_some() {
            return;
        }
        let times: Vec<(i64, i64)> = read.iter().map(|(at, _, time)| (*at, *time)).collect();
        let after = self.dice.below(life.next.max(1));
        self.hold_time(life, &times, life.time_of(after) - 1, losses).await;
        // From before the first to behind the last.
        let who = format!("life {} after {} at {}", life.tag, read.len(), world.now());
        let Some(mut ways) = self.job.ways(&who) else { return };
        for _ in 0..TIMES {
            let time = life.time_of(ways.below(life.next + 2));
            let off = i64::try_from(ways.below(3)).unwrap_or(0) - 1;
            self.hold_time(life, &times, time + off, losses).await;
        }
    }

    /// Whether nothing was damaged or lost that could be missing here.
    fn is_whole(&self) -> bool {
        crate::check::damages(&self.job.world) == 0
    }

    /// Offset, record and timestamp of everything below the high watermark. Nothing of a side topic
    /// is ever compacted or deleted, so that batches come without a gap.
    async fn read_back(&mut self, life: &Life) -> Option<Vec<(i64, RecordId, i64)>> {
        let (mut read, mut from) = (Vec::new(), 0);
        for _ in 0..TRIES {
            let ask = fetch_from(&life.name, &[(0, from)].into(), 1 << 20);
            let answer = self.connection.call(11, &ask, TIMEOUT).await.ok();
            let part = answer.and_then(|answer| {
                answer.responses.into_iter().flat_map(|topic| topic.partitions).next()
            });
            let Some(part) = part.filter(|part| part.error_code == NONE) else {
                self.pause().await;
                continue;
            };
            for batch in records::batches(part.records.as_bytes().cloned().unwrap_or_default()) {
                // A fetch may be cut in the middle of its last batch.
                let Ok(batch) = batch else { break };
                if let Err(why) = rows_of(&batch, from, &mut read) {
                    let what = format!("{}/{from} of {}: {why}", life.name, part.high_watermark);
                    self.job.world.check("fetched-batch", !self.is_whole(), || what);
                    return None;
                }
                from = batch.header().next_offset().0;
            }
            if from >= part.high_watermark {
                return Some(read);
            }
        }
        None
    }

    /// Asks for the first record at or after `time`; nothing was sent since `read` was, and `losses` is
    /// from before. What was sent before and never answered may have come since.
    async fn hold_time(&mut self, life: &Life, read: &[(i64, i64)], time: i64, losses: u64) {
        let partition = ListOffsetsPartition {
            partition_index: 0,
            timestamp: time,
            ..ListOffsetsPartition::default()
        };
        let topic = ListOffsetsTopic { name: life.name.clone(), partitions: vec![partition] };
        let ask = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic],
            ..ListOffsetsRequest::default()
        };
        let Ok(answer) = self.connection.call(5, &ask, TIMEOUT).await else { return };
        let Some(part) = answer.topics.iter().flat_map(|topic| &topic.partitions).next() else {
            return;
        };
        if part.error_code != NONE || self.job.history.losses() != losses {
            return;
        }
        let found = first_at(read, time);
        let first = found.map_or(-1, |(offset, _)| offset);
        let answered: usize = life.acked.iter().map(|(_, numbers)| numbers.len()).sum();
        let is_owed = u64::try_from(answered).is_ok_and(|answered| answered < life.next);
        let end = read.last().map_or(0, |(offset, _)| offset + 1);
        let came_late = is_owed && first == -1 && part.offset >= end;
        let is_right = part.offset == first && part.timestamp == found.map_or(-1, |(_, at)| at);
        self.job.world.check("by-time", is_right || came_late, || {
            format!(
                "{}: the first at {time} is {first}, and was given as {} of {}",
                life.name, part.offset, part.timestamp
            )
        });
    }
}

/// Adds offset, record and timestamp of each record of a batch that has to begin at `expected`.
fn rows_of(
    batch: &BatchView,
    expected: i64,
    rows: &mut Vec<(i64, RecordId, i64)>,
) -> Result<(), String> {
    batch.verify_crc().map_err(|error| error.to_string())?;
    let base = batch.header().base_offset.0;
    if base != expected {
        return Err(format!("a batch begins at {base}"));
    }
    let set = batch.open(1 << 24).map_err(|error| error.to_string())?;
    for record in set.iter() {
        let record = record.map_err(|error| error.to_string())?;
        let id = record.value.and_then(RecordId::from_value);
        let id = id.ok_or("a record that no client wrote")?;
        rows.push((record.offset.0, id, record.timestamp.0));
    }
    Ok(())
}

/// The record with the lowest offset whose timestamp is `time` or later: offset and timestamp.
fn first_at(read: &[(i64, i64)], time: i64) -> Option<(i64, i64)> {
    read.iter().copied().find(|(_, at)| *at >= time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_a_time_is_the_lowest_offset_that_is_not_older_and_not_the_nearest_in_time() {
        let read = [(0, 50), (1, 90), (2, 40), (5, 70)];

        assert_eq!(first_at(&read, 60), Some((1, 90)));
        assert_eq!(first_at(&read, 0), Some((0, 50)));
        assert_eq!(first_at(&read, 91), None);
    }

    #[test]
    fn timestamps_of_a_mixed_life_do_not_ascend_and_are_the_same_each_time() {
        let life = |mixed| Life {
            name: String::new(),
            tag: 900_001,
            next: 0,
            earlier: None,
            acked: Vec::new(),
            losses: 0,
            acks: 1,
            batches: 1,
            mixed,
        };
        let times = |mixed| (0..50).map(|number| life(mixed).time_of(number)).collect::<Vec<_>>();

        assert!(times(false).is_sorted());
        assert!(!times(true).is_sorted());
        assert_eq!(times(true), times(true));
    }
}
