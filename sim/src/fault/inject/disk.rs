//! Faults of a disk.

use std::path::Path;
use std::sync::Arc;

use super::later;
use crate::check::{DATA_DIRS, History};
use crate::disk::{AtRest, Place};
use crate::fault::Fault;
use crate::world::{Crash, MS, World};

/// Until a machine whose directory was replaced is started again, milliseconds.
const REPLACED_MS: u64 = 100;

pub(super) fn inject(world: &Arc<World>, history: &History, fault: &Fault) {
    match *fault {
        Fault::FailedSync { node, dir, count } => {
            world.disk(node).device(dir).failed_syncs = count;
        },
        Fault::ShortWrite { node, dir } => world.disk(node).device(dir).short_writes = 1,
        Fault::FailedRead { node, dir, count } => {
            world.disk(node).device(dir).failed_reads = count;
        },
        Fault::ReorderedDirs { node } => world.disk(node).armed.reorder = true,
        Fault::DiskFull { node, dir, ms, room } => {
            world.disk(node).device(dir).room = Some(room);
            for_a_while(world, node, ms, move |world| world.disk(node).device(dir).room = None);
        },
        Fault::SlowDisk { node, factor, ms } => {
            // Counted when an operation takes that long.
            let mut disk = world.disk(node);
            (disk.armed.slow, disk.armed.slow_is_news) = (factor, true);
            drop(disk);
            for_a_while(world, node, ms, move |world| world.disk(node).armed.slow = 1);
        },
        Fault::StalledDisk { node, dir, ms } => {
            world.stall_disk(node, dir, world.now() + ms * MS);
            for_a_while(world, node, ms, move |world| world.stall_disk(node, dir, 0));
        },
        Fault::LyingSync { node, ms } => {
            world.disk(node).armed.lying = true;
            for_a_while(world, node, ms, move |world| {
                let mut disk = world.disk(node);
                if std::mem::take(&mut disk.armed.lying) {
                    disk.drain();
                }
            });
        },
        Fault::LatentSector { node, sectors, ms } => {
            let mut places = at_rest(world, history, node);
            for _ in 0..sectors {
                if let Some(place) = pick(world, &mut places) {
                    world.disk(node).lose_sector(&place);
                }
            }
            for_a_while(world, node, ms, move |world| world.disk(node).repair_sectors());
        },
        Fault::BitRot { node, sectors, unprotected } => {
            let mut dice = world.dice(&format!("rot at {}", world.now()));
            let mut places = if unprotected {
                every_byte_at_rest(world, history, node)
            } else {
                at_rest(world, history, node)
            };
            for _ in 0..sectors {
                if let Some(place) = pick(world, &mut places) {
                    world.disk(node).rot(&place, &mut dice, fault.class());
                }
            }
        },
        Fault::MisdirectedWrite { node, unprotected } => {
            let mut places = if unprotected {
                every_byte_at_rest(world, history, node)
            } else {
                at_rest(world, history, node)
            };
            // A whole batch in the place of another has a right checksum.
            places.retain(|place| !place.begins_spared());
            world.disk(node).misdirect(1, places);
        },
        Fault::ReplacedDirectory { node, age_ms } => replace(world, node, age_ms),
        _ => {},
    }
}

/// Sectors of segments that are not written any more: what no crash may take.
fn at_rest(world: &World, history: &History, node: usize) -> Vec<AtRest> {
    let files = history.closed_segments(world);
    world.disk(node).at_rest(&files)
}

/// The same, the bytes included that no checksum covers.
fn every_byte_at_rest(world: &World, history: &History, node: usize) -> Vec<AtRest> {
    let all = history.closed_segments(world).into_iter();
    let files: Vec<Place> = all.map(|place| Place::whole(place.path)).collect();
    world.disk(node).at_rest(&files)
}

fn for_a_while(
    world: &Arc<World>,
    node: usize,
    ms: u64,
    undo: impl FnOnce(&Arc<World>) + Send + 'static,
) {
    later(world, ms, move |world| {
        undo(world);
        world.disturb(node);
    });
}

pub(super) fn pick(world: &World, places: &mut Vec<AtRest>) -> Option<AtRest> {
    if places.is_empty() {
        return None;
    }
    let mut dice = world.dice(&format!("place at {} of {}", world.now(), places.len()));
    Some(places.swap_remove(dice.index(places.len())))
}

/// The machine goes down and comes back with a copy that is taken now, or with nothing.
fn replace(world: &Arc<World>, node: usize, age_ms: Option<u64>) {
    let copy = age_ms.map(|_| world.disk(node).clone());
    later(world, age_ms.unwrap_or(0), move |world| {
        if world.is_calm() {
            return;
        }
        world.crash(node, Crash::Power);
        world.disk(node).replace(copy, Path::new(DATA_DIRS[0]));
        later(world, REPLACED_MS, move |world| world.boot(node));
    });
}
