//! Carrying the faults out.

use std::sync::Arc;

use super::{Fault, Plan, Timed};
use crate::world::{Crash, MS, World};

/// Arranges for every fault of `plan` to begin at its time, counted from now.
pub fn inject_all(world: &Arc<World>, plan: &Plan) {
    let start = world.now();
    for Timed { at_ms, fault } in plan.faults.clone() {
        world.at(start + at_ms * MS, move |world| {
            if !world.is_calm() {
                inject(world, &fault);
            }
        });
    }
}

/// Ends every fault: noise off, everybody awake and running.
pub fn heal(world: &Arc<World>) {
    world.calm_down();
    (0..world.node_count()).for_each(|node| world.disturb(node));
    for node in 0..world.node_count() {
        world.set_paused(node, false);
        world.boot(node);
    }
}

fn later(world: &Arc<World>, ms: u64, undo: impl FnOnce(&Arc<World>) + Send + 'static) {
    world.at(world.now() + ms * MS, undo);
}

fn inject(world: &Arc<World>, fault: &Fault) {
    match *fault {
        Fault::ProcessCrash { node, down_ms } => crash(world, fault, node, Crash::Process, down_ms),
        // Counted when the process has heard of it.
        Fault::CleanStop { node } => world.ask_to_stop(node),
        Fault::PowerLoss { node, down_ms } => crash(world, fault, node, Crash::Power, down_ms),
        Fault::CrashAtOp { node, op, nth, power } => {
            let how = if power { Crash::Power } else { Crash::Process };
            world.disks[node].lock().armed.crash_at = Some((op, nth, how));
        },
        Fault::FailedSync { node, count } => {
            world.disks[node].lock().armed.failed_syncs = count;
        },
        Fault::ShortWrite { node } => world.disks[node].lock().armed.short_writes = 1,
        Fault::DiskFull { node, ms } => {
            world.disks[node].lock().armed.full = true;
            later(world, ms, move |world| {
                world.disks[node].lock().armed.full = false;
                world.disturb(node);
            });
        },
        Fault::SlowDisk { node, factor, ms } => {
            world.fired(fault.class());
            world.disks[node].lock().armed.slow = factor;
            later(world, ms, move |world| {
                world.disks[node].lock().armed.slow = 1;
                world.disturb(node);
            });
        },
        Fault::Reset { a, b } => {
            if world.reset_between(a, b) > 0 {
                world.fired(fault.class());
            }
        },
        Fault::Cut { from, to, both, ms } => {
            world.fired(fault.class());
            let cut = move |world: &Arc<World>, on| {
                let mut net = world.net.lock();
                net.set_cut(from, to, on);
                if both {
                    net.set_cut(to, from, on);
                }
            };
            cut(world, true);
            later(world, ms, move |world| cut(world, false));
        },
        Fault::SlowNet { factor, ms } => {
            world.fired(fault.class());
            world.net.lock().set_slow(factor);
            later(world, ms, |world| world.net.lock().set_slow(1));
        },
        Fault::Pause { node, ms } => {
            if !world.is_up(node) {
                return;
            }
            world.fired(fault.class());
            world.set_paused(node, true);
            let incarnation = world.incarnation(node);
            later(world, ms, move |world| {
                if world.alive(node, incarnation) {
                    world.set_paused(node, false);
                }
            });
        },
    }
}

fn crash(world: &Arc<World>, fault: &Fault, node: usize, how: Crash, down_ms: u64) {
    if world.crash(node, how) {
        world.fired(fault.class());
    }
    later(world, down_ms, move |world| world.boot(node));
}
