//! What clients were promised of records.
//!
//! Invariants: `content` holds what is promised to stay: acknowledged or read, and not excused; a
//! power loss excuses exactly what was not durable when it happened. A client that was asked or
//! answered across a power loss learns nothing from it (`losses` tells).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{PartitionId, Uuid};
use env::{Guard, Lock, Rank};

use super::commits::Commits;
use super::committed::read_committed;
use super::groups::Fates;
use super::modes::Modes;
use super::platter::{DiskLog, View, missing_segment, read_log};
use super::records::RecordId;
use super::tables::Table;
use super::told::{Said, damages};
use super::topics::Topics;
use crate::budget::Event;
use crate::durability::Promise;
use crate::fault::BROKER;
use crate::world::{MS, Note, World};

/// A broker in peace makes everything durable within this time, nanoseconds. Its own bound is
/// 200 ms; the rest is the disk's and the recovery's.
pub(super) const FLUSH_PROMISE: u64 = 2_000 * MS;

/// What all clients of a universe saw. Clones share it.
#[derive(Clone)]
pub struct History(Arc<Lock<Seen>>);

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

/// What is behind the lock.
#[derive(Default)]
pub(super) struct Seen {
    pub topic: Option<Uuid>,
    /// Whether the topic's acknowledgements mean durable.
    pub fsync: bool,
    /// What they mean while the mode changes.
    pub modes: Modes,
    /// Power losses of the broker so far, and starts that told of a loss.
    pub losses: u64,
    /// Damage that the last complete start knew of.
    pub damages: u64,
    /// The same of each class that a log can become uncertain by.
    pub blurs: BTreeMap<&'static str, u64>,
    /// Up to where each log is served by its manifest and envelopes, by when a journal was harmed.
    pub vouched: BTreeMap<PartitionId, i64>,
    /// Directories whose journal was damaged between that start and the one before.
    pub journals: BTreeSet<usize>,
    /// What the journal said of each log by then.
    pub said: BTreeMap<PartitionId, Said>,
    /// How often starts had said that a batch does not tell who wrote it.
    pub untold_producers: u64,
    /// How the last look at the running broker goes.
    pub last_look: LastLook,
    /// The broker's process that came so far last.
    pub serving: u32,
    pub partitions: BTreeMap<i32, Partition>,
    pub commits: Commits,
    pub fates: Fates,
    pub topics: Topics,
    /// The keeper's topics.
    pub tables: BTreeMap<&'static str, Table>,
    /// Logs of the coordinators' topic that were ever seen.
    pub coordinators: BTreeSet<PartitionId>,
    /// Where they say that the group is no more.
    pub ends_of_group: BTreeSet<(PartitionId, i64)>,
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
    /// What was sent for good without asking for an acknowledgement.
    pub unacked: Vec<RecordId>,
    /// What is promised to stay.
    pub content: BTreeMap<i64, RecordId>,
    /// Records whose acknowledgement still stands: at which offset, and since when.
    pub acked: BTreeMap<RecordId, (i64, u64)>,
    /// Everything below was promised to be durable, in a topic whose mode changes.
    pub durable_upto: i64,
    /// Producers of which an acknowledged record was lost, or may have been, under the identity that
    /// they have now: their next sequence may be refused.
    pub lossy: BTreeSet<u32>,
    /// Places of records that a start could not take note of, for their batches are damaged, and said
    /// so: the same record may be written again elsewhere.
    pub untold: BTreeSet<(i64, RecordId)>,
}

/// How far the last look at the running broker's logs is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LastLook {
    /// It is not time yet.
    #[default]
    Later,
    /// It is wanted.
    Wanted,
    /// Journal and broker agreed.
    Agreed,
}

/// What held when a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Power losses of the broker by then.
    pub losses: u64,
    /// The period of `fsync` that stood.
    pub period: Option<u64>,
}

impl History {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self(Arc::new(Lock::new(Rank(240), Seen::default())))
    }

    pub(super) fn seen(&self) -> Guard<'_, Seen> {
        self.0.lock()
    }

    /// The topic exists under this id.
    pub fn topic_known(&self, id: Uuid) {
        self.seen().topic = Some(id);
    }

    /// An acknowledgement in the topic means that the record is durable.
    pub fn topic_is_fsync(&self) {
        self.seen().fsync = true;
    }

    /// Whether the topic exists.
    pub fn is_topic_known(&self) -> bool {
        self.seen().topic.is_some()
    }

    /// Its id; zero as long as that is not known.
    pub fn topic_id(&self) -> Uuid {
        self.seen().topic.unwrap_or_default()
    }

    /// Power losses of the broker so far.
    pub fn losses(&self) -> u64 {
        self.seen().losses
    }

    /// What holds now, to be handed back with the answer to what is sent now.
    pub fn since(&self) -> Since {
        Since { losses: self.losses(), period: self.fsync_period() }
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

    /// `client` begins anew, with another identity and nothing under way.
    pub fn begins_anew(&self, client: u32) {
        for known in self.seen().partitions.values_mut() {
            known.lossy.remove(&client);
        }
    }

    /// Records are about to be sent.
    pub fn sent(&self, partition: i32, ids: &[RecordId]) {
        self.seen().partitions.entry(partition).or_default().sent.extend(ids);
    }

    /// Records were sent, and nobody will ever say what became of them.
    pub fn sent_unacked(&self, partition: i32, ids: Vec<RecordId>) {
        self.seen().partitions.entry(partition).or_default().unacked.extend(ids);
    }

    /// Records were acknowledged from `base` on; `since` is from before the request was sent.
    pub fn acked(&self, world: &World, partition: i32, base: i64, ids: &[RecordId], since: Since) {
        let mut seen = self.seen();
        let Some(topic) = seen.topic else { return };
        let certain = seen.losses == since.losses;
        let untold = seen.is_untold(world);
        let means_durable =
            certain && !untold && since.period.is_some() && since.period == seen.modes.period();
        let (log, durable) = {
            let disk = world.disks[BROKER].lock();
            let read = |view| read_log(&disk, topic, partition, view).unwrap_or_default();
            // What a drive has lied about is not on the platter, and the broker cannot know.
            let is_judged = means_durable && !disk.owes();
            (read(View::Cache), is_judged.then(|| read(View::Durable)))
        };
        let promise =
            if seen.fsync || means_durable { Promise::Fsync } else { Promise::Replicated };
        let known = seen.partitions.entry(partition).or_default();
        let count = u64::try_from(ids.len()).unwrap_or(0);
        world.ledger.lock().acked += count;
        world.given(promise);
        remark(world, "acked", (partition, base, count), || {
            let ends = ids.first().into_iter().chain(ids.last().filter(|_| count > 1));
            let ends: Vec<String> = ends.map(ToString::to_string).collect();
            format!("{partition}/{base}: {}", ends.join(" to "))
        });
        for (id, offset) in ids.iter().zip(base..) {
            let found = log.at(offset);
            // What was damaged after it was written is still known when it is sent again.
            if (certain && !log.is_told(offset)) || found == Some(*id) {
                // The answer was under way; the start that is under way has to say so, or have it.
                world.check("acked-is-written", found == Some(*id) || untold, || {
                    format!("{partition}/{offset} was acked as {id}; the page cache has {found:?}, {} up to {}", log.stopped.as_deref().unwrap_or("whole"), log.end)
                });
                known.promise(world, partition, offset, *id);
                known.acked.insert(*id, (offset, world.now()));
            } else {
                known.lossy.insert(id.client);
                world.lost(promise, 1);
                world.ledger.lock().budget.fired(Event::AckedLost);
            }
        }
        let next = base.saturating_add(i64::try_from(count).unwrap_or(0));
        known.is_durable_upto(world, partition, durable.as_ref(), next);
    }

    /// A producer's sequence was refused: legitimate only after acknowledged records of its present
    /// identity were lost or damaged.
    pub fn sequence_refused(&self, world: &World, partition: i32, code: i16, ids: &[RecordId]) {
        let lossy = {
            let mut seen = self.seen();
            let lossy = &seen.partitions.entry(partition).or_default().lossy;
            ids.iter().any(|id| lossy.contains(&id.client))
        };
        let excused = lossy || self.may_forget_producers(world, partition);
        world.check("sequences", excused, || {
            format!(
                "{partition}: {ids:?} refused with {code} though nothing of theirs was lost before"
            )
        });
    }

    /// The broker's machine is about to lose power: what is not durable now is excused, unless it
    /// had to be. If something was damaged, and no start has come far enough to say what that took,
    /// what had to be there is left to the next one: it has it, or says so.
    pub fn power_is_lost(&self, world: &World) {
        let mut seen = self.seen();
        seen.losses += 1;
        // What was damaged may be missing by now, and no start has come far enough to say so.
        let suspect = damages(world) > seen.damages;
        let due = due_before(world);
        let (topic, fsync) = (seen.topic.unwrap_or_default(), seen.fsync);
        let disk = world.disks[BROKER].lock();
        let missing = missing_segment(&disk, View::Durable, suspect);
        world.check("named-segments", missing.is_none(), || {
            format!("the journal names {}, which is not there", missing.unwrap_or_default())
        });
        let durable = read_committed(&disk, topic, View::Durable);
        let due = due.filter(|_| !disk.any_out_of_service());
        if suspect {
            seen.commits.leave_to_start(&durable, due);
        } else {
            seen.commits.must_be_flushed(world, &durable, due);
        }
        let mut lost =
            seen.commits.power_is_lost(&durable, &read_committed(&disk, topic, View::Cache));
        world.lost(Promise::Offsets, lost.into());
        for (partition, known) in &mut seen.partitions {
            let log = read_log(&disk, topic, *partition, View::Durable).unwrap_or_default();
            // What a drive has lied about is lost from now on, and the budget knows it then.
            let upto = match (disk.owes(), fsync) {
                (true, _) => 0,
                (false, true) => i64::MAX,
                (false, false) => known.durable_upto,
            };
            let kept = if suspect {
                known.owed_to_start(upto, due)
            } else {
                known.must_be_flushed(world, *partition, &log, due);
                known.must_be_durable(world, *partition, &log, upto);
                BTreeSet::new()
            };
            let stays = |offset, id| log.at(offset) == Some(id) || kept.contains(&offset);
            known.content.retain(|offset, id| stays(*offset, *id));
            let is_lost = known.keep_acked(world, stays, upto);
            lost |= !is_lost.is_empty();
            known.lossy.extend(is_lost);
        }
        if lost {
            world.ledger.lock().budget.fired(Event::AckedLost);
        }
    }
}

/// Remarks on a partition, an offset and a number.
pub(super) fn remark(
    world: &World,
    kind: &'static str,
    (partition, offset, len): (i32, i64, u64),
    text: impl FnOnce() -> String,
) {
    let target = u64::try_from(partition).unwrap_or(0);
    let offset = u64::try_from(offset).unwrap_or(0);
    world.remark(Note { node: Some(BROKER), kind, target, offset, len, result: 0 }, text);
}

/// What was acknowledged up to then has to be durable now, if anything has: a broker that is left
/// in peace flushes within [`FLUSH_PROMISE`].
pub(super) fn due_before(world: &World) -> Option<u64> {
    let (now, disturbed) = (world.now(), world.disturbed_at(BROKER));
    (now.saturating_sub(disturbed) >= FLUSH_PROMISE).then(|| now.saturating_sub(FLUSH_PROMISE))
}

impl Seen {
    /// Whether damage took effect in a start that is not over yet: what that damage took, it will say.
    pub(super) fn is_untold(&self, world: &World) -> bool {
        world.incarnation(BROKER) != self.serving && damages(world) > self.damages
    }
}

impl Partition {
    /// Offsets that have to be on the platter: everything below `upto`, and what was acknowledged up
    /// to `due`.
    fn owed_to_start(&self, upto: i64, due: Option<u64>) -> BTreeSet<i64> {
        let durable = self.content.range(..upto).map(|(offset, _)| *offset);
        let is_due = |at: u64| due.is_some_and(|due| at <= due);
        let flushed = self.acked.values().filter(|(_, at)| is_due(*at));
        durable.chain(flushed.map(|(offset, _)| *offset)).collect()
    }

    /// Forgets what was acknowledged and does not stay; below `upto` its acknowledgement
    /// meant durable. Returns whose it was.
    pub(super) fn keep_acked(
        &mut self,
        world: &World,
        stays: impl Fn(i64, RecordId) -> bool,
        upto: i64,
    ) -> BTreeSet<u32> {
        let (mut lost, mut whose) = (BTreeMap::new(), BTreeSet::new());
        self.acked.retain(|id, (offset, _)| {
            let is_there = stays(*offset, *id);
            if !is_there {
                let promise = if *offset < upto { Promise::Fsync } else { Promise::Replicated };
                *lost.entry(promise).or_default() += 1;
                whose.insert(id.client);
            }
            is_there
        });
        lost.iter().for_each(|(promise, count)| world.lost(*promise, *count));
        whose
    }

    /// From now on `offset` holds `id` for ever.
    pub(super) fn promise(&mut self, world: &World, partition: i32, offset: i64, id: RecordId) {
        let before = *self.content.entry(offset).or_insert(id);
        world.check("one-content", before == id, || {
            format!("{partition}/{offset} was {before} and is {id}")
        });
    }

    /// Everything promised below `upto` has to be in `durable`.
    fn must_be_durable(&self, world: &World, partition: i32, durable: &DiskLog, upto: i64) {
        for (offset, id) in self.content.range(..upto) {
            let found = durable.at(*offset);
            world.check("fsync-survives", found == Some(*id), || {
                let why = durable.stopped.clone().unwrap_or_default();
                format!(
                    "{partition}/{offset} was acked or read as {id}; the platter has {found:?} of \
                     {} records; {why}",
                    durable.end
                )
            });
        }
    }

    /// What was acknowledged up to `due` has to be in `durable`.
    pub(super) fn must_be_flushed(
        &self,
        world: &World,
        partition: i32,
        durable: &DiskLog,
        due: Option<u64>,
    ) {
        let Some(due) = due else { return };
        if durable.out_of_service {
            // What its directory does not have, it gets after the next start.
            return;
        }
        for (id, (offset, at)) in self.acked.iter().filter(|(_, (_, at))| *at <= due) {
            let found = durable.at(*offset);
            world.check("flushed-in-time", found == Some(*id), || {
                let ago = (world.now() - at) / MS;
                let why = durable.stopped.clone().unwrap_or_default();
                format!(
                    "{partition}/{offset} was acked as {id} {ago} ms ago; the platter has \
                     {found:?} of {} records; {why}",
                    durable.end
                )
            });
        }
    }
}
