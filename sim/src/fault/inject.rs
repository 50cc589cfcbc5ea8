//! Carrying the faults out.

mod damage;
mod disk;
mod reactive;

use std::sync::Arc;

use super::{BROKER, Fault, Gone, Lost, Plan, Timed};
use crate::check::History;
use crate::world::{Crash, MS, US, World};

/// Arranges for every fault of `plan` to begin at its time, counted from now. `history` knows where
/// damage can be told from what was written.
pub fn inject_all(world: &Arc<World>, plan: &Plan, history: &History) {
    let start = world.now();
    for Timed { at_ms, fault } in plan.faults.clone() {
        let history = history.clone();
        world.at(start + at_ms * MS, move |world| {
            if !world.is_calm() {
                inject(world, &history, &fault);
            }
        });
    }
}

/// Ends every fault: noise off, everybody awake and running.
pub fn heal(world: &Arc<World>) {
    world.calm_down();
    (0..world.node_count()).for_each(|node| world.disturb(node));
    for node in 0..world.node_count() {
        world.set_drift(node, 0);
        world.set_poll_cost(node, 0);
        world.suspend(node, false);
        world.set_paused(node, false);
        if world.disk(node).put_back() {
            world.crash(node, Crash::Power);
        }
        damage::end(world, node);
        if world.disk(node).any_out_of_service() {
            world.crash(node, Crash::Process);
        }
        world.boot(node);
    }
    world.ledger.lock().mark_traps.clear();
}

/// Loses a client for good.
pub fn lose(world: &Arc<World>, gone: &Gone) {
    let node = gone.node;
    world.fired("gone for good");
    match gone.how {
        Lost::Cut => {
            world.cut(node, BROKER, true);
            world.cut(BROKER, node, true);
        },
        Lost::Deaf => world.cut(BROKER, node, true),
        Lost::Mute => world.cut(node, BROKER, true),
        Lost::Frozen => world.set_paused(node, true),
        Lost::Off => drop(world.crash(node, Crash::Power)),
    }
}

fn later(world: &Arc<World>, ms: u64, undo: impl FnOnce(&Arc<World>) + Send + 'static) {
    world.at(world.now() + ms * MS, undo);
}

fn inject(world: &Arc<World>, history: &History, fault: &Fault) {
    match *fault {
        Fault::ProcessCrash { node, down_ms } => crash(world, fault, node, Crash::Process, down_ms),
        Fault::PowerLoss { node, down_ms } => crash(world, fault, node, Crash::Power, down_ms),
        Fault::KernelRestart { node, down_ms } => crash(world, fault, node, Crash::Kernel, down_ms),
        // Counted when the process has heard of it.
        Fault::CleanStop { node } => world.ask_to_stop(node),
        Fault::Damage { .. } => damage::inject(world, history, fault),
        Fault::CrashAtOp { .. }
        | Fault::CrashBetween { .. }
        | Fault::CrashAtMark { .. }
        | Fault::CrashDuringStart { .. } => reactive::inject(world, fault),
        Fault::Reset { .. }
        | Fault::Cut { .. }
        | Fault::SlowNet { .. }
        | Fault::StalledReader { .. } => inject_net(world, fault),
        Fault::Pause { .. }
        | Fault::Suspend { .. }
        | Fault::ClockDrift { .. }
        | Fault::ClockJump { .. }
        | Fault::SlowNode { .. }
        | Fault::StalledRuntime { .. } => inject_time(world, fault),
        Fault::FailedSync { .. }
        | Fault::ShortWrite { .. }
        | Fault::DiskFull { .. }
        | Fault::SlowDisk { .. }
        | Fault::StalledDisk { .. }
        | Fault::FailedRead { .. }
        | Fault::LatentSector { .. }
        | Fault::BitRot { .. }
        | Fault::MisdirectedWrite { .. }
        | Fault::LyingSync { .. }
        | Fault::ReorderedDirs { .. }
        | Fault::ReplacedDirectory { .. } => disk::inject(world, history, fault),
    }
}

fn crash(world: &Arc<World>, fault: &Fault, node: usize, how: Crash, down_ms: u64) {
    if world.crash(node, how) {
        world.fired_at(node, fault.class());
    }
    later(world, down_ms, move |world| world.boot(node));
}

fn inject_net(world: &Arc<World>, fault: &Fault) {
    match *fault {
        Fault::Reset { a, b } => {
            let count = world.reset_between(a, b);
            if count > 0 {
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
        // Counted when somebody who writes is held up.
        Fault::StalledReader { node, ms, window } => {
            let until = world.now() + ms * MS;
            world.stall_reader(node, until, window);
        },
        _ => {},
    }
}

fn inject_time(world: &Arc<World>, fault: &Fault) {
    match *fault {
        Fault::Pause { node, ms } => {
            if !world.is_up(node) {
                return;
            }
            world.fired_at(node, fault.class());
            world.set_paused(node, true);
            let incarnation = world.incarnation(node);
            later(world, ms, move |world| {
                if world.alive(node, incarnation) {
                    world.set_paused(node, false);
                }
            });
        },
        Fault::Suspend { node, ms } => {
            if !world.is_up(node) {
                return;
            }
            world.fired_at(node, fault.class());
            world.suspend(node, true);
            let incarnation = world.incarnation(node);
            later(world, ms, move |world| {
                if world.alive(node, incarnation) {
                    world.suspend(node, false);
                }
            });
        },
        Fault::ClockDrift { node, ppm } => {
            world.fired_at(node, fault.class());
            world.set_drift(node, ppm);
        },
        Fault::ClockJump { node, by_ms } => {
            world.fired_at(node, fault.class());
            world.jump_wall(node, by_ms);
        },
        Fault::SlowNode { node, poll_us, ms } => {
            world.fired_at(node, fault.class());
            world.set_poll_cost(node, poll_us * US);
            later(world, ms, move |world| world.set_poll_cost(node, 0));
        },
        Fault::StalledRuntime { node, ms } => {
            if !world.is_up(node) {
                return;
            }
            world.fired_at(node, fault.class());
            world.stall_runtime(node, world.now() + ms * MS);
            later(world, ms, move |world| world.disturb(node));
        },
        _ => {},
    }
}
