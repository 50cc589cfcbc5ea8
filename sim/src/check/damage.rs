//! Damaged records: what may be said about them.
//!
//! Invariant: corruption is not absence. Whoever asks for a damaged record gets an error or bytes
//! whose checksum shows it, may go on behind it, and never hears that there is no such record.

use std::path::Path;

use base::{PartitionId, PartitionIndex, TopicId};

use super::History;
use super::platter::{
    closed_segments, damage_at, is_damaged, places, stray_files, told_segment_is_gone,
};
use super::told::damages;
use crate::budget::Event;
use crate::disk::Place;
use crate::fault::{BROKER, DirFile};
use crate::world::World;

impl History {
    /// The files of segments of the topic that are not written any more, and which of their bytes no
    /// checksum covers.
    pub fn closed_segments(&self, world: &World) -> Vec<Place> {
        let topic = self.seen().topic;
        topic.map(|topic| closed_segments(&world.disk(BROKER), topic)).unwrap_or_default()
    }

    /// Files of a kind, and where each may be damaged.
    pub fn places(&self, world: &World, file: DirFile, unprotected: bool) -> Vec<Place> {
        let topic = self.seen().topic;
        let disk = world.disk(BROKER);
        topic.map(|topic| places(&disk, topic, file, unprotected)).unwrap_or_default()
    }

    /// Every file but one: what a write that went astray may have been meant for.
    pub fn other_files(&self, world: &World, but: &Path) -> Vec<Place> {
        stray_files(&world.disk(BROKER), but)
    }

    /// A reader was told that `offset` is damaged. Returns where it may go on, if that is true.
    pub fn told_of_damage(&self, world: &World, partition: i32, offset: i64) -> Option<i64> {
        let topic = TopicId(self.seen().topic?);
        let of = PartitionId { topic, index: PartitionIndex(partition) };
        let next = {
            let disk = world.disk(BROKER);
            if !disk.has_damage() && damages(world) == 0 {
                return None;
            }
            damage_at(&disk, of, offset)?
        };
        world.ledger.lock().budget.fired(Event::DamageTold);
        Some(next)
    }

    /// Whether a segment is gone, and a start has told so: then who reads there gets an error.
    pub fn told_segment_is_gone(&self, world: &World) -> bool {
        damages(world) > 0 && told_segment_is_gone(&world.disk(BROKER))
    }

    /// Whether a start may have forgotten producers of a partition: it reads them out of batch
    /// headers, and not behind a damaged one.
    pub(super) fn may_forget_producers(&self, world: &World, partition: i32) -> bool {
        let Some(topic) = self.seen().topic else { return false };
        let of = PartitionId { topic: TopicId(topic), index: PartitionIndex(partition) };
        is_damaged(&world.disk(BROKER), of)
    }

    /// A reader that asked often for `offset` alone got nothing and no error.
    pub fn got_nothing(&self, world: &World, partition: i32, offset: i64) {
        world.check("damage-is-told", false, || {
            format!("{partition}/{offset}: is below the high watermark, and nothing is said of it")
        });
    }
}
