//! What a run is judged by: marks, faults fired, halts, and the first failure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Blame, Crash, Note, World};
use crate::budget::Budget;
use crate::check::alarm_causes;
use crate::durability::Promise;
use crate::fault::BROKER;

/// How a run failed; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureKind {
    /// Something promised was broken.
    Safety,
    /// Work that had to finish did not.
    Liveness,
    /// Our code panicked.
    Crash,
}

/// The first thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Safety, liveness or crash.
    pub kind: FailureKind,
    /// What, for people; starts with the oracle's name.
    pub text: String,
    /// When, simulated nanoseconds.
    pub at: u64,
}

/// Ends a process or a machine once its product has reached a mark so often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkTrap {
    /// Where.
    pub node: usize,
    /// Which mark.
    pub mark: String,
    /// At which time, from 1.
    pub left: u32,
    /// How.
    pub how: Crash,
}

/// Counts of one run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// How often each rare branch of the product was reached.
    pub marks: BTreeMap<&'static str, u64>,
    /// How often each fault class took effect.
    pub faults: BTreeMap<&'static str, u64>,
    /// Whether each visited buggify site is active.
    pub(crate) buggy: BTreeMap<&'static str, bool>,
    /// Processes that stopped themselves: node and reason.
    pub halts: Vec<(usize, String)>,
    /// Dirty sectors that power losses dropped or tore; directory changes are not among them.
    pub sectors_lost: u64,
    /// What the faults so far excuse.
    pub budget: Budget,
    /// Kinds of promises that were given so far.
    pub given: BTreeSet<Promise>,
    /// Fault classes that took effect on the broker, or between it and a client, after a promise of
    /// each kind was given.
    pub met: BTreeSet<(Promise, &'static str)>,
    /// How many acknowledged records or commits were lost, by the kind of their promise. Each was
    /// excused, or the run failed.
    pub lost: BTreeMap<Promise, u64>,
    /// Oracles that found something and were excused as a whole.
    pub excused: BTreeSet<String>,
    /// Ends a process or machine once its product reaches a mark.
    pub(crate) mark_traps: Vec<MarkTrap>,
    /// What a storage error may come from.
    pub(super) blame: Blame,
    /// Acknowledged client records.
    pub acked: u64,
    /// Requests of clients that got an answer, be it an error.
    pub answered: u64,
    /// The first failure.
    pub failure: Option<Failure>,
}

impl World {
    /// Records the first failure and ends the run soon.
    pub fn fail(&self, kind: FailureKind, text: String) {
        let at = self.now();
        {
            let mut ledger = self.ledger.lock();
            if ledger.failure.is_none() {
                ledger.failure = Some(Failure { kind, text, at });
            }
        }
        self.failed.notify_one();
    }

    /// Records a broken promise unless `holds`.
    pub fn check(&self, oracle: &str, holds: bool, why: impl FnOnce() -> String) {
        if holds {
            return;
        }
        let excused = {
            let ledger = &mut *self.ledger.lock();
            let excused = ledger.budget.excuses(oracle);
            if excused {
                ledger.excused.insert(oracle.to_owned());
            }
            excused
        };
        if !excused {
            self.fail(FailureKind::Safety, format!("{oracle}: {}", why()));
        }
    }

    /// A promise of this kind was given: something was acknowledged.
    pub fn given(&self, promise: Promise) {
        self.ledger.lock().given.insert(promise);
    }

    /// So much that was acknowledged under a promise of this kind is gone.
    pub fn lost(&self, promise: Promise, count: u64) {
        if count > 0 {
            *self.ledger.lock().lost.entry(promise).or_default() += count;
        }
    }

    /// Counts that a fault of `class` took effect on the broker, or between it and a client.
    pub fn fired(&self, class: &'static str) {
        self.fired_at(BROKER, class);
    }

    /// Counts that a fault of `class` took effect on `node`.
    pub fn fired_at(&self, node: usize, class: &'static str) {
        {
            let ledger = &mut *self.ledger.lock();
            *ledger.faults.entry(class).or_default() += 1;
            if node == BROKER {
                ledger.met.extend(ledger.given.iter().map(|promise| (*promise, class)));
            }
        }
        self.note(Note { kind: "fault", ..Note::default() }, || class.to_owned());
    }

    /// Counts that the product reached `mark`.
    pub fn mark(&self, mark: &'static str) {
        *self.ledger.lock().marks.entry(mark).or_default() += 1;
        if let Some(mut causes) = alarm_causes(mark) {
            let replaced = self.faults("replaced directory") > 0
                || self.disks.iter().any(|disk| disk.lock().is_replaced());
            let is_caused = replaced || causes.any(|class| self.faults(class) > 0);
            self.check("false-alarm", is_caused, || {
                format!("{mark}, though nothing was damaged that it tells of")
            });
        }
    }

    /// Ends `node` if a trap waits for this mark. Not at once, for the caller may hold a lock, but
    /// before any more time passes.
    pub(super) fn spring_at_mark(&self, node: usize, mark: &str) {
        let sprung = {
            let traps = &mut self.ledger.lock().mark_traps;
            let found = traps.iter().position(|trap| trap.node == node && trap.mark == mark);
            let Some(at) = found else { return };
            traps[at].left = traps[at].left.saturating_sub(1);
            (traps[at].left == 0).then(|| traps.swap_remove(at))
        };
        let Some(MarkTrap { how, .. }) = sprung else { return };
        let incarnation = self.incarnation(node);
        self.at(self.now(), move |world| {
            if world.alive(node, incarnation) {
                world.fired_at(node, "crash at a mark");
                world.crash(node, how);
                world.restart_later(node);
            }
        });
    }
}
