//! Sums over the universes of a campaign.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::durability::Met;
use crate::fault::{Fault, Plan};
use crate::world::{Failure, Outcome};

use super::marks::{catalog, is_expected};

/// A universe that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What was run.
    pub plan: Plan,
    /// What went wrong.
    pub failure: Failure,
}

/// Seeds whose process ended before it could say how they went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The first of them.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// The one that was being run.
    pub at: Option<u64>,
    /// How the process ended.
    pub how: String,
    /// Planted bugs that were switched on.
    pub mutants: Vec<String>,
}

/// Sums. The order in which universes are added does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    seeds: u64,
    notes: u64,
    acked: u64,
    acked_min: Option<u64>,
    answered: u64,
    nanos: u64,
    lost_bytes: u64,
    halted: u64,
    unexcused: u64,
    marks: BTreeMap<String, (u64, u64)>,
    faults: BTreeMap<String, (u64, u64)>,
    met: Met,
    failed: BTreeMap<u64, Failed>,
    lost: BTreeMap<u64, Lost>,
}

impl Totals {
    /// A campaign of at least so many seeds must fire every fault class and every common mark.
    pub const JUDGED_FROM: u64 = 200;
    /// Records every universe has to get acknowledged.
    pub const ACKED_MIN: u64 = 200;
    /// Per mille of the universes that must have lost unsynced bytes.
    pub const LOST_MIN: u64 = 200;

    /// Adds one universe.
    pub fn add<T>(&mut self, plan: Plan, outcome: Outcome<T>) {
        let ledger = outcome.ledger;
        self.seeds += 1;
        self.notes += outcome.notes;
        self.nanos += outcome.nanos;
        self.acked += ledger.acked;
        self.answered += ledger.answered;
        self.lost_bytes += u64::from(ledger.sectors_lost > 0);
        self.unexcused += u64::from(!ledger.budget.durability_excused());
        self.halted += u64::from(!ledger.halts.is_empty());
        // What a broker does whose drive lied to it is judged by few oracles: it tests no branch.
        let marks = if ledger.budget.lie_came_true() { BTreeMap::new() } else { ledger.marks };
        for (sums, counts) in [(&mut self.marks, marks), (&mut self.faults, ledger.faults)] {
            for (name, count) in counts {
                let sum = sums.entry(name.to_owned()).or_default();
                *sum = (sum.0 + count, sum.1 + 1);
            }
        }
        // Only a universe in which every oracle was listened to, and was content, backs a promise.
        if outcome.failure.is_none() && !ledger.budget.lie_came_true() {
            for (promise, class) in ledger.met {
                *self.met.entry(class.to_owned()).or_default().entry(promise).or_default() += 1;
            }
        }
        match outcome.failure {
            Some(failure) => {
                self.failed.insert(plan.seed, Failed { plan, failure });
            },
            // Whose drive lied may be left without a topic to write to.
            None if ledger.budget.excuses("settle") => {},
            None => {
                let least = self.acked_min.unwrap_or(u64::MAX).min(ledger.acked);
                self.acked_min = Some(least);
            },
        }
    }

    /// Adds seeds whose process ended.
    pub fn add_lost(&mut self, lost: Lost) {
        self.lost.insert(lost.from, lost);
    }

    /// Adds the sums over other universes.
    pub fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.notes += other.notes;
        self.acked += other.acked;
        self.acked_min = self.acked_min.into_iter().chain(other.acked_min).min();
        self.answered += other.answered;
        self.nanos += other.nanos;
        self.lost_bytes += other.lost_bytes;
        self.halted += other.halted;
        self.unexcused += other.unexcused;
        for (sums, others) in [(&mut self.marks, other.marks), (&mut self.faults, other.faults)] {
            for (name, (times, seeds)) in others {
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + times, sum.1 + seeds);
            }
        }
        for (class, promises) in other.met {
            let sums = self.met.entry(class).or_default();
            for (promise, seeds) in promises {
                *sums.entry(promise).or_default() += seeds;
            }
        }
        self.failed.extend(other.failed);
        self.lost.extend(other.lost);
    }

    /// Seeds so far, those that were lost included.
    pub fn covered(&self) -> u64 {
        self.seeds + self.lost.values().map(|lost| lost.seeds).sum::<u64>()
    }

    /// Universes so far.
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// Trace events so far.
    pub fn notes(&self) -> u64 {
        self.notes
    }

    /// Requests of clients that got an answer, be it an error.
    pub fn answered_requests(&self) -> u64 {
        self.answered
    }

    /// Universes that failed, and processes that ended.
    pub fn failures(&self) -> u64 {
        u64::try_from(self.failed.len() + self.lost.len()).unwrap_or(u64::MAX)
    }

    /// In how many universes, in all of which every oracle was content, each fault class took effect
    /// on the broker after something was acknowledged under each kind of promise.
    pub fn met(&self) -> &Met {
        &self.met
    }

    /// Seeds whose process ended.
    pub fn lost(&self) -> impl Iterator<Item = &Lost> {
        self.lost.values()
    }

    /// Those that failed, by seed.
    pub fn failed(&self) -> impl Iterator<Item = &Failed> {
        self.failed.values()
    }

    /// Those that failed, by seed.
    pub fn into_failed(self) -> Vec<Failed> {
        self.failed.into_values().collect()
    }

    /// What should have fired, or been reached, and was not. Empty for a short campaign.
    pub fn silent(&self) -> Vec<String> {
        if self.seeds < Self::JUDGED_FROM {
            return Vec::new();
        }
        let mut silent = Vec::new();
        let expected = Fault::CLASSES.iter().filter(|class| is_expected(class, self.seeds));
        for class in expected.filter(|class| !self.faults.contains_key(**class)) {
            silent.push(format!("fault class never fired: {class}"));
        }
        for mark in catalog(self.seeds).filter(|mark| !self.marks.contains_key(*mark)) {
            silent.push(format!("mark never reached: {mark}"));
        }
        if self.lost_bytes * 1000 < self.seeds * Self::LOST_MIN {
            silent.push(format!("only {} seeds lost unsynced bytes", self.lost_bytes));
        }
        if let Some(least) = self.acked_min.filter(|least| *least < Self::ACKED_MIN) {
            silent.push(format!("a seed got only {least} records acknowledged"));
        }
        silent
    }

    /// Writes the sums for people.
    ///
    /// # Errors
    /// What writing returns.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let lost = self.lost_bytes * 100 / self.seeds.max(1);
        writeln!(
            out,
            "{} seeds, {:.0} simulated s, {} records acked (at least {} per seed), {} halted",
            self.seeds,
            crate::world::seconds(self.nanos),
            self.acked,
            self.acked_min.unwrap_or(0),
            self.halted,
        )?;
        writeln!(out, "unsynced bytes were lost in {} seeds ({lost} %)", self.lost_bytes)?;
        let unexcused = self.unexcused * 100 / self.seeds.max(1);
        writeln!(
            out,
            "no acknowledged record or commit was excused in {} seeds ({unexcused} %)",
            self.unexcused
        )?;
        for (title, sums) in [("faults", &self.faults), ("marks", &self.marks)] {
            writeln!(out, "{title}:{:>36} {:>7}", "times", "seeds")?;
            for (name, (times, seeds)) in sums {
                writeln!(out, "  {name:<34} {times:>6} {seeds:>7}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Event;
    use crate::world::Ledger;

    fn marks_of(lied_to: bool) -> usize {
        let mut ledger = Ledger::default();
        ledger.marks.insert("fetch_corrupt", 1);
        if lied_to {
            ledger.budget.fired(Event::LieCameTrue);
        }
        let outcome = Outcome::<()> {
            value: Some(()),
            failure: None,
            hash: 0,
            notes: 0,
            nanos: 0,
            ledger,
            events: Vec::new(),
            events_dropped: 0,
        };
        let mut totals = Totals::default();
        totals.add(Plan::draw(1), outcome);
        totals.marks.len()
    }

    #[test]
    fn marks_do_not_count_where_a_lie_of_the_drive_came_true() {
        assert_eq!((marks_of(false), marks_of(true)), (1, 0));
    }
}
