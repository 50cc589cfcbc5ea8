//! Faults that wait for the product to do something: their traps, set when they begin.

use std::sync::Arc;

use crate::disk::{Sprung, StartTrap, Trap};
use crate::fault::Fault;
use crate::world::{Crash, MarkTrap, World};

pub(super) fn inject(world: &Arc<World>, fault: &Fault) {
    let class = fault.class();
    let how = |power| if power { Crash::Power } else { Crash::Process };
    match fault.clone() {
        Fault::CrashAtOp { node, op, nth, power } => {
            let (how, name, left) = (how(power), String::new(), nth.max(1));
            let trap = Trap { class, how, op, name, left, before: None };
            world.disk(node).armed.set_trap(trap);
        },
        Fault::CrashBetween { node, after, name, nth, before, power } => {
            let (how, op, left) = (how(power), after, nth.max(1));
            let trap = Trap { class, how, op, name, left, before: Some(before) };
            world.disk(node).armed.set_trap(trap);
        },
        Fault::CrashAtMark { node, mark, nth, power } => {
            let trap = MarkTrap { node, mark, left: nth.max(1), how: how(power) };
            world.ledger.lock().mark_traps.push(trap);
        },
        Fault::CrashDuringStart { node, times, nth, power } => {
            let end = Sprung { class, how: how(power) };
            world.disk(node).armed.set_start_trap(StartTrap { times, nth: nth.max(1), end });
            if world.crash(node, Crash::Process) {
                world.restart_later(node);
            }
        },
        _ => {},
    }
}
