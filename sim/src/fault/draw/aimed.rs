//! Faults one behind the other, aimed at places that faults on their own meet too seldom, with dice
//! of their own.
//!
//! Invariant: each row is made of faults that are drawn alone as well, and promises nothing less.

use super::{BROKER, CHAOS_MS};
use crate::disk::OpKind;
use crate::fault::{Fault, Plan, Timed};
use crate::world::Dice;

/// Per mille of seeds that have a row.
const AIMED: u32 = 250;

#[derive(Clone, Copy)]
enum Row {
    /// A clean stop, and the power goes before the kernel has written anything back by itself.
    StopThenPower,
    /// The very first start dies, and much later the power goes.
    FirstStart,
    /// The process dies between writing an entry of the metadata log and syncing it; then the power
    /// goes.
    MetadataUnsynced,
    /// A sync fails once, and the power goes.
    SyncThenPower,
    /// The power goes once the producers of a log are saved, before anything else is written.
    ProducersSaved,
    /// The power goes twice, with little done in between.
    PowerTwice,
}

const ROWS: &[Row] = &[
    Row::StopThenPower,
    Row::FirstStart,
    Row::MetadataUnsynced,
    Row::SyncThenPower,
    Row::ProducersSaved,
    Row::PowerTwice,
];

pub(super) fn draw(plan: &mut Plan) {
    let mut dice = Dice::new(plan.seed, "plan: aimed faults");
    if !dice.chance(AIMED) {
        return;
    }
    let at_ms = dice.between(100, CHAOS_MS);
    let faults = draw_row(&mut dice, at_ms);
    plan.faults.extend(faults.into_iter().map(|(at_ms, fault)| Timed { at_ms, fault }));
}

fn draw_row(dice: &mut Dice, at_ms: u64) -> Vec<(u64, Fault)> {
    let (node, down_ms) = (BROKER, dice.between(10, 300));
    let few = u32::try_from(dice.between(1, 3)).unwrap_or(1);
    let power = Fault::PowerLoss { node, down_ms };
    match dice.pick(ROWS) {
        Row::StopThenPower => {
            let soon = at_ms + dice.between(5, 400);
            vec![(at_ms, Fault::CleanStop { node }), (soon, power)]
        },
        Row::FirstStart => {
            let op = *dice.pick(&[OpKind::Rename, OpKind::SyncDir, OpKind::Sync, OpKind::Write]);
            let first = Fault::CrashAtOp { node, op, nth: few, power: false };
            vec![(0, first), (1_000 + at_ms / 2, power)]
        },
        Row::MetadataUnsynced => {
            let (after, before) = (OpKind::Write, OpKind::Sync);
            let name = "=log".to_owned();
            let at_ms = at_ms / 4;
            let first = Fault::CrashBetween { node, after, name, nth: 1, before, power: false };
            vec![(at_ms, first), (at_ms + dice.between(300, 2_000), power)]
        },
        Row::SyncThenPower => {
            let soon = at_ms + dice.between(50, 800);
            vec![(at_ms, Fault::FailedSync { node, dir: 0, count: 1 }), (soon, power)]
        },
        Row::ProducersSaved => {
            let (after, name) = (OpKind::Rename, "producers".to_owned());
            let before = *dice.pick(&[OpKind::Write, OpKind::Write, OpKind::SyncDir]);
            let power = true;
            vec![(at_ms, Fault::CrashBetween { node, after, name, nth: few, before, power })]
        },
        Row::PowerTwice => {
            let soon = at_ms + dice.between(200, 1_000);
            vec![(at_ms, power.clone()), (soon, power)]
        },
    }
}
