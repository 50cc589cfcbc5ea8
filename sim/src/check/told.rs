//! What a start has found out and said: a log may hold less than was promised only if the journal
//! says of it that it may, and only after something was damaged.
//!
//! Invariants: every start of the broker is looked at before a client can reach it; what it says is
//! lost is excused once, there and then, record by record; a broker that says so without damage has
//! raised a false alarm.

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

fn known(image: &Image, of: PartitionId) -> Option<KnownLog> {
    Some(logs(image, View::Cache, |found| *found == of).remove(&of)?.log)
}

impl History {
    /// The broker has started and serves from now on.
    pub fn started(&self, world: &World) {
        let damages = damages(world);
        let mut seen = self.seen();
        let suspect = damages > std::mem::replace(&mut seen.damages, damages);
        let Some(topic) = seen.topic else { return };
        let (mut told, fsync) = (false, seen.fsync);
        let disk = world.disk(BROKER);
        for (partition, found) in &mut seen.partitions {
            let of = PartitionId { topic: TopicId(topic), index: PartitionIndex(*partition) };
            let log = read_log(&disk, topic, *partition, View::Cache).unwrap_or_default();
            let known = known(&disk, of).unwrap_or_default();
            let before = found.content.len();
            let excused = |offset| suspect && (known.uncertain || known.told(offset).is_some());
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
            found.keep_acked(world, &log, upto);
            found.lossy |= suspect && (known.uncertain || found.content.len() < before);
            told |= suspect && (known.uncertain || !known.faulty.is_empty());
        }
        seen.coordinators.extend(coordinators(&disk, topic));
        if suspect && seen.coordinators.iter().any(|of| is_told(&disk, *of)) {
            let now = read_committed(&disk, topic, View::Cache);
            seen.commits.power_is_lost(&now, &now);
            told = true;
        }
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

    /// Whether the coordinators' topic is known to be damaged: then a group may get errors for ever.
    pub fn group_is_damaged(&self, world: &World) -> bool {
        let seen = self.seen();
        let disk = world.disk(BROKER);
        damages(world) > 0 && seen.coordinators.iter().any(|of| is_told(&disk, *of))
    }
}

/// Whether the journal says that a log may hold less than it was promised to, or knows it no more.
fn is_told(image: &Image, of: PartitionId) -> bool {
    known(image, of).is_none_or(|log| log.uncertain || !log.faulty.is_empty())
}
