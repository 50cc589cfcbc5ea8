//! Hunts for planted bugs: how many seeds it takes to find each.
//!
//! Invariants: of every planted bug the seeds are run in order and without a gap, from the first one
//! on; a kill is a seed that fails with the bug and passes without; a bug that was found often enough takes no more of the time; whoever is left shares it evenly.

use std::io;

use super::clock::Clock;
use super::{Range, Reports, Standing, run};
use crate::fault::Plan;
use crate::scenario::{RunOptions, run_plan};

/// What became of the hunt for one planted bug.
#[derive(Clone, Debug, Default)]
pub struct Hunt {
    /// Its name.
    pub mutant: String,
    /// Seeds that were run.
    pub seeds: u64,
    /// Plans that failed, with what they failed on.
    pub kills: Vec<(Plan, String)>,
}

impl Hunt {
    fn is_over(&self, range: &Range, wanted: usize) -> bool {
        self.seeds >= range.seeds || self.kills.len() >= wanted
    }

    /// Runs the next few seeds.
    fn advance(&mut self, range: &Range) {
        let few = u64::try_from(range.jobs.max(1) * 4).unwrap_or(4);
        let seeds = few.min(range.seeds - self.seeds);
        let part = Range {
            mutants: vec![self.mutant.clone()],
            ..Range::new(range.start + self.seeds, seeds, range.jobs)
        };
        let reports = Reports { progress: &mut io::sink(), keep: &mut |_| Ok(()) };
        let totals = run(&part, Standing::default(), reports).unwrap_or_default().totals;
        self.seeds += seeds;
        for failed in totals.into_failed() {
            // What fails without the bug as well says nothing about it.
            let sound = Plan { mutants: Vec::new(), ..failed.plan.clone() };
            if run_plan(&sound, &RunOptions::default()).failure.is_none() {
                self.kills.push((failed.plan, failed.failure.text));
            }
        }
    }
}

/// Hunts each of `mutants` in turns until it was found `wanted` times, its range is over, or the
/// range's time is. `each` is told whenever a hunt is over.
///
/// # Errors
/// What `each` returns.
pub fn hunt(
    mutants: &[&str],
    range: &Range,
    wanted: usize,
    each: &mut dyn FnMut(&Hunt) -> io::Result<()>,
) -> io::Result<()> {
    let clock = Clock::start(0);
    let begun = |mutant: &&str| Hunt { mutant: (*mutant).to_owned(), ..Hunt::default() };
    let mut left: Vec<Hunt> = mutants.iter().map(begun).collect();
    while !left.is_empty() {
        let mut going = Vec::new();
        for mut hunt in left {
            let is_late = range.time_max.is_some_and(|most| clock.spent() >= most);
            if !is_late && !hunt.is_over(range, wanted) {
                hunt.advance(range);
            }
            if is_late || hunt.is_over(range, wanted) {
                each(&hunt)?;
            } else {
                going.push(hunt);
            }
        }
        left = going;
    }
    Ok(())
}
