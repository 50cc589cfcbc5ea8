//! What must hold when all is quiet again.

use std::collections::{BTreeMap, BTreeSet};

use super::History;
use super::committed::read_committed;
use super::history::due_before;
use super::platter::{DiskLog, View, in_two_places, missing_segment, read_log};
use super::records::RecordId;
use crate::durability::Promise;
use crate::fault::BROKER;
use crate::world::World;

fn read_logs(
    history: &History,
    world: &World,
    partitions: u32,
    view: View,
) -> BTreeMap<i32, DiskLog> {
    let Some(topic) = history.seen().topic else { return BTreeMap::new() };
    let disk = world.disks[BROKER].lock();
    let read = |index| {
        let index = i32::try_from(index).ok()?;
        Some((index, read_log(&disk, topic, index, view)?))
    };
    (0..partitions).filter_map(read).collect()
}

/// Whether the group has committed everything that is in the logs.
pub fn settled(history: &History, world: &World, partitions: u32) -> bool {
    let logs = read_logs(history, world, partitions, View::Cache);
    // Not what was acknowledged: the answer to the last commit may have been lost.
    let topic = history.seen().topic.unwrap_or_default();
    let committed = read_committed(&world.disk(BROKER), topic, View::Cache);
    let last = |index| committed.get(index).and_then(|found| found.offsets.last());
    logs.iter().all(|(index, log)| log.end == 0 || last(index) == Some(&log.end))
}

/// Holds the logs on the disk against everything clients saw.
pub fn finish(history: &History, world: &World, partitions: u32) {
    let logs = read_logs(history, world, partitions, View::Cache);
    let durable = read_logs(history, world, partitions, View::Durable);
    let due = due_before(world);
    let seen = history.seen();
    let (committed, any_out_of_service) = {
        let disk = world.disks[BROKER].lock();
        let committed = read_committed(&disk, seen.topic.unwrap_or_default(), View::Durable);
        (committed, disk.any_out_of_service())
    };
    seen.commits.must_be_flushed(world, &committed, due.filter(|_| !any_out_of_service));
    for view in [View::Cache, View::Durable] {
        let missing = missing_segment(&world.disks[BROKER].lock(), view, false);
        world.check("named-segments", missing.is_none(), || {
            format!("the journal names {}, which is not there", missing.unwrap_or_default())
        });
    }
    let twice = in_two_places(&world.disks[BROKER].lock(), View::Cache);
    world.check("one-place", twice.is_none(), || format!("partition and directories: {twice:?}"));
    let mut places: BTreeMap<RecordId, (i32, i64)> = BTreeMap::new();
    for (index, known) in &seen.partitions {
        let nothing = DiskLog::default();
        let log = logs.get(index).unwrap_or(&nothing);
        world.check("dense", log.stopped.is_none(), || {
            format!("{index}: {}", log.stopped.clone().unwrap_or_default())
        });
        known.must_be_flushed(world, *index, durable.get(index).unwrap_or(&nothing), due);
        for (id, (offset, _)) in &known.acked {
            let found = log.at(*offset);
            world.check("acked-survives", found == Some(*id), || {
                format!("{index}/{offset} was acked as {id}; the disk has {found:?}")
            });
        }
        for (offset, id) in &known.content {
            let found = log.at(*offset);
            world.check("one-content", found == Some(*id), || {
                format!("{index}/{offset} was read as {id}; the disk has {found:?}")
            });
        }
        let held: BTreeSet<&RecordId> = log.records.iter().map(|(_, id)| id).collect();
        let gone = known.unacked.iter().filter(|id| !held.contains(id)).count();
        world.lost(Promise::None, u64::try_from(gone).unwrap_or(u64::MAX));
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for (offset, id) in &log.records {
            world.check("known-content", known.sent.contains(id), || {
                format!("{index}/{offset}: {id} was never sent there")
            });
            // What a start could not read it cannot know when it is sent again.
            if !seen.idempotent.contains(&id.client) || known.untold.contains(&(*offset, *id)) {
                continue;
            }
            if let Some((where_to, at)) = places.insert(*id, (*index, *offset)) {
                world.check("exactly-once", false, || {
                    format!("{id} is at {where_to}/{at} and at {index}/{offset}")
                });
            }
            let before = last.insert(id.client, id.number);
            world.check("in-order", before.is_none_or(|before| before < id.number), || {
                format!("{index}/{offset}: {id} comes after {before:?}")
            });
        }
    }
}
