//! What the keeper saw of its topics: a compacted one, one whose records are deleted from the front,
//! and one that is both.
//!
//! Invariants: all are durable at their acknowledgement, so no power loss excuses a record, and only
//! what a start has told is lost; who asked before that start learns nothing from the answer; of the
//! compacted one nothing may be missing from the offset on that the journal says compaction has
//! reached, and below it the newest record of every key is there, unless it is a tombstone whose
//! time has passed; the start of a log never falls, and moves only if somebody asked for it: who asks
//! for everything asks for what was sent by then, and without an answer for what is sent as long as
//! the broker's process lives to which the request went.

use std::collections::{BTreeMap, BTreeSet};

use base::{PartitionId, PartitionIndex, TopicId, Uuid};

use super::History;
use super::platter::{Found, View, is_damaged, logs, walk};
use super::told::Start;
use crate::budget::Event;
use crate::client::{BOTH, number_of};
use crate::disk::Image;
use crate::fault::BROKER;
use crate::world::World;

/// How long the records of a topic live that [expires](Rules::expires), milliseconds.
pub const EXPIRES_MS: i64 = 600;

/// One record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where.
    pub offset: i64,
    /// Which; every record that is sent has a number of its own.
    pub number: u64,
    /// What it says.
    pub record: TableRecord,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRecord {
    /// Its key.
    pub key: u8,
    /// Whether it deletes the key.
    pub tombstone: bool,
    /// Its timestamp: when it was made, by its client's calendar.
    pub made: i64,
    /// A digest of its value.
    pub value: u64,
}

/// How a topic of the keeper is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Tombstones may go while the universe lasts (`delete.retention.ms` is short).
    pub tombstones_go: bool,
    /// Nothing is old enough to be compacted (`min.compaction.lag.ms` is long).
    pub too_young: bool,
    /// Records may be deleted because they are old (`retention.ms` is short).
    pub expires: bool,
    /// Whether it is compacted.
    pub compacted: bool,
}

/// What a topic has to hold: taken before a read begins.
#[derive(Clone, Debug, Default)]
pub struct Owed {
    acked: BTreeMap<i64, u64>,
    start: i64,
    told: u64,
}

impl Owed {
    /// Where the log had begun by then.
    pub fn start(&self) -> i64 {
        self.start
    }
}

/// Requests to delete everything, which may be carried out later than they were sent.
#[derive(Default)]
struct AskedAll {
    /// The answer to one is awaited.
    awaited: bool,
    /// Up to which process of the broker those may have gone that nobody will answer.
    upto: u32,
}

impl AskedAll {
    /// Whether process `broker` or a later one may carry one out.
    fn is_loose(&self, broker: u32) -> bool {
        self.awaited || self.upto >= broker
    }

    /// What is awaited will not be answered; it went to processes up to `broker`.
    fn abandon(&mut self, broker: u32) {
        if std::mem::take(&mut self.awaited) {
            self.upto = self.upto.max(broker);
        }
    }
}

/// What is known of one topic.
#[derive(Default)]
pub(super) struct Table {
    pub(super) id: Option<Uuid>,
    pub(super) rules: Rules,
    /// What lies below has to be compacted before the end.
    pub(super) due_upto: i64,
    sent: BTreeMap<u64, TableRecord>,
    acked: BTreeMap<i64, u64>,
    /// Sent, and not known to be there.
    open: BTreeSet<u64>,
    /// The highest start that was ever seen.
    start: i64,
    /// The highest start that was ever asked for.
    asked: i64,
    /// Who asked for everything.
    all: AskedAll,
    /// Starts that told of a loss.
    told: u64,
}

impl History {
    fn with_table<T>(&self, topic: &'static str, look: impl FnOnce(&mut Table) -> T) -> T {
        look(self.seen().tables.entry(topic).or_default())
    }

    /// A topic of the keeper exists under this id.
    pub fn table_known(&self, topic: &'static str, id: Uuid, rules: Rules) {
        self.with_table(topic, |table| (table.id, table.rules) = (Some(id), rules));
    }

    /// Whether it does.
    pub fn is_table_known(&self, topic: &'static str) -> bool {
        self.with_table(topic, |table| table.id.is_some())
    }

    /// A record is about to be sent.
    pub fn table_sent(&self, world: &World, topic: &'static str, number: u64, record: TableRecord) {
        let broker = world.incarnation(BROKER);
        self.with_table(topic, |table| table.sends(number, record, broker));
    }

    /// Starts that told of a loss in the topic.
    pub fn table_told(&self, topic: &'static str) -> u64 {
        self.with_table(topic, |table| table.told)
    }

    /// Whether anything is damaged in the files of the topic.
    pub fn table_is_damaged(&self, world: &World, topic: &'static str) -> bool {
        let id = self.with_table(topic, |table| table.id);
        id.is_some_and(|id| is_damaged(&world.disk(BROKER), only_partition(id)))
    }

    /// It was acknowledged; `told` is from before it was sent.
    pub fn table_acked(
        &self,
        world: &World,
        topic: &'static str,
        (number, offset): (u64, i64),
        told: u64,
    ) {
        let before = self.with_table(topic, |table| {
            if table.told > told {
                return None;
            }
            table.open.remove(&number);
            table.acked.insert(offset, number)
        });
        world.check("table-offsets", before.is_none(), || {
            format!("{topic}/{offset} was acked as {before:?} and as {number}")
        });
    }

    /// Records below an offset (`None`: all that there may be) are about to be deleted.
    pub fn table_delete_asked(&self, topic: &'static str, upto: Option<i64>) {
        self.with_table(topic, |table| {
            table.all.awaited = upto.is_none();
            table.asked = table.asked.max(upto.unwrap_or_else(|| table.sent_count()));
        });
    }

    /// That was answered, or never left; or else it may be carried out by processes of the broker
    /// up to this one.
    pub fn table_delete_ended(&self, topic: &'static str, unknown: Option<u32>) {
        self.with_table(topic, |table| match unknown {
            None => table.all.awaited = false,
            Some(upto) => table.all.abandon(upto),
        });
    }

    /// The process that awaited answers is gone; what it asked for went to processes up to `broker`.
    pub fn table_deletes_abandoned(&self, broker: u32) {
        self.seen().tables.values_mut().for_each(|table| table.all.abandon(broker));
    }

    /// The start of the log was told, or found out. It never falls, and every move of it was asked
    /// for.
    pub fn table_start(
        &self,
        world: &World,
        topic: &'static str,
        owed: &Owed,
        start: i64,
        rules: Rules,
    ) {
        let ages = rules.expires && clocks_agree(world);
        let now = world.wall(BROKER).0;
        let mut young = None;
        let asked = self.with_table(topic, |table| {
            if table.told > owed.told {
                return None;
            }
            if ages {
                young = table.too_young(start, now, topic == BOTH);
            }
            table.start = table.start.max(start);
            Some(table.asked)
        });
        let Some(asked) = asked else { return };
        world.check("retention", young.is_none(), || {
            format!("{topic} begins at {start}; deleted was, after as many ms: {young:?}")
        });
        world.check("log-start-stays", start >= owed.start, || {
            format!("{topic} began at {} and begins at {start} now", owed.start)
        });
        world.check("log-start-stays", rules.expires || start <= asked, || {
            format!("{topic} begins at {start}, and nobody asked for more than {asked}")
        });
    }

    /// What a read that begins now must bring.
    pub fn table_owed(&self, topic: &'static str) -> Owed {
        self.with_table(topic, |table| Owed {
            acked: table.acked.clone(),
            start: table.start,
            told: table.told,
        })
    }

    /// One past the damage that `offset` is in, if a start has told of any there; or past the next
    /// one, if compaction left nothing before that.
    pub fn table_damage_at(&self, world: &World, topic: &'static str, offset: i64) -> Option<i64> {
        let id = self.with_table(topic, |table| table.id)?;
        let behind = damage_from(&world.disk(BROKER), id, offset)?;
        world.ledger.lock().budget.fired(Event::DamageTold);
        Some(behind)
    }

    /// The whole log was read, from `start` on. False if that says nothing, because a start told of
    /// a loss meanwhile.
    pub fn table_read(
        &self,
        world: &World,
        topic: &'static str,
        owed: &Owed,
        (start, rows): (i64, &[Row]),
        rules: Rules,
    ) -> bool {
        let seen = self.seen();
        let Some(table) = seen.tables.get(topic) else { return true };
        if table.told > owed.told {
            return false;
        }
        let cleaned = table.id.map_or(0, |id| cleaned(world, id));
        table.is_true(world, topic, rows);
        world.check("compaction-lag", !rules.too_young || cleaned == 0, || {
            format!("{topic} was compacted up to {cleaned}, and everything in it is too young")
        });
        let there: BTreeSet<i64> = rows.iter().map(|row| row.offset).collect();
        for (offset, number) in owed.acked.range(start.max(cleaned)..) {
            world.check("table-complete", there.contains(offset), || {
                format!("{topic}/{offset} was acked as {number} and is not there; compacted up to {cleaned}")
            });
        }
        if cleaned > 0 {
            table.has_newest(world, topic, owed, (start, rows), rules);
        }
        true
    }
}

/// Whether all machines have told the same time so far.
pub(super) fn clocks_agree(world: &World) -> bool {
    ["clock jump", "clock drift"].iter().all(|class| world.faults(class) == 0)
}

impl Table {
    /// A record that nobody asked to delete and that the log, which begins at `start`, does not have
    /// although it is not old enough: offset and age in milliseconds. In a `compacted` topic only the
    /// newest of its key counts, if it is no tombstone: compaction may have taken any other, and then
    /// what is left is older.
    fn too_young(&self, start: i64, now: i64, compacted: bool) -> Option<(i64, i64)> {
        let from = self.asked.min(start);
        let key = |number: &u64| self.sent.get(number).map(|record| record.key);
        let is_newest = |(offset, number): &(&i64, &u64)| {
            let later = self.acked.range(**offset + 1..).map(|(_, later)| later);
            let mut later = later.chain(&self.open).map(key);
            let is_tombstone = self.sent.get(number).is_some_and(|record| record.tombstone);
            !is_tombstone && !later.any(|later| later == key(number))
        };
        let there = self.acked.range(from..start).filter(|one| !compacted || is_newest(one));
        let ages = there.filter_map(|(offset, number)| {
            Some((*offset, now.saturating_sub(self.sent.get(number)?.made)))
        });
        ages.min_by_key(|(_, age)| *age).filter(|(_, age)| *age <= EXPIRES_MS)
    }

    /// The broker has started. What it tells is lost is owed no more, what is not told has to be
    /// there. Returns whether it told of anything.
    pub(super) fn started(
        &mut self,
        world: &World,
        topic: &str,
        image: &Image,
        start: &Start,
    ) -> bool {
        let Some(id) = self.id else { return false };
        let of = only_partition(id);
        let found = log_of(image, id);
        if found.is_none() && image.any_out_of_service() {
            return false;
        }
        let there = found.as_ref().map(|found| numbers(image, found)).unwrap_or_default();
        let known = found.map(|found| found.log).unwrap_or_default();
        let from = known.start.max(known.cleaned);
        let is_there = |offset: i64, number: u64| there.get(&offset) == Some(&number);
        for (offset, number) in self.acked.range(from..) {
            let excused = start.tells_of(of, &known, *offset);
            world.check("told-at-start", is_there(*offset, *number) || excused, || {
                format!("{topic}/{offset} was acked as {number}; after a start it is not there, and nothing is said of it")
            });
        }
        if !start.tells(of, &known) {
            return false;
        }
        self.told += 1;
        if start.is_uncertain(of, &known) {
            self.start = known.start;
        }
        // Of a damaged record nobody knows whether a read brings it; below what was compacted, what
        // is not there is owed no more whoever took it.
        let stays =
            |offset: i64, number: u64| is_there(offset, number) && known.told(offset).is_none();
        let gone = self.acked.iter().filter(|(offset, number)| !stays(**offset, **number));
        self.open.extend(gone.map(|(_, number)| *number));
        self.acked.retain(|offset, number| stays(*offset, *number));
        true
    }

    fn sent_count(&self) -> i64 {
        i64::try_from(self.sent.len()).unwrap_or(i64::MAX)
    }

    /// A record is about to be sent, while the broker's process is `broker`.
    fn sends(&mut self, number: u64, record: TableRecord, broker: u32) {
        self.sent.insert(number, record);
        self.open.insert(number);
        // It may be among everything that somebody asked to delete.
        if self.all.is_loose(broker) {
            self.asked = self.asked.max(self.sent_count());
        }
    }

    fn deletes(&self, number: u64, key: u8) -> bool {
        self.sent.get(&number).is_some_and(|record| record.key == key && record.tombstone)
    }

    /// Whether what was read is what was sent under that number.
    fn says(&self, row: &Row) -> bool {
        self.sent.get(&row.number) == Some(&row.record)
    }

    /// Everything that was read was written, and written there.
    fn is_true(&self, world: &World, topic: &str, rows: &[Row]) {
        for row in rows {
            let (said, sent) = (self.says(row), self.sent.get(&row.number));
            world.check("known-content", said, || {
                format!("{topic}: {row:?} was read, sent was {sent:?}")
            });
            let acked = self.acked.get(&row.offset);
            let fits = match acked {
                Some(number) => *number == row.number,
                None => self.open.contains(&row.number),
            };
            world.check("table-offsets", fits, || {
                format!("{topic}: {row:?} was read, acked there was {acked:?}")
            });
        }
        let ascend = rows.windows(2).all(|pair| pair[0].offset < pair[1].offset);
        world.check("table-offsets", ascend, || format!("{topic}: offsets do not ascend"));
    }

    /// The newest record of every key is there, or was a tombstone that may have gone, or lay before
    /// where the log begins now.
    fn has_newest(
        &self,
        world: &World,
        topic: &str,
        owed: &Owed,
        (start, rows): (i64, &[Row]),
        rules: Rules,
    ) {
        let mut newest: BTreeMap<u8, (i64, bool)> = BTreeMap::new();
        for (offset, number) in &owed.acked {
            if let Some(record) = self.sent.get(number) {
                newest.insert(record.key, (*offset, record.tombstone));
            }
        }
        for (key, (offset, tombstone)) in newest {
            if offset < start {
                continue;
            }
            let of_key = || rows.iter().filter(|row| row.record.key == key);
            let superseded = of_key().any(|row| row.offset >= offset);
            // One that was not answered may be there and gone as well.
            let may_be_deleted = tombstone || self.open.iter().any(|open| self.deletes(*open, key));
            let gone = rules.tombstones_go && may_be_deleted && of_key().next().is_none();
            world.check("newest-of-key", superseded || gone, || {
                let found: Vec<&Row> = of_key().collect();
                format!("{topic}: the newest of {key} is at {offset}; there is {found:?}")
            });
        }
    }
}

pub(super) fn only_partition(topic: Uuid) -> PartitionId {
    PartitionId { topic: TopicId(topic), index: PartitionIndex(0) }
}

/// The log of a topic's only partition.
fn log_of(image: &Image, topic: Uuid) -> Option<Found> {
    let wanted = only_partition(topic);
    logs(image, View::Cache, |of| *of == wanted).remove(&wanted)
}

fn damage_from(image: &Image, topic: Uuid, offset: i64) -> Option<i64> {
    let found = log_of(image, topic)?;
    if let Some(behind) = found.log.told(offset) {
        return Some(behind);
    }
    let next =
        found.log.faulty.iter().map(|(from, _)| *from).filter(|from| *from > offset).min()?;
    let is_hole =
        offset < found.cleaned() && numbers(image, &found).range(offset..next).count() == 0;
    found.log.told(next).filter(|_| is_hole)
}

/// The numbers of a log's records, by offset.
fn numbers(image: &Image, found: &Found) -> BTreeMap<i64, u64> {
    let mut there = BTreeMap::new();
    walk(image, found, View::Cache, |batch| {
        let set = batch.open(1 << 24).map_err(|error| error.to_string())?;
        for record in set.iter() {
            let record = record.map_err(|error| error.to_string())?;
            if let Some(number) = number_of(&record) {
                there.insert(record.offset.0, number);
            }
        }
        Ok(())
    });
    there
}

/// Up to where the journal says that a topic's only partition was compacted.
fn cleaned(world: &World, topic: Uuid) -> i64 {
    log_of(&world.disk(BROKER), topic).map_or(0, |found| found.cleaned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: TableRecord = TableRecord { key: 1, tombstone: false, made: 700, value: 12 };

    fn with_sent(count: u64, table: &mut Table, broker: u32) {
        let from = u64::try_from(table.sent.len()).unwrap();
        (from..from + count).for_each(|number| table.sends(number, SENT, broker));
    }

    fn asked(history: &History) -> i64 {
        history.with_table(BOTH, |table| table.asked)
    }

    #[test]
    fn a_record_with_another_value_time_or_key_is_not_the_one_that_was_sent() {
        let mut table = Table::default();
        table.sends(3, SENT, 1);
        let says = |number, record| table.says(&Row { offset: 9, number, record });

        assert!(says(3, SENT));
        assert!(!says(3, TableRecord { value: 13, ..SENT }), "its value was swapped");
        assert!(!says(3, TableRecord { made: 701, ..SENT }), "its time was shifted");
        assert!(!says(3, TableRecord { tombstone: true, ..SENT }));
        assert!(!says(3, TableRecord { key: 2, ..SENT }));
        assert!(!says(4, SENT), "nobody sent it");
    }

    #[test]
    fn who_asks_for_everything_and_is_answered_asks_for_what_was_sent_by_then() {
        let history = History::new();
        history.with_table(BOTH, |table| with_sent(5, table, 1));
        history.table_delete_asked(BOTH, None);
        history.table_delete_ended(BOTH, None);
        history.with_table(BOTH, |table| with_sent(3, table, 1));
        assert_eq!(asked(&history), 5);

        history.table_delete_asked(BOTH, Some(7));
        history.table_delete_ended(BOTH, Some(1));
        history.with_table(BOTH, |table| with_sent(3, table, 1));
        assert_eq!(asked(&history), 7, "an offset is an offset whenever it is carried out");
    }

    #[test]
    fn without_an_answer_everything_grows_as_long_as_that_broker_lives() {
        let history = History::new();
        history.table_delete_asked(BOTH, None);
        history.with_table(BOTH, |table| with_sent(2, table, 1));
        assert_eq!(asked(&history), 2, "the answer is awaited");
        history.table_delete_ended(BOTH, Some(1));
        history.with_table(BOTH, |table| with_sent(2, table, 1));
        assert_eq!(asked(&history), 4);
        history.with_table(BOTH, |table| with_sent(2, table, 2));
        assert_eq!(asked(&history), 4, "that broker is gone");

        history.table_delete_asked(BOTH, None);
        history.table_deletes_abandoned(3);
        history.with_table(BOTH, |table| with_sent(1, table, 3));
        assert_eq!(asked(&history), 7);
        history.with_table(BOTH, |table| with_sent(1, table, 4));
        assert_eq!(asked(&history), 7);
    }

    #[test]
    fn records_that_go_too_young_are_seen_after_everything_was_deleted_once() {
        let mut table = Table::default();
        with_sent(6, &mut table, 1);
        table.acked.extend((0..6).map(|at| (at, u64::try_from(at).unwrap())));
        table.asked = 3;

        assert_eq!(table.too_young(3, 800, false), None, "that much was asked for");
        assert_eq!(table.too_young(5, 800, false), Some((3, 100)));
        assert_eq!(table.too_young(5, 700 + EXPIRES_MS + 1, false), None, "old enough");
    }
}
