//! How many log directories the broker has, and which of them a fault of a disk hits.
//!
//! Invariant: drawn by dice of their own, so that the rest of a plan does not depend on them.

use super::{Fault, Plan};
use crate::world::Dice;

/// Per mille of seeds in which the broker has several log directories, and how many at most.
const SEVERAL: u32 = 400;
const DIRS_MAX: u64 = 3;
/// Per mille of those in which the metadata is not in the first one.
const MOVED_HOME: u32 = 500;

pub(super) fn draw(plan: &mut Plan) {
    let mut dice = Dice::new(plan.seed, "plan: log directories");
    if !dice.chance(SEVERAL) {
        return;
    }
    let dirs = usize::try_from(dice.between(2, DIRS_MAX)).unwrap_or(2);
    plan.work.dirs = dirs;
    if dice.chance(MOVED_HOME) {
        // The last of them: a directory in which no logs are.
        plan.work.home = 1 + dice.index(dirs);
    }
    for timed in &mut plan.faults {
        match &mut timed.fault {
            Fault::FailedSync { dir, .. }
            | Fault::ShortWrite { dir, .. }
            | Fault::DiskFull { dir, .. }
            | Fault::StalledDisk { dir, .. }
            | Fault::FailedRead { dir, .. } => {
                *dir = dice.index(dirs + usize::from(plan.work.home == dirs))
            },
            _ => {},
        }
    }
}
