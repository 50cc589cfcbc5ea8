//! What clients saw of records.
//!
//! Invariants: `content` holds what is promised to stay: acknowledged or read, and not excused; a
//! power loss excuses exactly what was not durable when it happened. A client that was asked or
//! answered across a power loss learns nothing from it (`losses` tells).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::Uuid;
use bytes::Bytes;
use env::{Guard, Lock, Rank};

use super::commits::Commits;
use super::platter::{View, read_batch, read_log};
use super::records::RecordId;
use super::topics::Topics;
use crate::fault::BROKER;
use crate::world::World;

/// What all clients of a universe saw. Clones share it.
#[derive(Clone)]
pub struct History(Arc<Lock<Seen>>);

/// What is behind the lock.
#[derive(Default)]
pub(super) struct Seen {
    pub topic: Option<Uuid>,
    /// Whether an acknowledgement promises durability.
    pub durable_acks: bool,
    /// Power losses of the broker so far.
    pub losses: u64,
    pub partitions: BTreeMap<i32, Partition>,
    pub commits: Commits,
    pub topics: Topics,
    pub producer_ids: BTreeSet<(i64, i16)>,
    /// Clients whose records are there at most once.
    pub idempotent: BTreeSet<u32>,
    /// Acknowledged records per producer.
    pub progress: BTreeMap<usize, u64>,
}

/// What is known of one partition.
#[derive(Default)]
pub(super) struct Partition {
    /// Everything that was ever sent here.
    pub sent: BTreeSet<RecordId>,
    /// What is promised to stay.
    pub content: BTreeMap<i64, RecordId>,
    /// Records whose acknowledgement still stands.
    pub acked: BTreeMap<RecordId, i64>,
    /// Whether a power loss excused an acknowledged record.
    pub lossy: bool,
}

impl History {
    /// Nothing seen yet.
    pub fn new(durable_acks: bool) -> Self {
        let seen = Seen { durable_acks, ..Seen::default() };
        Self(Arc::new(Lock::new(Rank(240), seen)))
    }

    pub(super) fn seen(&self) -> Guard<'_, Seen> {
        self.0.lock()
    }

    /// The topic exists under this id.
    pub fn topic_known(&self, id: Uuid) {
        self.seen().topic = Some(id);
    }

    /// Whether the topic exists.
    pub fn is_topic_known(&self) -> bool {
        self.seen().topic.is_some()
    }

    /// Power losses of the broker so far.
    pub fn losses(&self) -> u64 {
        self.seen().losses
    }

    /// The records of `client` are there at most once, and in order.
    pub fn is_idempotent(&self, client: u32) {
        self.seen().idempotent.insert(client);
    }

    /// Records of a producer that were acknowledged.
    pub fn progress(&self, producer: usize) -> u64 {
        self.seen().progress.get(&producer).copied().unwrap_or(0)
    }

    /// So many more were.
    pub fn add_progress(&self, producer: usize, records: u64) {
        *self.seen().progress.entry(producer).or_default() += records;
    }

    /// A producer id was handed out.
    pub fn producer_id_given(&self, world: &World, id: i64, epoch: i16) {
        let fresh = self.seen().producer_ids.insert((id, epoch));
        world.check("producer-ids", fresh, || format!("{id} in epoch {epoch} was given twice"));
    }

    /// Records are about to be sent.
    pub fn sent(&self, partition: i32, ids: &[RecordId]) {
        self.seen().partitions.entry(partition).or_default().sent.extend(ids);
    }

    /// Records were acknowledged from `base` on; `losses` is from before the request was sent.
    pub fn acked(&self, world: &World, partition: i32, base: i64, ids: &[RecordId], losses: u64) {
        let mut seen = self.seen();
        let (Some(topic), durable) = (seen.topic, seen.durable_acks) else { return };
        let certain = seen.losses == losses || durable;
        let view = if durable { View::Durable } else { View::Cache };
        let log = {
            let disk = world.disks[BROKER].lock();
            read_log(&disk, topic, partition, view).unwrap_or_default()
        };
        let known = seen.partitions.entry(partition).or_default();
        world.ledger.lock().acked += u64::try_from(ids.len()).unwrap_or(0);
        for (id, offset) in ids.iter().zip(base..) {
            let found = log.at(offset);
            if certain || found == Some(*id) {
                let where_to = if durable { "on the platter" } else { "in the page cache" };
                world.check("acked-is-written", found == Some(*id), || {
                    format!("{partition}/{offset} acked as {id}, {where_to}: {found:?}")
                });
                known.promise(world, partition, offset, *id);
                known.acked.insert(*id, offset);
            } else {
                known.lossy = true;
            }
        }
    }

    /// A producer's sequence was refused: legitimate only after acknowledged records were lost.
    pub fn sequence_refused(&self, world: &World, partition: i32, code: i16, ids: &[RecordId]) {
        let lossy = self.seen().partitions.entry(partition).or_default().lossy;
        world.check("sequences", lossy, || {
            format!("{partition}: {ids:?} refused with {code} though nothing was lost before")
        });
    }

    /// Records were fetched from `from` on. Returns the next offset to read.
    pub fn read(
        &self,
        world: &World,
        partition: i32,
        from: i64,
        watermark: i64,
        bytes: Bytes,
        losses: u64,
    ) -> i64 {
        let mut seen = self.seen();
        let certain = seen.losses == losses;
        let known = seen.partitions.entry(partition).or_default();
        let (mut next, mut first) = (from, true);
        for batch in records::batches(bytes) {
            // A fetch may be cut in the middle of its last batch.
            let Ok(batch) = batch else { break };
            let base = batch.header().base_offset.0;
            let expected = if first { base } else { next };
            first = false;
            let mut found = Vec::new();
            if let Err(why) = read_batch(&batch, expected, &mut found) {
                world.check("fetched-batch", false, || format!("{partition}/{base}: {why}"));
                return from;
            }
            next = batch.header().next_offset().0;
            world.check("fetch-position", next > from && base <= from.max(expected), || {
                format!("{partition}: asked for {from}, got {base}..{next}")
            });
            world.check("high-watermark", next <= watermark, || {
                format!("{partition}: read up to {next} under a high watermark of {watermark}")
            });
            for (offset, id) in found {
                world.check("known-content", known.sent.contains(&id), || {
                    format!("{partition}/{offset}: {id} was never sent there")
                });
                if certain {
                    known.promise(world, partition, offset, id);
                }
            }
        }
        next
    }

    /// A fetch was out of range: legitimate only after records were lost.
    pub fn out_of_range(&self, world: &World, partition: i32, at: i64) {
        let losses = self.seen().losses;
        world.check("out-of-range", losses > 0, || {
            format!("{partition}: offset {at} is out of range though nothing was lost")
        });
    }

    /// The broker's machine is about to lose power: what is not durable now is excused.
    pub fn power_is_lost(&self, world: &World) {
        let mut seen = self.seen();
        seen.losses += 1;
        let durable_acks = seen.durable_acks;
        seen.commits.power_is_lost(durable_acks);
        let Some(topic) = seen.topic else { return };
        let disk = world.disks[BROKER].lock();
        for (partition, known) in &mut seen.partitions {
            let log = read_log(&disk, topic, *partition, View::Durable).unwrap_or_default();
            let is_safe = |offset: i64, id: RecordId| log.at(offset) == Some(id);
            known.content.retain(|offset, id| is_safe(*offset, *id));
            let before = known.acked.len();
            known.acked.retain(|id, offset| durable_acks || is_safe(*offset, *id));
            known.lossy |= known.acked.len() < before;
        }
    }
}

impl Partition {
    /// From now on `offset` holds `id` for ever.
    fn promise(&mut self, world: &World, partition: i32, offset: i64, id: RecordId) {
        let before = *self.content.entry(offset).or_insert(id);
        world.check("one-content", before == id, || {
            format!("{partition}/{offset} was {before} and is {id}")
        });
    }
}
