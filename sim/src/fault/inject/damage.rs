//! Damage of files, and its end.
//!
//! Invariants: it hits bytes that are durable and sound, where the product can tell it from a torn
//! write; it is done while the process is down, if the plan wants that; it counts once a process
//! has read it, or missed the file.

use std::sync::Arc;

use super::disk::pick;
use super::later;
use crate::check::History;
use crate::disk::AtRest;
use crate::fault::{BROKER, DirFile, End, Fault, Harm};
use crate::world::{Crash, MS, World};

/// A stop that takes longer is not waited for, milliseconds.
const STOP_MS: u64 = 2_000;

pub(super) fn inject(world: &Arc<World>, history: &History, fault: &Fault) {
    let Fault::Damage { node, end, down_ms, .. } = *fault else { return };
    match end {
        None => harm(world, history, fault),
        Some(End::Stop) => {
            world.ask_to_stop(node);
            harm_once_down(world, history, fault, STOP_MS);
        },
        Some(End::Crash | End::Power) => {
            let how = if end == Some(End::Power) { Crash::Power } else { Crash::Process };
            world.crash(node, how);
            harm(world, history, fault);
            later(world, down_ms, move |world| world.boot(node));
        },
    }
}

fn harm_once_down(world: &Arc<World>, history: &History, fault: &Fault, left_ms: u64) {
    let Fault::Damage { node, .. } = *fault else { return };
    if world.is_calm() || left_ms == 0 {
        return;
    }
    if !world.is_up(node) {
        return harm(world, history, fault);
    }
    let (history, fault) = (history.clone(), fault.clone());
    world.at(world.now() + MS, move |world| harm_once_down(world, &history, &fault, left_ms - 1));
}

fn harm(world: &Arc<World>, history: &History, fault: &Fault) {
    let Fault::Damage { node, file, harm, sectors, unprotected, .. } = *fault else { return };
    let class = fault.class();
    history.note_coordinators(world);
    if file == DirFile::Journal {
        history.note_vouched(world);
    }
    let files = history.places(world, file, unprotected);
    if harm == Harm::Lost {
        let mut files = files;
        if !files.is_empty() {
            let mut dice = world.dice(&format!("file at {} of {}", world.now(), files.len()));
            let place = files.swap_remove(dice.index(files.len()));
            world.disk(node).lose_file(&place.path, class);
        }
        return;
    }
    let mut dice = world.dice(&format!("damage at {}", world.now()));
    let mut hit = Vec::new();
    // All of it in one file: two copies of a thing do not rot at the same time.
    let candidates: Vec<_> = files
        .into_iter()
        .map(|place| (world.disk(node).at_rest(std::slice::from_ref(&place)), place))
        .filter(|(sectors, _)| !sectors.is_empty())
        .collect();
    if candidates.is_empty() {
        return;
    }
    let (mut places, file) = candidates[dice.index(candidates.len())].clone();
    for _ in 0..sectors {
        hit.extend(pick(world, &mut places));
    }
    let others = match harm {
        Harm::Misdirected => history.other_files(world, &file.path),
        Harm::Rot | Harm::Lost => Vec::new(),
    };
    let mut strays: Vec<AtRest> = world.disk(node).at_rest(&others);
    let mut disk = world.disk(node);
    for place in hit {
        match harm {
            Harm::Misdirected if strays.is_empty() || place.begins_spared() => {},
            Harm::Misdirected => {
                let stray = strays.swap_remove(dice.index(strays.len()));
                disk.land_on(&place, stray.bytes(), class);
            },
            Harm::Rot | Harm::Lost => disk.rot(&place, &mut dice, class),
        }
    }
    disk.note_hurt(&file.path, class);
}

/// Everything is quiet: the coordinators' topic is as it was, for a group that cannot be read does
/// no work, and says so.
pub(super) fn end(world: &Arc<World>, node: usize) {
    let class = DirFile::Coordinator.class();
    if node == BROKER && world.disk(node).give_back(|damaged| damaged == class) {
        world.crash(node, Crash::Process);
    }
}
