//! Drawing a plan from a seed, swarm fashion: each seed enables a random subset of the fault
//! classes with intensities of its own, so that rare combinations are not drowned by the average.

mod aimed;
mod damage;
mod dirs;
mod more;

use super::{Fault, Plan, Timed, Work};
use crate::disk::OpKind;
use crate::world::{Dice, Knobs};

/// The node the broker runs on; clients follow.
pub const BROKER: usize = 0;
/// Faults begin within so many simulated milliseconds.
const CHAOS_MS: u64 = 6_000;
/// Faults of one plan at most.
const FAULTS_MAX: u64 = 14;

/// Batches of an idempotent producer on the wire; a broker remembers as many per partition.
const IN_FLIGHT_MAX: usize = 5;

/// Per mille of seeds in which the broker has little patience and little room.
const TIGHT: u32 = 250;
/// Per mille of seeds in which the broker deletes no topics.
const TOPICS_STAY: u32 = 100;

/// Per mille of seeds in which the topic asks for durable acknowledgements.
const FSYNC: u32 = 400;

/// Per mille of seeds in which the topic's durability mode changes, and how often at most.
const MODE_CHANGES: u32 = 350;
const MODE_CHANGES_MAX: u64 = 12;

/// Per mille of seeds in which logs are compacted and deleted from the front.
const KEEPER: u32 = 600;

/// Per mille of seeds in which the disks are full while all is quiet.
const FULL_WHEN_QUIET: u32 = 150;

/// Per mille of seeds in which the topic gets more partitions, and how many at most.
const GROWN: u32 = 350;
const GROWN_MAX: u64 = 3;

/// Per mille of seeds in which sequences wrap.
const WRAPS: u32 = 200;

/// Per mille of seeds in which clients have ways of their own.
const VARIED: u32 = 750;

/// Per mille of seeds in which groups are deleted.
const GROUPS: u32 = 500;

/// Per mille of seeds in which the broker is stopped cleanly.
const CLEAN_STOP: u32 = 400;

/// Per mille of seeds in which an operator changes settings of the broker and of the topic.
const OPERATOR: u32 = 400;
const SETTINGS_MAX: u64 = 10;

/// Weights of the classes: per mille of seeds that enable each.
const CLASSES: &[(Class, u32)] = &[
    (Class::Crash, 500),
    (Class::Power, 400),
    (Class::PowerAtOp, 650),
    (Class::CrashAtOp, 400),
    (Class::FailedSync, 350),
    (Class::ShortWrite, 250),
    (Class::Full, 150),
    (Class::SlowDisk, 300),
    (Class::Reset, 500),
    (Class::Cut, 300),
    (Class::SlowNet, 300),
    (Class::Pause, 350),
    (Class::HalfOpen, 300),
];

#[derive(Clone, Copy)]
enum Class {
    Crash,
    Power,
    PowerAtOp,
    CrashAtOp,
    FailedSync,
    ShortWrite,
    Full,
    SlowDisk,
    Reset,
    Cut,
    SlowNet,
    Pause,
    HalfOpen,
}

impl Plan {
    /// The plan of `seed`.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let work = draw_work(&mut dice);
        let knobs = draw_knobs(&mut dice);
        let mut plan =
            Self { seed, work, knobs, mutants: Vec::new(), faults: Vec::new(), gone: Vec::new() };
        let enabled: Vec<Class> = CLASSES
            .iter()
            .filter(|(_, odds)| dice.chance(*odds))
            .map(|(class, _)| *class)
            .collect();
        let clients = u64::try_from(plan.clients()).unwrap_or(1);
        let count = if enabled.is_empty() { 0 } else { dice.between(1, FAULTS_MAX) };
        for _ in 0..count {
            let class = *dice.pick(&enabled);
            let fault = draw_fault(&mut dice, class, clients);
            plan.faults.push(Timed { at_ms: dice.below(CHAOS_MS), fault });
        }
        // Dice of their own, so that the rest of a plan does not depend on them.
        let mut dice = Dice::new(seed, "plan: odd client and clean stops");
        plan.work.odd = dice.chance(500);
        if dice.chance(CLEAN_STOP) {
            for _ in 0..dice.between(1, 2) {
                let fault = Fault::CleanStop { node: BROKER };
                plan.faults.push(Timed { at_ms: dice.below(CHAOS_MS), fault });
            }
        }
        plan.work.in_flight = Dice::new(seed, "plan: batches in flight").index(IN_FLIGHT_MAX) + 1;
        let mut dice = Dice::new(seed, "plan: settings");
        plan.work.tight = dice.chance(TIGHT);
        plan.work.topics_stay = dice.chance(TOPICS_STAY);
        plan.work.fsync = Dice::new(seed, "plan: durability").chance(FSYNC);
        let mut dice = Dice::new(seed, "plan: mode changes");
        if dice.chance(MODE_CHANGES) {
            plan.work.mode_changes = dice.between(2, MODE_CHANGES_MAX);
        }
        plan.work.keeper = Dice::new(seed, "plan: keeper").chance(KEEPER);
        let mut dice = Dice::new(seed, "plan: topics of the keeper");
        plan.work.both = plan.work.keeper && dice.chance(500);
        plan.work.keeper_ids = plan.work.keeper && dice.chance(500);
        let mut dice = Dice::new(seed, "plan: added partitions");
        if dice.chance(GROWN) {
            plan.work.grown = u32::try_from(dice.between(1, GROWN_MAX)).unwrap_or(1);
            plan.work.partitions += plan.work.grown;
        }
        plan.work.wraps = Dice::new(seed, "plan: sequences").chance(WRAPS);
        plan.work.full_when_quiet =
            Dice::new(seed, "plan: full when quiet").chance(FULL_WHEN_QUIET);
        plan.work.varied = Dice::new(seed, "plan: ways of clients").chance(VARIED);
        let mut dice = Dice::new(seed, "plan: operator");
        if dice.chance(OPERATOR) {
            plan.work.settings = dice.between(2, SETTINGS_MAX);
        }
        plan.work.groups = Dice::new(seed, "plan: groups that go").chance(GROUPS);
        more::draw(&mut plan);
        damage::draw(&mut plan);
        dirs::draw(&mut plan);
        aimed::draw(&mut plan);
        plan.faults.sort_by_key(|timed| timed.at_ms);
        plan
    }
}

fn draw_work(dice: &mut Dice) -> Work {
    let (idempotent, plain) = (dice.between(1, 3), dice.below(3));
    let producers = idempotent + plain;
    let owed = dice.between(220, 400);
    let batch_max = *dice.pick(&[1, 2, 5, 20]);
    // A batch has to fit into a segment: its header, and records with up to 200 bytes of padding.
    let batch_bytes = 100 + batch_max * 260;
    Work {
        idempotent: usize::try_from(idempotent).unwrap_or(1),
        plain: usize::try_from(plain).unwrap_or(0),
        consumers: dice.index(4),
        partitions: u32::try_from(dice.between(1, 4)).unwrap_or(1),
        records: owed.div_ceil(producers),
        batch_max,
        think_max_ms: *dice.pick(&[0, 5, 50, 100]),
        in_flight: 1,
        grown: 0,
        side_topics: dice.below(4),
        segment_bytes: *dice.pick(&[batch_bytes, 3 * batch_bytes, 10 * batch_bytes, 1 << 20]),
        tight: false,
        topics_stay: false,
        odd: false,
        fsync: false,
        mode_changes: 0,
        keeper: false,
        both: false,
        keeper_ids: false,
        wraps: false,
        dirs: 1,
        home: 0,
        full_when_quiet: false,
        unacked: false,
        varied: false,
        settings: 0,
        groups: false,
    }
}

fn draw_knobs(dice: &mut Dice) -> Knobs {
    let mut sometimes = |odds: u32, most: u64| {
        let on = dice.chance(odds);
        let drawn = u32::try_from(dice.between(1, most)).unwrap_or(0);
        if on { drawn } else { 0 }
    };
    let (loss, short_io) = (sometimes(300, 150), sometimes(500, 900));
    let (buggify, seam) = (sometimes(700, 1) * 250, sometimes(700, 300));
    Knobs {
        latency_min_us: dice.between(20, 300),
        latency_max_us: dice.between(300, 10_000),
        loss,
        short_io,
        disk_min_us: 10,
        disk_max_us: dice.between(20, 500),
        sync_max_us: dice.between(200, 20_000),
        torn: u32::try_from(dice.below(600)).unwrap_or(0),
        keep: u32::try_from(dice.below(800)).unwrap_or(0),
        buggify,
        seam,
    }
}

fn draw_fault(dice: &mut Dice, class: Class, clients: u64) -> Fault {
    let node = BROKER;
    let client = 1 + usize::try_from(dice.below(clients)).unwrap_or(0);
    let (down_ms, ms) = (dice.between(10, 1_200), dice.between(20, 2_000));
    let at_op = |dice: &mut Dice, power| {
        let ops = [
            OpKind::Write,
            OpKind::Write,
            OpKind::Write,
            OpKind::Sync,
            OpKind::Sync,
            OpKind::Rename,
            OpKind::SyncDir,
            OpKind::Create,
            OpKind::Remove,
            OpKind::SetLen,
        ];
        let op = *dice.pick(&ops);
        let nth = u32::try_from(dice.between(1, 8)).unwrap_or(1);
        Fault::CrashAtOp { node, op, nth, power }
    };
    match class {
        Class::Crash => Fault::ProcessCrash { node, down_ms },
        Class::Power => Fault::PowerLoss { node, down_ms },
        Class::PowerAtOp => at_op(dice, true),
        Class::CrashAtOp => at_op(dice, false),
        Class::FailedSync => Fault::FailedSync {
            node,
            dir: 0,
            count: u32::try_from(dice.between(1, 2)).unwrap_or(1),
        },
        Class::ShortWrite => Fault::ShortWrite { node, dir: 0 },
        Class::Full => Fault::DiskFull { node, dir: 0, ms, room: ms * 16 },
        Class::SlowDisk => Fault::SlowDisk { node, factor: dice.between(2, 60), ms },
        Class::Reset => Fault::Reset { a: node, b: client },
        Class::Cut => {
            let both = dice.chance(500);
            let (from, to) = if dice.chance(500) { (node, client) } else { (client, node) };
            Fault::Cut { from, to, both, ms }
        },
        Class::SlowNet => Fault::SlowNet { factor: dice.between(2, 30), ms },
        Class::Pause => {
            let node = if dice.chance(600) { node } else { client };
            Fault::Pause { node, ms }
        },
        Class::HalfOpen => Fault::PowerLoss { node: client, down_ms },
    }
}
