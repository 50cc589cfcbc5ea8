//! What a start has found out and said: a log may hold less than was promised only if the journal
//! says of it that it may, and only after something was damaged.
//!
//! Invariants: every start of the broker is looked at before a client can reach it; what it says is
//! lost is excused once, there and then, record by record; a broker that says so without damage has
//! raised a false alarm.

use std::collections::BTreeSet;

use base::{PartitionId, PartitionIndex, TopicId};

use super::History;
use super::committed::read_committed;
use super::platter::{KnownLog, View, coordinators, logs, read_log};
use crate::budget::Event;
use crate::disk::Image;
use crate::fault::{BROKER, DirFile};
use crate::world::World;

/// Marks of the product that tell of damage. Each is a false alarm if nothing was damaged.
const ALARMS: &[&str] = &[
    "fetch_corrupt",
    "open_found_damage",
    "storage_durable_bytes_damaged",
    "storage_envelopes_missing",
    "storage_identity_damaged",
    "storage_journal_corrupt",
    "storage_log_made_after_damage",
    "storage_log_made_beside_its_files",
    "storage_manifest_damaged",
    "storage_producers_behind_damage",
    "storage_read_found_damage",
    "storage_seal_damaged",
    "storage_segments_gone",
    "storage_stray_salvaged",
];

/// Whether `mark` tells of damage.
pub fn is_alarm(mark: &str) -> bool {
    ALARMS.contains(&mark)
}

/// How often damage of any class took effect.
pub fn damages(world: &World) -> u64 {
    let ledger = world.ledger.lock();
    let classes = DirFile::ALL.iter().map(|file| file.class());
    let of = |class| ledger.faults.get(class).copied().unwrap_or(0);
    classes.chain(["bit rot", "misdirected write"]).map(of).sum()
}

/// The same, of classes that may leave nobody knowing how far a log went.
fn blurs(world: &World) -> u64 {
    let files = [DirFile::Journal, DirFile::OpenSegment, DirFile::Coordinator];
    files.iter().map(|file| world.faults(file.class())).sum()
}

/// What a start may say, given what happened since the last one.
pub(super) struct Start {
    /// Something was damaged.
    suspect: bool,
    /// Logs may be uncertain that were so before.
    blurred: bool,
    /// Those.
    uncertain: BTreeSet<PartitionId>,
}

impl Start {
    /// Whether it says of a log, with reason, that it may hold less than it was promised to.
    pub(super) fn is_uncertain(&self, of: PartitionId, known: &KnownLog) -> bool {
        let is_news = self.blurred || !self.uncertain.contains(&of);
        self.suspect && known.uncertain && is_news
    }

    /// Whether it says, with reason, that anything of a log may be missing or damaged.
    pub(super) fn tells(&self, of: PartitionId, known: &KnownLog) -> bool {
        self.is_uncertain(of, known) || (self.suspect && !known.faulty.is_empty())
    }

    /// Whether it says so of one record.
    pub(super) fn tells_of(&self, of: PartitionId, known: &KnownLog, offset: i64) -> bool {
        self.is_uncertain(of, known) || (self.suspect && known.told(offset).is_some())
    }
}

fn known(image: &Image, of: PartitionId) -> Option<KnownLog> {
    Some(logs(image, View::Cache, |found| *found == of).remove(&of)?.log)
}

impl History {
    /// The broker has started and serves from now on.
    pub fn started(&self, world: &World) {
        let (damages, blurs) = (damages(world), blurs(world));
        let mut seen = self.seen();
        let disk = world.disk(BROKER);
        let uncertain = uncertain(&disk);
        let start = Start {
            suspect: damages > std::mem::replace(&mut seen.damages, damages),
            blurred: blurs > std::mem::replace(&mut seen.blurs, blurs),
            uncertain: std::mem::replace(&mut seen.uncertain, uncertain),
        };
        seen.serving = world.incarnation(BROKER);
        let Some(topic) = seen.topic else { return };
        let (mut told, fsync) = (false, seen.fsync);
        for (name, table) in &mut seen.tables {
            told |= table.started(world, name, &disk, &start);
        }
        for (partition, found) in &mut seen.partitions {
            let of = PartitionId { topic: TopicId(topic), index: PartitionIndex(*partition) };
            let log = read_log(&disk, topic, *partition, View::Cache).unwrap_or_default();
            let known = known(&disk, of).unwrap_or_default();
            let before = found.content.len();
            let excused = |offset| start.tells_of(of, &known, offset);
            for (offset, id) in &found.content {
                let is_there = log.at(*offset) == Some(*id);
                world.check("told-at-start", is_there || excused(*offset), || {
                    format!(
                        "{partition}/{offset} held {id}; after a start the log has {:?} of {} \
                         records, and nothing is said of it; {}",
                        log.at(*offset),
                        log.end,
                        log.stopped.as_deref().unwrap_or("whole")
                    )
                });
            }
            found.content.retain(|offset, id| log.at(*offset) == Some(*id));
            let upto = if fsync { i64::MAX } else { found.durable_upto };
            found.keep_acked(world, |offset, id| log.at(offset) == Some(id), upto);
            // What comes where something was lost is promised anew.
            found.durable_upto = found.durable_upto.min(log.end);
            found.lossy |= start.is_uncertain(of, &known) || found.content.len() < before;
            told |= start.tells(of, &known);
        }
        seen.coordinators.extend(coordinators(&disk, topic));
        let commits = read_committed(&disk, topic, View::Cache);
        let of_group = |of: &PartitionId| {
            known(&disk, *of).map_or(start.suspect, |known| start.tells(*of, &known))
        };
        if seen.coordinators.iter().any(of_group) {
            seen.commits.damage_is_told();
            told = true;
        }
        seen.commits.started(world, &commits);
        if told {
            // Nobody who asked before knows what stands now.
            seen.losses += 1;
            world.ledger.lock().budget.fired(Event::DamageTold);
        }
    }

    /// Notes which logs are the coordinators', while they can still be read.
    pub fn note_coordinators(&self, world: &World) {
        let mut seen = self.seen();
        let topic = seen.topic.unwrap_or_default();
        let found = coordinators(&world.disk(BROKER), topic);
        seen.coordinators.extend(found);
    }

    /// Whether records of the coordinators' topic are known to be damaged: then a group may get
    /// errors for ever.
    pub fn group_is_damaged(&self, world: &World) -> bool {
        let seen = self.seen();
        let disk = world.disk(BROKER);
        let is_damaged = |of| known(&disk, of).is_none_or(|log| !log.faulty.is_empty());
        damages(world) > 0 && seen.coordinators.iter().any(|of| is_damaged(*of))
    }
}

/// Logs of which the journal says that they may hold less than they were promised to.
fn uncertain(image: &Image) -> BTreeSet<PartitionId> {
    let all = logs(image, View::Cache, |_| true).into_iter();
    all.filter(|(_, found)| found.log.uncertain).map(|(of, _)| of).collect()
}

#[cfg(test)]
mod tests {
    use base::Uuid;

    use super::*;

    const OF: PartitionId = PartitionId { topic: TopicId(Uuid([1; 16])), index: PartitionIndex(0) };

    fn start(suspect: bool, blurred: bool, before: &[PartitionId]) -> Start {
        Start { suspect, blurred, uncertain: before.iter().copied().collect() }
    }

    #[test]
    fn a_log_that_was_uncertain_before_excuses_nothing_until_more_is_damaged_that_may_blur_it() {
        let known = KnownLog { uncertain: true, ..KnownLog::default() };

        assert!(start(true, false, &[]).tells_of(OF, &known, 3));
        assert!(start(true, true, &[OF]).tells_of(OF, &known, 3));
        assert!(!start(true, false, &[OF]).tells_of(OF, &known, 3));
        assert!(!start(false, false, &[]).tells(OF, &known), "nothing was damaged");
    }

    #[test]
    fn a_damaged_range_excuses_its_own_records_alone() {
        let known = KnownLog { faulty: vec![(2, 4)], ..KnownLog::default() };
        let start = start(true, false, &[]);

        let excused: Vec<i64> = (0..6).filter(|at| start.tells_of(OF, &known, *at)).collect();
        assert_eq!(excused, [2, 3]);
        assert!(start.tells(OF, &known) && !start.is_uncertain(OF, &known));
    }
}
