//! Damage of the directory's files, with dice of its own.

use super::{BROKER, CHAOS_MS};
use crate::fault::{DirFile, End, Fault, Harm, Plan, Timed};
use crate::world::Dice;

/// Per mille of seeds in which files are damaged.
const DAMAGED: u32 = 450;
/// Sectors of a file at most.
const SECTORS_MAX: u64 = 3;

pub(super) fn draw(plan: &mut Plan) {
    let mut dice = Dice::new(plan.seed, "plan: damaged files");
    if !dice.chance(DAMAGED) {
        return;
    }
    for _ in 0..dice.between(1, 2) {
        let file = if dice.chance(300) { DirFile::Journal } else { *dice.pick(DirFile::ALL) };
        let harm = *dice.pick(&[Harm::Rot, Harm::Rot, Harm::Misdirected, Harm::Lost]);
        let end = match file {
            // There is one only while the process is down.
            DirFile::Seal => Some(End::Stop),
            _ => *dice.pick(&[None, Some(End::Stop), Some(End::Crash), Some(End::Power)]),
        };
        let sectors = u32::try_from(dice.between(1, SECTORS_MAX)).unwrap_or(1);
        let (down_ms, unprotected) = (dice.between(10, 400), false);
        let fault = Fault::Damage { node: BROKER, file, harm, sectors, end, down_ms, unprotected };
        // Late enough for something to be there.
        let at_ms = dice.between(CHAOS_MS / 12, CHAOS_MS);
        plan.faults.push(Timed { at_ms, fault });
    }
}
