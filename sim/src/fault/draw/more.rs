//! The classes that came later, with dice of their own, so that the older part of a seed's plan is
//! what it always was.

use super::{BROKER, CHAOS_MS};
use crate::disk::OpKind;
use crate::fault::{Fault, Gone, Lost, Plan, Timed};
use crate::world::Dice;

/// Faults of these classes in one plan at most.
const FAULTS_MAX: u64 = 6;
/// Per mille of seeds that lose clients for good.
const GONE: u32 = 500;

#[derive(Clone, Copy)]
enum Class {
    StalledDisk,
    FailedRead,
    LatentSector,
    BitRot,
    MisdirectedWrite,
    LyingSync,
    ReorderedDirs,
    Suspend,
    ClockDrift,
    ClockJump,
    SlowNode,
    StalledRuntime,
    StalledReader,
    KernelRestart,
    CrashBetween,
    CrashAtMark,
    CrashDuringStart,
}

/// Weights of the classes: per mille of seeds that enable each.
const CLASSES: &[(Class, u32)] = &[
    (Class::StalledDisk, 150),
    (Class::FailedRead, 150),
    (Class::LatentSector, 300),
    (Class::BitRot, 150),
    (Class::MisdirectedWrite, 150),
    (Class::LyingSync, 60),
    (Class::ReorderedDirs, 400),
    (Class::Suspend, 150),
    (Class::ClockDrift, 200),
    (Class::ClockJump, 200),
    (Class::SlowNode, 150),
    (Class::StalledRuntime, 150),
    (Class::StalledReader, 350),
    (Class::KernelRestart, 200),
    (Class::CrashBetween, 250),
    (Class::CrashAtMark, 250),
    (Class::CrashDuringStart, 250),
];

/// Operations between which a crash is worth a try: the first, part of its name, the second.
const PAIRS: &[(OpKind, &str, OpKind)] = &[
    (OpKind::Rename, "", OpKind::SyncDir),
    (OpKind::Rename, "state", OpKind::SyncDir),
    (OpKind::Create, ".log", OpKind::SyncDir),
    (OpKind::Create, "", OpKind::Write),
    (OpKind::Remove, "", OpKind::SyncDir),
    (OpKind::Write, ".log", OpKind::Sync),
    (OpKind::Write, "log", OpKind::Sync),
    (OpKind::Sync, "", OpKind::Rename),
    (OpKind::Sync, ".log", OpKind::Write),
    (OpKind::SetLen, "", OpKind::Sync),
];

/// Marks at which a crash is worth a try.
const MARKS: &[&str] = &[
    "storage_segment_rolled",
    "storage_log_recovered",
    "storage_tail_written_again",
    "storage_torn_tail_cut",
    "storage_start_after_power_loss",
    "storage_start_after_process_crash",
    "storage_sync_failed",
    "storage_sealed",
    "group_emptied",
    "group_loaded_stable",
    "group_member_left",
    "flusher_failed",
];

pub(super) fn draw(plan: &mut Plan) {
    let mut dice = Dice::new(plan.seed, "plan: more faults");
    let enabled: Vec<Class> =
        CLASSES.iter().filter(|(_, odds)| dice.chance(*odds)).map(|(class, _)| *class).collect();
    let clients = u64::try_from(plan.clients()).unwrap_or(1);
    let count = if enabled.is_empty() { 0 } else { dice.between(1, FAULTS_MAX) };
    for _ in 0..count {
        let class = *dice.pick(&enabled);
        let at_ms = dice.below(CHAOS_MS);
        let fault = draw_fault(&mut dice, class, clients);
        // What changes how machines fail has to be there before they do.
        let early = matches!(class, Class::ReorderedDirs | Class::ClockDrift);
        let at_ms = if early { at_ms / 6 } else { at_ms };
        plan.faults.push(Timed { at_ms, fault });
    }
    let mut dice = Dice::new(plan.seed, "plan: gone for good");
    if dice.chance(GONE) {
        lose_clients(plan, &mut dice);
    }
}

fn draw_fault(dice: &mut Dice, class: Class, clients: u64) -> Fault {
    let client = 1 + usize::try_from(dice.below(clients)).unwrap_or(0);
    let any = if dice.chance(600) { BROKER } else { client };
    let (ms, few) = (dice.between(20, 2_000), u32::try_from(dice.between(1, 3)).unwrap_or(1));
    let (node, power) = (BROKER, dice.chance(600));
    match class {
        Class::StalledDisk => Fault::StalledDisk { node, dir: 0, ms: dice.between(500, 5_000) },
        Class::FailedRead => Fault::FailedRead { node, dir: 0, count: few },
        Class::LatentSector => {
            let sectors = u32::try_from(dice.between(5, 40)).unwrap_or(1);
            Fault::LatentSector { node, sectors, ms: 2 * ms }
        },
        Class::BitRot => Fault::BitRot { node, sectors: few, unprotected: false },
        Class::MisdirectedWrite => Fault::MisdirectedWrite { node, unprotected: false },
        Class::LyingSync => Fault::LyingSync { node, ms },
        Class::ReorderedDirs => Fault::ReorderedDirs { node },
        Class::Suspend => Fault::Suspend { node: any, ms: dice.between(100, 5_000) },
        Class::ClockDrift => {
            let ppm: i64 = *dice.pick(&[100, 1_000, 20_000, 100_000]);
            Fault::ClockDrift { node: any, ppm: if dice.chance(500) { ppm } else { -ppm } }
        },
        Class::ClockJump => {
            let by_ms: i64 = *dice.pick(&[100, 3_000, 60_000, 300_000]);
            Fault::ClockJump { node: any, by_ms: if dice.chance(500) { by_ms } else { -by_ms } }
        },
        Class::SlowNode => Fault::SlowNode { node: any, poll_us: dice.between(20, 300), ms },
        Class::StalledRuntime => Fault::StalledRuntime { node: any, ms },
        Class::StalledReader => {
            Fault::StalledReader { node: client, ms: 2 * ms, window: dice.index(256) + 1 }
        },
        Class::KernelRestart => Fault::KernelRestart { node, down_ms: ms },
        Class::CrashBetween => {
            let (after, name, before) = *dice.pick(PAIRS);
            let name = name.to_owned();
            Fault::CrashBetween { node, after, name, nth: few, before, power }
        },
        Class::CrashAtMark => {
            let mark = (*dice.pick(MARKS)).to_owned();
            Fault::CrashAtMark { node, mark, nth: few, power }
        },
        Class::CrashDuringStart => {
            let nth = u32::try_from(dice.between(1, 40)).unwrap_or(1);
            Fault::CrashDuringStart { node, times: few, nth, power }
        },
    }
}

/// Some members of the group and some producers, but never all.
fn lose_clients(plan: &mut Plan, dice: &mut Dice) {
    for nodes in [plan.producers(), plan.consumers()] {
        let mut left = nodes.len();
        for node in nodes {
            if left > 1 && dice.chance(400) {
                left -= 1;
                let how = *dice.pick(&[Lost::Cut, Lost::Deaf, Lost::Mute, Lost::Frozen, Lost::Off]);
                plan.gone.push(Gone { node, how });
            }
        }
    }
}
