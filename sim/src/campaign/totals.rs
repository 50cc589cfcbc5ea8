//! Sums over the universes of a campaign.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::fault::{Fault, Plan};
use crate::world::{Failure, Outcome};

use super::marks::catalog;

/// A universe that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What was run.
    pub plan: Plan,
    /// What went wrong.
    pub failure: Failure,
}

/// Sums. The order in which universes are added does not matter.
#[derive(Debug, Default)]
pub struct Totals {
    seeds: u64,
    notes: u64,
    acked: u64,
    acked_min: Option<u64>,
    requests: u64,
    nanos: u64,
    lost_bytes: u64,
    halted: u64,
    unexcused: u64,
    marks: BTreeMap<&'static str, (u64, u64)>,
    faults: BTreeMap<&'static str, (u64, u64)>,
    failed: BTreeMap<u64, Failed>,
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
        self.requests += ledger.requests;
        self.lost_bytes += u64::from(ledger.sectors_lost > 0);
        self.unexcused += u64::from(!ledger.budget.durability_excused());
        self.halted += u64::from(!ledger.halts.is_empty());
        for (sums, counts) in [(&mut self.marks, ledger.marks), (&mut self.faults, ledger.faults)] {
            for (name, count) in counts {
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + count, sum.1 + 1);
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

    /// Universes so far.
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// Trace events so far.
    pub fn notes(&self) -> u64 {
        self.notes
    }

    /// Requests that were answered well.
    pub fn acked_requests(&self) -> u64 {
        self.requests
    }

    /// Universes that failed.
    pub fn failures(&self) -> u64 {
        u64::try_from(self.failed.len()).unwrap_or(u64::MAX)
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
        for class in Fault::CLASSES.iter().filter(|class| !self.faults.contains_key(*class)) {
            silent.push(format!("fault class never fired: {class}"));
        }
        for mark in catalog(self.seeds).filter(|mark| !self.marks.contains_key(mark)) {
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
