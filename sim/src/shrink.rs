//! Shrinking: from a plan that fails to a small one that fails in the same way.
//!
//! Owns: what "the same way" means ([`Signature`]) and the search. Invariants: whatever is accepted
//! failed with the signature of the plan it began with, and, if that one passed without its planted
//! bugs, passes without them; the result depends on the plan alone, not on how many threads search
//! nor on how fast they are; every accepted step is smaller, so that the search ends.

mod steps;

use std::collections::BTreeMap;

use crate::campaign::threads;
use crate::fault::Plan;
use crate::scenario::{self, RunOptions};
use crate::world::{Failure, FailureKind};

use env::{Lock, Rank};
use steps::Place;

pub use steps::Size;

/// What two failures have in common that have the same cause, as far as a machine can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Safety, liveness or crash.
    pub kind: FailureKind,
    /// The oracle, or the place of the panic.
    pub what: String,
}

impl Signature {
    /// The signature of `failure`.
    pub fn of(failure: &Failure) -> Self {
        let text = failure.text.as_str();
        let what = match failure.kind {
            FailureKind::Safety | FailureKind::Liveness => text.split(':').next(),
            FailureKind::Crash => text.rsplit('(').next(),
        };
        Self { kind: failure.kind, what: what.unwrap_or(text).to_owned() }
    }
}

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// Universes that were run.
    pub runs: u64,
}

/// Called with every smaller plan that was found, and how many universes that took so far.
pub type Progress<'a> = &'a mut dyn FnMut(&Plan, u64);

/// Searches for a smaller plan on `jobs` threads. `None` if `plan` does not fail.
pub fn shrink(plan: &Plan, jobs: usize, progress: Progress<'_>) -> Option<Shrunk> {
    let mut search = Search::begin(plan, jobs, progress)?;
    loop {
        let before = search.best.clone();
        search.drop_faults();
        search.drop_mutants();
        search.drop_clients();
        search.lessen(steps::work_places);
        search.be_quiet();
        search.lessen(steps::fault_places);
        if search.best == before {
            break;
        }
    }
    let failure = scenario::run_plan(&search.best, &RunOptions::default()).failure?;
    Some(Shrunk { plan: search.best, failure, runs: search.runs + 1 })
}

struct Search<'a> {
    best: Plan,
    wanted: Signature,
    /// Whether the plan passes without its planted bugs, and so must every smaller one.
    is_planted: bool,
    jobs: usize,
    /// Whether each plan that was tried, as JSON, fails as wanted.
    tried: BTreeMap<String, bool>,
    runs: u64,
    progress: Progress<'a>,
}

/// How a plan fails.
fn signature(plan: &Plan) -> Option<Signature> {
    scenario::run_plan(plan, &RunOptions::default()).failure.as_ref().map(Signature::of)
}

fn without_mutants(plan: &Plan) -> Plan {
    Plan { mutants: Vec::new(), ..plan.clone() }
}

impl<'a> Search<'a> {
    fn begin(plan: &Plan, jobs: usize, progress: Progress<'a>) -> Option<Self> {
        let wanted = signature(plan)?;
        let has_mutants = !plan.mutants.is_empty();
        let is_planted = has_mutants && signature(&without_mutants(plan)).is_none();
        let runs = 1 + u64::from(has_mutants);
        let (best, tried) = (plan.clone(), BTreeMap::new());
        Some(Self { best, wanted, is_planted, jobs: jobs.max(1), tried, runs, progress })
    }

    /// Runs candidates until one fails as wanted, which becomes the best. Returns which it was.
    fn first_that_fails(&mut self, candidates: &[Plan]) -> Option<usize> {
        for (part, plans) in candidates.chunks(self.jobs).enumerate() {
            self.try_all(plans);
            let fails = |plan: &Plan| self.tried.get(&key(plan)).copied().unwrap_or(false);
            if let Some(at) = plans.iter().position(fails) {
                self.best = plans[at].clone();
                (self.progress)(&self.best, self.runs);
                return Some(part * self.jobs + at);
            }
        }
        None
    }

    /// Runs those plans that were not run before, each on a thread.
    fn try_all(&mut self, plans: &[Plan]) {
        let todo: Vec<(String, &Plan)> = plans.iter().map(|plan| (key(plan), plan)).collect();
        let todo: Vec<_> =
            todo.into_iter().filter(|(key, _)| !self.tried.contains_key(key)).collect();
        let state = Lock::new(Rank(1), (0, Vec::new()));
        let (wanted, is_planted) = (&self.wanted, self.is_planted);
        threads(todo.len().min(self.jobs), || {
            loop {
                let at = {
                    let mut state = state.lock();
                    state.0 += 1;
                    state.0 - 1
                };
                let Some((key, plan)) = todo.get(at) else { return };
                let same = signature(plan).as_ref() == Some(wanted);
                let judged = same && is_planted;
                let fails = same && !(judged && signature(&without_mutants(plan)).is_some());
                state.lock().1.push((key.clone(), fails, 1 + u64::from(judged)));
            }
        });
        let done = std::mem::take(&mut state.lock().1);
        for (key, fails, runs) in done {
            self.tried.insert(key, fails);
            self.runs += runs;
        }
    }

    /// Delta debugging: all faults, halves of them, and so on down to each alone.
    fn drop_faults(&mut self) {
        let mut count = self.best.faults.len();
        while count > 0 {
            let mut from = 0;
            while from < self.best.faults.len() {
                let places: Vec<usize> = (from..self.best.faults.len()).step_by(count).collect();
                let plans: Vec<Plan> =
                    places.iter().map(|at| steps::without_faults(&self.best, *at, count)).collect();
                let Some(found) = self.first_that_fails(&plans) else { break };
                from = places[found];
            }
            count /= 2;
        }
    }

    fn drop_mutants(&mut self) {
        while self.best.mutants.len() > 1 {
            let each = 0..self.best.mutants.len();
            let plans: Vec<Plan> = each.map(|at| steps::without_mutant(&self.best, at)).collect();
            if self.first_that_fails(&plans).is_none() {
                return;
            }
        }
    }

    fn drop_clients(&mut self) {
        loop {
            let plans = steps::with_fewer_clients(&self.best);
            if self.first_that_fails(&plans).is_none() {
                return;
            }
        }
    }

    /// Background noise off, all at once or one by one.
    fn be_quiet(&mut self) {
        let all = [steps::without_noise(&self.best)];
        if self.first_that_fails(&all).is_none() {
            self.lessen(steps::knob_places);
        }
    }

    /// Brings each number as near to its least value as it goes.
    fn lessen(&mut self, places: fn(&Plan) -> Vec<Place>) {
        for place in places(&self.best) {
            loop {
                let plans = place.nearer(&self.best);
                if self.first_that_fails(&plans).is_none() {
                    break;
                }
            }
        }
    }
}

fn key(plan: &Plan) -> String {
    serde_json::to_string(plan).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(kind: FailureKind, text: &str) -> String {
        Signature::of(&Failure { kind, text: text.to_owned(), at: 0 }).what
    }

    #[test]
    fn failures_are_the_same_by_oracle_or_by_the_place_of_the_panic() {
        assert_eq!(what(FailureKind::Safety, "dense: 2: why (x)"), "dense");
        assert_eq!(what(FailureKind::Liveness, "settle: 60 s after"), "settle");
        assert_eq!(what(FailureKind::Crash, "boom (really) (a.rs:1:2)"), "a.rs:1:2)");
    }

    #[test]
    fn a_plan_that_passes_is_not_shrunk() {
        let plan = Plan { faults: Vec::new(), ..Plan::draw(1) };

        assert!(shrink(&plan, 2, &mut |_, _| {}).is_none());
    }
}
